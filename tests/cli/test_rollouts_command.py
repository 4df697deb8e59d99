"""``rlef rollouts``: dialogues that trainers load, and rollouts as they were."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from rlef.environment import EpisodeRecord, MessageConversation, StopReason, TurnRecord
from rlef.evaluation.episodes import problem_hash
from rlef.problems import load_problems
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.rollout.records import episode_to_json
from rlef.run import RunFolder
from rlef.run.inputs import noted
from rlef.sandbox import Verdict

Rlef = Callable[..., Any]
GOOD, BAD = "```python\nprint(2 * int(input()))\n```", "```python\nprint(1)\n```"
MINE = """{"name": "other", "statement": "x", "public_tests": [],
"private_tests": [{"input": "", "output": ""}]}""".replace("\n", " ")
TRL = os.environ.get("RLEF_TRL_PYTHON", "")


def episode(*answers: str, problem: str = "double", **changes: Any) -> EpisodeRecord:
    """An episode that is solved if its last answer is."""
    turns = [
        TurnRecord(
            response=answer,
            program="x",
            public_verdicts=(Verdict.AC if answer == GOOD else Verdict.WA,),
            feedback=f"Failed {number}." if number < len(answers) else None,
        )
        for number, answer in enumerate(answers, start=1)
    ]
    solved = answers[-1:] == (GOOD,)
    values: dict[str, Any] = {
        "problem": problem,
        "family": None,
        "hidden_detail": None,
        "turns": tuple(turns),
        "stop": StopReason.PUBLIC_PASSED if solved else StopReason.TURN_LIMIT,
        "solved": solved,
        "final_verdict": Verdict.AC if solved else None,
    }
    return EpisodeRecord(**{**values, **changes})


EPISODES = [
    episode(GOOD),
    episode(BAD, GOOD),
    episode(BAD, BAD),
    episode(GOOD),
    episode(GOOD, stop=StopReason.INFRA_ERROR, solved=False),
    episode(stop=StopReason.CONTEXT_LIMIT, problem="add"),
    episode("half \ud800 a pair"),
]


@pytest.fixture
def run(tmp_path: Path, problems: str) -> RunFolder:
    """A training of seven rollouts, four in a batch, and an evaluation of two episodes."""
    config = {
        "name": "one",
        "model": {"name": "mini", "system": "Be brief."},
        "data": {"train": problems, "test": problems, "valid": None},
        "rollout": {"prompts": "mini"},
    }
    made = RunFolder.create(tmp_path / "run", yaml.safe_dump(config))
    path = Path(problems.partition(":")[2])
    made.write_inputs([noted(path, "data.train")])
    ledger = Ledger(made.training_path)
    for index, record in enumerate(EPISODES):
        rewards = [0.0] * (len(record.turns) - 1) + ([1.0 if record.solved else -1.0])
        rewards = rewards[: len(record.turns)]
        rollout = Rollout.of(record, MessageConversation(), rewards, [], seed=index)
        ledger.add([(index, rollout)])
        if index == 3:
            ledger.take(4, in_order=True, too_old=lambda _: False)
    hashes = {problem.name: problem_hash(problem) for problem in load_problems(problems)}
    made.append_rollouts(
        "eval-after",
        [{**episode_to_json(one), "problem_hash": hashes[one.problem]} for one in EPISODES[:2]],
    )
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def said(rows: list[dict[str, Any]], field: str = "messages") -> list[str]:
    return [" ".join(message["role"][0] for message in row[field]) for row in rows]


def test_messages_are_what_the_model_saw(run: RunFolder, tmp_path: Path, rlef: Rlef) -> None:
    out = tmp_path / "a.jsonl"
    found = rlef("rollouts", run.path, out)
    assert found.code == 0 and "5 of 7 rollouts (train of " in found.out
    assert found.err == "1 left out: the judge could not do its work\n"
    rows = lines(out)
    assert said(rows) == ["s u a", "s u a u a", "s u a u a", "s u a", "s u a"]
    assert rows[1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Read n, print 2n."},
        {"role": "assistant", "content": BAD},
        {"role": "user", "content": "Failed 1."},
        {"role": "assistant", "content": GOOD},
    ]
    facts = {name: rows[1][name] for name in ("problem", "solved", "reward", "turns", "index")}
    assert facts == {"problem": "double", "solved": True, "reward": 1.0, "turns": 2, "index": 1}
    assert [row["batch"] for row in rows] == [0, 0, 0, 0, None]
    assert rows[4]["messages"][-1]["content"] == "half \ufffd a pair"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--solved"], ["s u a", "s u a u a", "s u a"]),
        (["--solved", "--distinct"], ["s u a", "s u a u a"]),
        (["--min-reward", "1"], ["s u a", "s u a u a", "s u a"]),
        (["--min-reward", "-1", "--last-turn"], ["s u a"] * 5),
        (["--of", "eval-after"], ["s u a", "s u a u a"]),
    ],
)
def test_which_are_written(
    run: RunFolder, tmp_path: Path, rlef: Rlef, words: list[str], expected: list[str]
) -> None:
    assert rlef("rollouts", run.path, tmp_path / "a.jsonl", *words).code == 0
    assert said(lines(tmp_path / "a.jsonl")) == expected


def test_what_is_learnt_from(run: RunFolder, tmp_path: Path, rlef: Rlef) -> None:
    flags = tmp_path / "flags.parquet"
    assert rlef("rollouts", run.path, flags, "--solved", "--last-loss").code == 0
    row = pq.read_table(flags).to_pylist()[1]
    assert [message["train"] for message in row["messages"]] == [False] * 4 + [True]
    apart = tmp_path / "apart.parquet"
    words = ["--solved", "--as", "prompt-completion"]
    assert rlef("rollouts", run.path, apart, *words).code == 0
    rows = pq.read_table(apart).to_pylist()
    assert said(rows, "prompt") == ["s u", "s u a u", "s u"]
    assert [row["completion"] for row in rows] == [[{"role": "assistant", "content": GOOD}]] * 3


def test_rollouts_as_they_were(run: RunFolder, tmp_path: Path, rlef: Rlef) -> None:
    out = tmp_path / "all.parquet"
    assert rlef("rollouts", run.path, out, "--as", "rollouts").code == 0
    rows = pq.read_table(out).to_pylist()
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 6]
    assert [turn["public_verdicts"] for turn in rows[1]["turns"]] == [["WA"], ["AC"]]
    assert rows[1]["turns"][0]["feedback"] == "Failed 1." and rows[1]["rewards"] == [0.0, 1.0]
    assert rows[0]["status"] == "taken" and rows[4]["status"] == "pending"
    words = ["--as", "rollouts", "--of", "eval-after"]
    assert rlef("rollouts", run.path, tmp_path / "eval.jsonl", *words).code == 0
    assert [row["rewards"] for row in lines(tmp_path / "eval.jsonl")] == [None, None]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_datasets_loads_them(run: RunFolder, tmp_path: Path, rlef: Rlef, name: str) -> None:
    datasets = pytest.importorskip("datasets")
    assert rlef("rollouts", run.path, tmp_path / name, "--last-loss").code == 0
    kind = "json" if name.endswith("jsonl") else "parquet"
    loaded = datasets.load_dataset(
        kind, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.num_rows == 5 and loaded[1]["messages"][1]["content"] == "Read n, print 2n."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "a.txt"], "a.txt: allowed: a name that ends with .jsonl or .parquet"),
        (["{run}", "{old}"], "exists; allowed: a new file"),
        (["{run}/x", "a.jsonl"], "does not exist; allowed: the folder of a run"),
        (["{old}", "a.jsonl"], "old.jsonl is a file; allowed: the folder of a run"),
        (["{run}", "{run}/rollouts/a.jsonl"], "among the rollouts of a run; allowed: another"),
        (["{run}", "{run}/rollouts/train/batch-000009.parquet"], "among the rollouts of a run"),
        (["{run}", "a.jsonl", "--min-reward", "nan"], "--min-reward is nan; allowed: a number"),
        (["{run}", "a.jsonl", "--of", "x"], "no rollouts 'x'; allowed: train, eval-after"),
        (["{run}", "a.jsonl", "--as", "x"], "allowed: messages, prompt-completion, rollouts"),
        (["{run}", "a.jsonl", "--min-reward", "2"], "none of the 7 rollouts is asked for"),
        (["{run}", "a.jsonl", "--of", "eval-after", "--min-reward", "1"], "has no rewards"),
        (["{run}", "a.jsonl", "--as", "rollouts", "--last-turn"], "no meaning with --as rollouts"),
        (["{run}", "a.jsonl", "--data", "jsonl:{old}"], "'double' of the rollouts is not in"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: RunFolder,
    tmp_path: Path,
    rlef: Rlef,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "old.jsonl"
    old.write_text(MINE)
    before = set(tmp_path.iterdir())
    found = rlef("rollouts", *(word.format(run=run.path, old=old) for word in words))
    assert found.code == 2 and message in found.err and found.err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before and old.read_text() == MINE


@pytest.mark.parametrize(
    ("stops", "message"),
    [
        ([StopReason.CONTEXT_LIMIT] * 2, "none of the 2 rollouts has an answer, so there is"),
        (
            [StopReason.CONTEXT_LIMIT, StopReason.INFRA_ERROR],
            "none of the 2 rollouts has an answer that could be judged, so there is",
        ),
    ],
)
@pytest.mark.parametrize("more", [[], ["--solved"], ["--as", "rollouts"]])
def test_rollouts_without_an_answer_are_not_left_out_by_conditions(
    run: RunFolder,
    tmp_path: Path,
    rlef: Rlef,
    stops: list[StopReason],
    message: str,
    more: list[str],
) -> None:
    answers = {StopReason.CONTEXT_LIMIT: (), StopReason.INFRA_ERROR: (BAD,)}
    made = [episode(*answers[stop], stop=stop) for stop in stops]
    run.write_rollouts("eval-none", [episode_to_json(one) for one in made])
    found = rlef("rollouts", run.path, tmp_path / "a.jsonl", "--of", "eval-none", *more)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert found.err == f"rlef: {message} nothing to write\n"
    assert not (tmp_path / "a.jsonl").exists()


def test_problems_that_have_changed(
    run: RunFolder, tmp_path: Path, rlef: Rlef, problems: str
) -> None:
    path = Path(problems.partition(":")[2])
    path.write_text(path.read_text().replace("print 2n", "print 3n"))
    found = rlef("rollouts", run.path, tmp_path / "a.jsonl")
    assert found.code == 2 and "(data.train) is not what it was when" in found.err
    found = rlef("rollouts", run.path, tmp_path / "b.jsonl", "--of", "eval-after")
    assert found.code == 2 and "'double'" in found.err and "had another statement" in found.err
    path.unlink()
    found = rlef("rollouts", run.path, tmp_path / "c.jsonl")
    assert found.code == 2 and "(data.train) is gone, which was there when" in found.err


def test_an_evaluation_is_written_only_where_it_is_asked_for(
    run: RunFolder, tmp_path: Path, rlef: Rlef
) -> None:
    shutil.rmtree(run.training_path)
    found = rlef("rollouts", run.path, tmp_path / "a.jsonl")
    assert found.code == 2 and "no rollouts 'train'; allowed: eval-after (--of)" in found.err
    assert rlef("rollouts", run.path, tmp_path / "a.jsonl", "--of", "eval-after").code == 0
    run.training_path.mkdir()
    (run.training_path / "pending.bin").touch()
    found = rlef("rollouts", run.path, tmp_path / "b.jsonl")
    assert found.code == 2 and "no episode of these has ended yet" in found.err


def test_samples_of_a_file_had_no_prompts(tmp_path: Path, problems: str, rlef: Rlef) -> None:
    run = RunFolder.create(
        tmp_path / "run", yaml.safe_dump({"samples_file": "x.jsonl", "data": problems})
    )
    run.append_rollouts("eval", [episode_to_json(EPISODES[0])])
    found = rlef("rollouts", run.path, tmp_path / "a.jsonl")
    assert found.code == 2 and "judged samples of a file, whose prompts nobody knows" in found.err
    assert rlef("rollouts", run.path, tmp_path / "a.jsonl", "--as", "rollouts").code == 0


def test_an_evaluation_is_written_from_any_folder(
    tmp_path: Path, problems: str, rlef: Rlef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data", "jsonl:problems.jsonl", "--prompts", "mini", "--max-new-tokens", 4]
    assert rlef("eval", "mini", *words, "--out", "e").code == 0
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert rlef("rollouts", "../e", "a.jsonl").code == 0
    assert [row["problem"] for row in lines(Path("a.jsonl"))] == ["double", "add"]
    Path("../problems.jsonl").rename("moved.jsonl")
    found = rlef("rollouts", "../e", "b.jsonl")
    assert found.code == 2 and found.err.count("\n") == 1
    assert "problems.jsonl: no such file; allowed: where the problems are now (--data)" in found.err
    assert rlef("rollouts", "../e", "b.jsonl", "--data", "jsonl:moved.jsonl").code == 0


SFT = """
import sys
from datasets import load_dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows = load_dataset("parquet", data_files=sys.argv[2], split="train")
small = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32,
                    num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
settings = SFTConfig(output_dir=sys.argv[3], max_steps=1, report_to="none", use_cpu=True,
                     bf16=False)
trainer = SFTTrainer(model=LlamaForCausalLM(small), processing_class=tokenizer,
                     train_dataset=rows, args=settings)
learnt = [[i for i in row["labels"] if i != -100] for row in trainer.train_dataset]
print(tokenizer.batch_decode(learnt, skip_special_tokens=True))
assert trainer.train().training_loss > 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not TRL, reason="RLEF_TRL_PYTHON names no Python that has trl (1.16) in it")
def test_trl_learns_from_the_last_answer_alone(run: RunFolder, tmp_path: Path, rlef: Rlef) -> None:
    out = tmp_path / "a.parquet"
    run.write_config(run.read_config().replace("system: Be brief.", "system: null"))
    words = ["--solved", "--as", "prompt-completion"]
    assert rlef("rollouts", run.path, out, *words).code == 0
    model = tmp_path / "model"
    assert rlef("export", "mini", "--to", model).code == 0
    done = subprocess.run(
        [TRL, "-c", SFT, model, out, tmp_path / "out"],
        env={**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first = next(line for line in done.stdout.splitlines() if line.startswith("["))
    assert [text.strip() for text in eval(first)] == [GOOD] * 3
