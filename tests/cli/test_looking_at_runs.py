"""``rlef runs``, ``rlef show`` and ``rlef compare`` on runs whose numbers are known."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlef.report.episode_screen import turn_verdict
from rlef.report.runs import find_runs
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.rollout.records import episode_from_json
from rlef.run import RunFolder
from rlef.run.state import run_state

ORDERS = "\x1b[31m\x07\u202e\x9b"
RATE = {"mean": 0.5, "low": 0.4, "high": 0.6}


def episode(problem: str, *verdicts: str, solved: bool = False, text: str = "") -> dict[str, Any]:
    """One public verdict per turn; "" for a turn without a program."""
    turns = [
        {
            "response": f"answer {number} {text}",
            "program": f"a = 1\nprint({number})\n{text}" if verdict else None,
            "public_verdicts": [verdict] if verdict else [],
            "feedback": f"feedback {number} {text}" if number < len(verdicts) else None,
            "prompt_tokens": 1200,
            "completion_tokens": 30,
        }
        for number, verdict in enumerate(verdicts, start=1)
    ]
    return {
        "problem": problem, "family": None, "hidden_detail": None, "turns": turns,
        "stop": "public_passed" if verdicts[-1] == "AC" else "turn_limit",
        "solved": solved, "final_verdict": "AC" if solved else None, "passed_share": None,
        "blind": False, "statement": f"Read n. {text}",
    }  # fmt: skip


FAILED = ("WA", "WA", "WA")
BEFORE = [episode(f"p{n}", *FAILED) for n in range(10)]
AFTER = [
    *(episode(f"p{n}", "WA", "AC", solved=True) for n in range(5)),
    *(episode(f"p{n}", "AC", solved=True) for n in (5, 6)),
    *(episode(f"p{n}", "AC") for n in (7, 8)),  # private tests failed
    episode("p9", "", "RE", "WA"),
]


def training(
    path: Path, *words: str, after: list[dict[str, Any]] = AFTER, finished: bool = True
) -> RunFolder:
    run = RunFolder.create(path, "\n".join(["name: mini", "model: mini", *words]) + "\n")
    for update in (1, 2, 3, 4):
        run.append_metrics({"update": update, "solve_rate": update / 10, "kl": None})
    run.append_rollouts("eval-before", BEFORE)
    if finished:
        run.append_rollouts("eval-after", after)
        stage = {"solve": RATE, "solve_rate_by_turn": [RATE], "repair_rate": RATE}
        run.write_summary({
            "recipe": "mini", "seed": 0, "updates": 4, "wall_s": 1.0, "parameters": 1,
            "temperature": 0.2, "top_p": 0.95,
            "turn_limit": 3, "test_problems": 10, "samples_per_problem": 1, "masked_infra": 0,
            "before": stage, "after": stage, "gain": RATE,
        })  # fmt: skip
    return run


def evaluation(path: Path, episodes: list[dict[str, Any]]) -> RunFolder:
    run = RunFolder.create(path, "model: Qwen/Q\ndata: mini:test\nturns: 3\nsamples: 1\n")
    run.append_rollouts("eval", episodes)
    return run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two trainings that differ by their seed, one with another setting, and an evaluation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    training(Path("runs/a/seed-0"), "updates: 200", "seed: 0", "learner: {lr: 4.0e-4}")
    training(Path("runs/a/seed-1"), "updates: 200", "seed: 1", "learner: {lr: 4.0e-4}",
             after=[*AFTER[:4], *BEFORE[4:]])  # fmt: skip
    training(Path("runs/b"), "updates: 200", "seed: 0", "learner: {lr: 0.5}", after=BEFORE)
    evaluation(Path("runs/e"), AFTER)
    return tmp_path


def test_runs_are_listed_with_what_they_are(rlef: Any, runs: Path) -> None:
    training(Path("runs/going"), "updates: 200", finished=False)
    damaged = RunFolder.create("runs/hurt", "model: mini\n")
    damaged.metrics_path.write_text("{]\n")
    RunFolder.create("runs/new", "model: mini\n")
    code, out, _ = rlef("runs")
    assert code == 0
    *table, note = out.splitlines()
    rows = {line.split()[0]: " ".join(line.split()) for line in table[1:]}
    assert list(rows) == ["a/seed-0", "a/seed-1", "b", "e", "going", "hurt", "new"]
    assert rows["a/seed-0"].startswith("a/seed-0 training mini finished 4/200 50.0 (1@3) ")
    assert rows["e"].startswith("e evaluation Qwen/Q stopped 10 - ")
    assert rows["going"].startswith("going training mini stopped 4/200 40.0 (batch) ")
    assert rows["hurt"].startswith("hurt training mini damaged - - ")
    assert note.startswith("hurt: runs/hurt/metrics.jsonl:1 is damaged: ")
    assert rows["new"].startswith("new training mini empty 0 ")
    code, out, _ = rlef("runs", "runs/a", "runs/b", "--json")
    found = json.loads(out)["runs"]
    assert [each["name"] for each in found] == ["seed-0", "seed-1", "runs/b"]
    assert (found[0]["done"], found[0]["total"], found[0]["solve_rate"]) == (4, 200, 0.5)
    assert time.time() - found[0]["changed"] < 600
    code, out, err = rlef("runs", "runs/new/rollouts")
    assert (code, out) == (0, "") and "no run in runs/new/rollouts" in err
    code, _, err = rlef("runs", "nowhere")
    assert code == 2 and err == "rlef: nowhere does not exist; allowed: a folder with runs in it\n"
    assert find_runs(Path("runs/b")) == [Path("runs/b")]


def test_names_give_no_orders_and_links_no_circles(
    rlef: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (f"new\nline{ORDERS}", "[red]x", "-dash"):
        evaluation(Path("runs/odd") / name, AFTER[:1])
    os.symlink("circle", "runs/odd/circle")
    os.symlink(runs / "runs" / "e", "runs/odd/link")
    code, out, _ = rlef("runs", "runs/odd")
    names = ["-dash", "[red]x", "link", r"new\nline\x1b[31m\x07\u202e\x9b"]
    assert code == 0 and [line.split()[0] for line in out.splitlines()[1:]] == names
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = rlef("show", f"runs/odd/new\nline{ORDERS}")
    assert code == 0 and all(line.isprintable() and len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("words", [[], ["eval-after/0"], ["--solved"]])
def test_a_damaged_episode_is_named(rlef: Any, runs: Path, words: list[str]) -> None:
    path = Path("runs/b/rollouts/eval-after.jsonl")
    path.write_text(path.read_text().replace('"stop"', '"halt"', 1))
    code, _, err = rlef("show", "runs/b", *words)
    assert code == 1 and err == f"rlef: {path}:1 is damaged: stop is missing\n"


def test_looking_at_a_run_changes_nothing_in_it(rlef: Any, runs: Path) -> None:
    for name in ("a/seed-0", "b", "e"):
        (runs / "runs" / name / "checkpoints").rmdir()
    before = {path: path.stat().st_mtime_ns for path in [runs, *runs.rglob("*")]}
    for words in (["runs"], ["show", "runs/b"], ["show", "runs/b", "--solved"],
                  ["compare", "runs/a/seed-0", "runs/b", "runs/e"],
                  ["eval", "--compare", "runs/e", "runs/e"]):  # fmt: skip
        assert rlef(*words).code in (0, 2)
    assert {path: path.stat().st_mtime_ns for path in [runs, *runs.rglob("*")]} == before


@pytest.mark.parametrize("value", ["[1, 2]", "{a: 1}", "x", "&a {b: *a}"])
def test_settings_of_wrong_types_are_no_reason_to_fail(rlef: Any, runs: Path, value: str) -> None:
    config = "".join(f"{key}: {value}\n" for key in ("rollout", "eval", "data", "seed", "model"))
    Path("runs/b/config.yaml").write_text(config)
    code, _, err = rlef("compare", "runs/b", "runs/e")
    assert code in (0, 1) and "RLEF_TRACEBACK" not in err and err.count("\n") == code
    assert rlef("runs").code == 0


def test_a_run_that_goes_on_is_found_by_its_lock(runs: Path) -> None:
    code = (
        "import sys; from rlef.run import RunFolder\n"
        "with RunFolder(sys.argv[1]).lock(): print('held', flush=True); sys.stdin.read()"
    )
    run = RunFolder("runs/b")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    if os.access("/proc/locks", os.R_OK):
        assert run_state(run) == "running"
    process.communicate()
    assert run_state(run) == "finished"


def test_a_run_is_shown_by_settings_metrics_and_stages(rlef: Any, runs: Path) -> None:
    code, out, _ = rlef("show", "runs/b")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("runs/b · training · mini · finished · update 4/200 · changed ")
    assert "setting here recipe mini" in lines
    assert "learner.lr 0.5 0.0004" in lines
    assert not any(line.startswith("updates ") for line in lines)  # as in the recipe
    assert "solve_rate 0.1 0.4 ▁▃▆█" in lines
    assert not any(line.startswith("kl ") for line in lines)  # never known
    assert "eval-before 10 0.0 0.0 0.0 0.0" in lines
    code, out, _ = rlef("show", "runs/e")
    assert code == 0
    assert "eval 10 70.0 20.0 70.0 70.0" in [" ".join(line.split()) for line in out.splitlines()]


def test_a_run_whose_episodes_have_no_turn_is_shown(rlef: Any, tmp_path: Path) -> None:
    empty = {**episode("p", "WA"), "turns": [], "stop": "context_limit"}
    run = evaluation(tmp_path / "run", [empty])
    code, out, err = rlef("show", run.path)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].split() == ["eval", "1", "0.0", "0.0"]


@pytest.mark.parametrize(
    "words", ["show runs/b", "runs runs", "runs runs --json", "env", "env --json", "--help"]
)
def test_a_closed_stdout_is_no_reason_to_fail(runs: Path, words: str) -> None:
    command = ["/bin/sh", "-c", '"$0" "$@" >&-', sys.executable, "-m", "rlef.cli.main"]
    ended = subprocess.run([*command, *words.split()], stderr=subprocess.PIPE, text=True, cwd=runs)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_episodes_are_listed_by_what_became_of_them(rlef: Any, runs: Path) -> None:
    def rows(*words: str) -> list[str]:
        code, out, _ = rlef("show", "runs/a/seed-0", *words)
        assert code == 0
        return [line.split()[0] for line in out.splitlines()[1:-1]]

    assert rows("--repaired") == [f"eval-after/{n}" for n in range(5)]
    assert rows("--solved") == [f"eval-after/{n}" for n in range(7)]
    assert rows("--failed") == [f"eval-after/{n}" for n in (7, 8, 9)]
    assert rows("--stage", "eval-before", "--problem", "p3") == ["eval-before/3"]
    _, out, _ = rlef("show", "runs/a/seed-0", "--problem", "p9")
    assert out.splitlines()[1].split() == ["eval-after/9", "p9", "-", "RE", "WA", "-", "failed"]
    assert "rlef show runs/a/seed-0 eval-after/9" in out
    _, out, _ = rlef("show", "runs/a/seed-0", "--problem", "none")
    assert out == "0 of 10 episodes\n"


def test_an_episode_is_a_conversation_with_diffs(rlef: Any, runs: Path) -> None:
    code, out, _ = rlef("show", "runs/a/seed-0", "eval-after/0")
    assert code == 0
    parts = ["runs/a/seed-0 eval-after/0 · problem p0", "── problem ──\nRead n.",
             "── turn 1 · 1,200 tokens read, 30 written ──\nanswer 1", "public tests: WA",
             "── feedback after turn 1 ──\nfeedback 1", "answer 2",
             "── program of turn 2, less that before ──\n@@ -1,2 +1,2 @@\n a = 1\n-print(1)\n"
             "+print(2)", "public tests: AC", "solved at turn 2 · final verdict AC"]  # fmt: skip
    assert [out.index(part) for part in parts] == sorted(out.index(part) for part in parts)
    _, out, _ = rlef("show", "runs/a/seed-0", "eval-after/9")
    assert "no program" in out and "failed · final verdict none" in out
    assert out.count("less that before") == 1


def test_what_a_model_wrote_is_shown_as_text(rlef: Any, tmp_path: Path) -> None:
    run = evaluation(tmp_path / "e", [episode(f"p{ORDERS}", "WA", "WA", "AC", text=ORDERS)])
    for words in (["eval/0"], ["--solved"], ["--failed"], []):
        code, out, err = rlef("show", run.path, *words)
        assert code == 0
        assert all(line.isprintable() for line in (out + err).split("\n"))
    _, out, _ = rlef("show", run.path, "eval/0")
    assert out.count(r"\x1b[31m\x07\u202e\x9b") >= 8


def test_training_rollouts_are_found_by_index_and_by_row(rlef: Any, runs: Path) -> None:
    folder = RunFolder("runs/b").training_path
    ledger = Ledger(folder)
    ledger.add([(7, as_rollout(AFTER[0])), (4, as_rollout(AFTER[9])), (5, as_rollout(AFTER[5]))])
    ledger.take(2, in_order=False)
    code, out, _ = rlef("show", "runs/b", "7")
    assert code == 0 and "problem p0" in out and "index 7 · batch 0" in out
    assert "reward 0.25" in out and "reward 0.50 · ended by" in out and "policy 3" in out
    _, by_row, _ = rlef("show", "runs/b", "train/1")
    assert by_row.splitlines()[1:] == out.splitlines()[1:]
    _, out, _ = rlef("show", "runs/b", "--stage", "train")
    assert "3 of 3 episodes" in out
    _, by_row, _ = rlef("show", "runs/e", "eval/1")
    code, out, _ = rlef("show", "runs/e", "1")  # an evaluation has one stage only
    assert code == 0 and out.splitlines()[1:] == by_row.splitlines()[1:] and "problem p1" in out
    code, _, err = rlef("show", "runs/e", "10")
    assert code == 2 and "no episode 10; allowed: rows 0 to 9" in err
    code, _, err = rlef("show", "runs/b", "8")
    assert code == 2 and "no training rollout 8" in err and err.count("\n") == 1


def as_rollout(data: dict[str, Any]) -> Rollout:
    turns = len(data["turns"])
    ints = np.zeros(0, np.int32)
    return Rollout(
        record=episode_from_json(data), token_ids=ints, sequence_starts=ints, turn_ids=ints,
        logprobs=np.zeros(0, np.float32), prompt_ends=np.zeros(turns, np.int32),
        rewards=np.full(turns, 0.25, np.float32), policy_versions=np.full(turns, 3, np.int64),
        seed=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "nowhere"], "nowhere does not exist; allowed: the folder of a run"),
        (["show", "runs/b", "eval-after/10"], "no episode eval-after/10; allowed: rows 0 to 9"),
        (["show", "runs/b", "eval-later/1"], "no stage 'eval-later'; allowed: eval-after, eval-be"),
        (["show", "runs/b", "eval-after/x"], "allowed: STAGE/ROW"),
        (["show", "runs/b", "4"], "no stage 'train'"),
        (["show", "runs/b", "eval-after/1", "--solved"], "EPISODE is one"),
        (["show", "runs/b", "--solved", "--failed"], "--failed excludes"),
        (["compare", "runs/b"], "give two runs or more"),
        (["compare", "runs/b", "runs"], "runs has no config.yaml"),
        (["compare", "runs/b", "runs/other"], "share no problem"),
        (["compare", "runs/b", "runs/e", "--metrics", "pass"], "pass"),
        (["compare", "runs/b", "runs/e", "--metrics", "1@30"], "1@30"),
        (["compare", "runs/b", "--untrained", "runs/other"], "share no problem"),
        (["compare", "runs/b", "--untrained", "runs/no"], "runs/no does not exist"),
        (["compare", "runs/b", "--untrained", "runs/e", "--metrics", "1@3"], "leave it out"),
    ],
)
def test_wrong_words_are_one_line_and_2(
    rlef: Any, runs: Path, words: list[str], message: str
) -> None:
    evaluation(Path("runs/other"), [episode("q", "AC", solved=True)])
    code, out, err = rlef(*words)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_runs_that_differ_by_their_seed_are_one_side(rlef: Any, runs: Path) -> None:
    words = ["compare", "runs/b", "runs/a/seed-0", "runs/a/seed-1"]
    code, out, _ = rlef(*words)
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "b eval-after 10 0.0 ±0.0 - 0.0 ±0.0 -" in rows
    # of 10 problems 7 and 4 are solved, 2 and 0 of them at the first turn
    assert any(row.startswith("a (2 seeds) eval-after 20 10.0 ±") for row in rows)
    assert any(row.endswith("55.0 ±25.0 21.2") or " 55.0 ±" in row for row in rows)
    assert "learner.lr 0.5 0.0004" in rows
    assert not any(row.startswith("seed ") for row in rows[-3:])
    _, out, _ = rlef(*words, "--json")
    found = json.loads(out)
    (comparison,) = found["comparisons"]
    last = comparison["metrics"][-1]
    assert (last["metric"], last["difference"], last["better"]) == ("1@3", 0.55, 7)
    assert found["sides"][1]["over_seeds"]["1@3"]["mean"] == pytest.approx(0.55)
    assert found["sides"][1]["over_seeds"]["1@3"]["sd"] == pytest.approx(0.15 * 2**0.5)
    assert list(found["settings"]) == ["learner.lr"]


def test_a_run_counts_once_and_so_does_its_seed(rlef: Any, runs: Path) -> None:
    again = ["compare", "runs/b", "runs/a/seed-0", "runs/a/../a/seed-0"]
    code, out, err = rlef(*again)
    assert (code, out) == (2, "") and "runs/a/../a/seed-0 is named twice; allowed: each" in err
    assert rlef("compare", "runs/b", "runs/b").code == 0
    shutil.copytree("runs/a/seed-0", "runs/a/copy")
    words = ["compare", "runs/b", "runs/a/seed-0", "runs/a/copy"]
    rows = [" ".join(line.split()) for line in rlef(*words).out.splitlines()]
    assert any(row.startswith("a (2 runs) eval-after 20 20.0 ±") for row in rows)
    assert "± seeds" not in rows[0]
    assert json.loads(rlef(*words, "--json").out)["sides"][1]["over_seeds"] == {}
    rows = [" ".join(line.split()) for line in rlef(*words, "runs/a/seed-1").out.splitlines()]
    assert any(row.startswith("a (2 seeds) eval-after 30 ") for row in rows)


def test_seeds_of_other_problems_are_no_side(rlef: Any, runs: Path) -> None:
    path = Path("runs/a/seed-1/rollouts/eval-after.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for paths, tag in ((path, "x"), (Path("runs/a/seed-0/rollouts/eval-after.jsonl"), "y")):
        hashed = [{**line, "problem_hash": tag} for line in lines]
        paths.write_text("".join(json.dumps(line) + "\n" for line in hashed))
    for order in (["runs/a/seed-0", "runs/a/seed-1"], ["runs/a/seed-1", "runs/a/seed-0"]):
        code, out, err = rlef("compare", *order, "runs/b")
        assert (code, out) == (2, "") and "has another problem of the name" in err


@pytest.mark.parametrize(
    ("words", "sides"),
    [
        (["rollout: {judge_workers: 1, group: 64}", "judge: {url: h}", "keep_checkpoints: 3"], 1),
        (["rollout: {judge_workers: 2, group: 8}", "judge: {url: null}", "keep_checkpoints: 1"], 2),
    ],
)
def test_where_a_seed_ran_makes_it_no_other_side(
    rlef: Any, runs: Path, words: list[str], sides: int
) -> None:
    own = ["rollout: {judge_workers: 2, group: 64}", "judge: {url: null}", "keep_checkpoints: 1"]
    training(Path("runs/c/0"), "seed: 0", *own)
    training(Path("runs/c/1"), "seed: 1", *words)
    _, out, _ = rlef("compare", "runs/b", "runs/c/0", "runs/c/1", "--json")
    assert len(json.loads(out)["sides"]) == 1 + sides


def test_blind_episodes_leave_rates_unknown(rlef: Any, runs: Path) -> None:
    for seed in (0, 1):
        blind = [{**one, "blind": True} for one in AFTER]
        training(Path(f"runs/blind/{seed}"), f"seed: {seed}", after=blind)
    code, out, _ = rlef("compare", "runs/b", "runs/blind/0", "runs/blind/1", "--json")
    found = json.loads(out)["sides"][1]["over_seeds"]
    assert code == 0 and found["1@1"] == {"mean": None, "sd": None, "seeds": 2}
    assert found["1@3"]["mean"] == pytest.approx(0.7)
    _, out, _ = rlef("show", "runs/blind/0")
    row = next(line.split() for line in out.splitlines() if "eval-after" in line)
    assert row[-4:] == ["70.0", "-", "-", "70.0"]
    _, out, _ = rlef("show", "runs/blind/0", "--stage", "eval-after", "--repaired")
    assert "p0" not in out


def test_intervals_of_several_trainings_are_over_seeds_too(rlef: Any, runs: Path) -> None:
    _, out, _ = rlef("compare", "runs/b", "runs/a/seed-0", "runs/a/seed-1", "--json")
    (comparison,) = json.loads(out)["comparisons"]
    last = comparison["metrics"][-1]
    assert (comparison["seeds"], last["a"], last["b"]) == (2, 0.0, 0.55)
    # 7 and 4 of 10: half of 0.3 from the mean, 12.706 times that for one degree of freedom
    assert last["high"] - last["difference"] >= 12.7 * 0.15
    _, out, _ = rlef("compare", "runs/b", "runs/a/seed-0", "runs/a/seed-1")
    assert "95 % interval: over problems and 2 seeds" in " ".join(out.split())


def test_how_many_answers_of_the_untrained_model_do_the_same(rlef: Any, runs: Path) -> None:
    words = "model: mini\ndata: mini:test\nturns: 1\nsamples: 4\ntemperature: 1.0\ntop_p: 0.95\n"
    answers = RunFolder.create("runs/four", words)
    for n in range(10):  # p0 to p7: one of four is right, one passes the public tests only
        some = [episode(f"p{n}", "AC", solved=True), episode(f"p{n}", "AC")]
        none = [episode(f"p{n}", "WA")] * 2
        answers.append_rollouts("eval", [*some, *none] if n < 8 else [*none, *none])
    code, out, _ = rlef("compare", "runs/a/seed-0", "runs/a/seed-1", "--untrained", "runs/four")
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    # 7 and 4 of 10 solved, 55 %. Any right: 20, 40, 60, 80 %, so 2.75 answers. One submitted:
    # 20, 33.3, 40, 40 %.
    (row,) = (row for row in rows if row.startswith("a (2 seeds)"))
    assert row.startswith("a (2 seeds) 2 55.0 four (T 1, top-p 0.95) 2.7 (")
    assert "> 4 (" in row and "> 1.33 (" in row and row.endswith(" -")
    assert any("four: 4 answers, any right 80.0 %, one submitted 40.0 %" in row for row in rows)
    code, out, _ = rlef("compare", "runs/a/seed-0", "--untrained", "runs/four", "--json")
    (found,) = json.loads(out)["ratios"]
    assert (found["stage"], found["10@100"]) == ("eval-after", None)
    assert found["any_right"]["answers"] == pytest.approx(3.5)
    assert found["any_right"]["ratio"]["answers"] == pytest.approx(3.5 / 3)
    assert (found["one_submitted"]["answers"], found["one_submitted"]["most"]) == (None, 4)


def test_evaluations_of_checkpoints_go_by_the_seeds_of_their_trainings(
    rlef: Any, runs: Path
) -> None:
    for seed, episodes in ((0, AFTER), (1, BEFORE)):
        model = f"runs/a/seed-{seed}/checkpoints/update-000004"
        run = RunFolder.create(
            f"runs/eval-{seed}", f"model: {model}\ndata: mini:test\nturns: 3\nsamples: 1\nseed: 9\n"
        )
        run.append_rollouts("eval", episodes)
    words = ["compare", "runs/b", "runs/eval-0", "runs/eval-1", "--json"]
    code, out, _ = rlef(*words)
    found = json.loads(out)
    assert code == 0 and [len(side["runs"]) for side in found["sides"]] == [1, 2]
    assert found["comparisons"][0]["seeds"] == 2
    RunFolder.open("runs/eval-1").config_path.write_text(
        "model: mini\ndata: mini:test\nturns: 3\nsamples: 1\n"
    )
    _, out, _ = rlef(*words)  # another model, of no training
    assert [len(side["runs"]) for side in json.loads(out)["sides"]] == [1, 1, 1]


def test_an_evaluation_of_trainings_is_chosen_by_its_name(rlef: Any, runs: Path) -> None:
    RunFolder.open("runs/b").append_rollouts("eval-after-also", AFTER)
    code, out, _ = rlef("compare", "runs/e", "runs/b", "--stage", "eval-after-also")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0 and any(row.startswith("b eval-after-also 10 ") for row in rows)
    assert any(row.startswith("1@3 70.0 70.0 +0.0") for row in rows)
    code, _, err = rlef("compare", "runs/e", "runs/b", "--stage", "eval-later")
    allowed = "eval-after, eval-after-also, eval-before"
    assert code == 2
    assert err == f"rlef: runs/b holds no evaluation 'eval-later'; allowed: {allowed}\n"


def test_dates_among_settings_are_texts(rlef: Any, runs: Path) -> None:
    training(Path("runs/d"), "updates: 200", "seed: 0", "rollout: {today: 2024-07-26}")
    _, out, _ = rlef("compare", "runs/b", "runs/d", "--json")
    assert json.loads(out)["settings"]["rollout.today"] == [None, "2024-07-26"]


def test_a_training_is_compared_with_an_evaluation_and_seeds_alone_with_each_other(
    rlef: Any, runs: Path
) -> None:
    code, out, _ = rlef("compare", "runs/e", "runs/a/seed-0", "runs/b")
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert any(row.startswith("seed-0 10 +0.0 +0.0 to +0.0 1 +0.0") for row in rows)
    assert any(row.startswith("b 10 -20.0") for row in rows)
    code, out, _ = rlef("compare", "runs/a/seed-0", "runs/a/seed-1")
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert any(row.startswith("1@3 70.0 40.0 -30.0") for row in rows)
    assert "seed 0 1" in rows


@pytest.mark.parametrize("width", ["50", "80"])
def test_tables_fit_the_terminal(
    rlef: Any, runs: Path, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    for words in (["runs"], ["show", "runs/b"], ["compare", "runs/b", "runs/a/seed-0", "runs/e"]):
        code, out, _ = rlef(*words)
        assert code == 0
        tables = [line for line in out.splitlines() if "·" not in line and "±:" not in line]
        assert all(len(line) <= int(width) for line in tables)


def test_the_verdict_of_a_turn_is_its_first_failure() -> None:
    assert turn_verdict({"program": None, "public_verdicts": []}) == "-"
    assert turn_verdict({"program": "p", "public_verdicts": ["AC", "TLE", "WA"]}) == "TLE"
    assert turn_verdict({"program": "p", "public_verdicts": ["AC", "AC"]}) == "AC"
