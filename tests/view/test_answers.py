"""The viewer's answers beside numbers that are read from the run folder by other means."""

import json
import math
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asking import Asker
from made_runs import HOSTILE, lines, make_training, outcome_of, record, rows_of

from rlef.evaluation import episode_statistics, parse_metrics
from rlef.evaluation.samples import judge_samples, read_sample_file
from rlef.problems import Problem, Test
from rlef.rollout.records import episode_from_json
from rlef.run import RunFolder
from rlef.run.training import unescaped
from rlef.view.page import write_report


@pytest.fixture(scope="module")
def run_id(shown: Path) -> str:
    return f"{shown.name}/one"


def verdicts_of(row: dict[str, Any]) -> list[str]:
    return [outcome_of(turn["public_verdicts"]) for turn in row["turns"]]


def test_all_runs_are_listed(ask: Asker, shown: Path) -> None:
    found = {run["id"].partition("/")[2]: run for run in ask("runs")["runs"]}
    assert set(found) == {"one", "more/two", "evaluated"}
    one, evaluated = found["one"], found["evaluated"]
    assert (one["kind"], one["model"], one["recipe"]) == ("training", "mini", "by-hand")
    assert (one["seed"], one["update"], one["updates"], one["note"]) == (0, 6, 8, None)
    assert one["headline"] == {"solve_rate": 0.5} and one["started"] <= one["changed"]
    assert (evaluated["kind"], evaluated["recipe"]) == ("evaluation", "jsonl:elsewhere.jsonl")


def test_a_run_and_its_stages(ask: Asker, run_id: str, training: RunFolder) -> None:
    found = ask("run", id=run_id)
    assert found["config"]["rollout.batch"] == 8 and found["turn_limit"] == 3
    assert found["has_scores"] is True and found["summary"] is None
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert list(stages) == ["train", "eval-after", "eval-before"]
    assert stages["train"]["episodes"] == 8 * 3 + 1 + 3
    records = [episode_from_json(line) for line in training.read_rollouts("eval-before")]
    expected, got = episode_statistics(records, 3), stages["eval-before"]
    assert got["solve_rate"] == pytest.approx(expected.one_at_n)
    assert got["solve_rate_by_turn"] == pytest.approx(list(expected.solve_rate_by_turn))
    assert got["repair_rate"] == pytest.approx(expected.repair_rate)
    assert got["low"] <= got["solve_rate"] <= got["high"]


def test_metrics_come_as_columns_from_a_line_on(ask: Asker, run_id: str) -> None:
    found = ask("metrics", id=run_id)
    assert found == {
        "columns": {"update": [2, 4, 6], "solve_rate": [0, 0.25, 0.5], "kl": [None] * 3},
        "next": 3,
    }
    assert ask("metrics", id=run_id, after=2)["columns"]["update"] == [6]
    assert ask("metrics", id=run_id, after=3)["columns"]["update"] == []
    again = ask("metrics", id=run_id, after=7)  # it went back to a checkpoint
    assert again["next"] == 3 and again["columns"]["update"] == [2, 4, 6]


def test_settings_that_differ(ask: Asker, shown: Path) -> None:
    ids = [f"{shown.name}/one", f"{shown.name}/more/two"]
    assert ask("settings", id=ids) == {"keys": [{"key": "seed", "values": [0, 1]}]}


def test_rewards_that_json_lacks_are_null(tmp_path: Path, cache: Path) -> None:
    run = make_training(tmp_path / "one")
    odd = '{"minibatch": 4, "grad_clip": .inf}, "reward": {"potential": .nan}'
    run.config_path.write_text(run.read_config().replace('{"minibatch": 4}', odd))
    for path in run.training_path.glob("batch-*.parquet"):
        table = pq.read_table(path)
        rewards = [
            [math.nan, *row[1:-1], math.inf][: len(row)] for row in table["rewards"].to_pylist()
        ]
        at, kind = table.schema.get_field_index("rewards"), table.schema.field("rewards")
        pq.write_table(table.set_column(at, kind, pa.array(rewards, kind.type)), path)
    ask, run_id = Asker(cache, tmp_path), f"{tmp_path.name}/one"
    config = ask("run", id=run_id)["config"]
    assert (config["learner.grad_clip"], config["reward.potential"]) == (None, None)
    rows = ask("episodes", id=run_id, stage="train", first=0, last=2)["rows"]
    assert {row["reward"] for row in rows} == {None}
    found = ask("episode", id=run_id, stage="train", row=rows[0]["index"])
    assert found["turns"][0]["reward"] is None
    write_report(run.path)
    assert run.report_path.is_file()


def test_episodes_as_they_stand_in_the_files(ask: Asker, run_id: str, training: RunFolder) -> None:
    found = ask("episodes", id=run_id, stage="train", limit=1000)
    rows = rows_of(training)
    assert found["total"] == len(found["rows"]) == len(rows) + 3
    for got, row in zip(found["rows"], rows, strict=False):
        assert (got["row"], got["index"], got["batch"]) == (
            row["index"],
            row["index"],
            row["batch"],
        )
        assert got["update"] == 2 * row["batch"] + 2
        assert got["problem"] == row["problem"] and got["turns"] == len(row["turns"])
        assert got["verdicts"] == verdicts_of(row)
        assert (got["solved"], got["status"]) == (row["solved"], row["status"])
        assert got["reward"] == pytest.approx(sum(row["rewards"]))
        assert got["tokens"] == 3 * len(row["turns"])
        assert got["repaired"] == (row["solved"] and len(row["turns"]) > 1)
    assert [row["status"] for row in found["rows"][-3:]] == ["pending"] * 3
    assert [row["row"] for row in found["rows"][-3:]] == [24, 25, 26]


@pytest.mark.parametrize(
    ("words", "keeps"),
    [
        ({"problem": "sums/3"}, lambda r: r["problem"] == "sums/3"),
        ({"problem_is": "sums/3"}, lambda r: r["problem"] == "sums/3"),
        ({"problem_is": "SUMS/3"}, lambda r: False),
        ({"problem_is": "sums/"}, lambda r: False),
        ({"family": "sums", "solved": 1}, lambda r: r["solved"]),
        ({"family": "sum"}, lambda r: False),
        ({"text": "a needle"}, lambda r: "needle" in r["turns"][0]["response"]),
        ({"text": "Your output:\n6"}, lambda r: len(r["turns"]) > 1),
        ({"text": "print(11)"}, lambda r: any(t["program"] == "print(11)" for t in r["turns"])),
        ({"text": " \U0010ffff"}, lambda r: HOSTILE[:9] in r["turns"][0]["response"]),
        ({"text": "0\U0010ffff"}, lambda r: False),
        ({"verdict": "RE"}, lambda r: "RE" in verdicts_of(r)),
        ({"verdict": "WA", "turn": 2}, lambda r: verdicts_of(r)[1:2] == ["WA"]),
        ({"turn": 3}, lambda r: len(r["turns"]) == 3),
        ({"solved": 1}, lambda r: r["solved"]),
        ({"solved": 0}, lambda r: not r["solved"]),
        ({"repaired": 1}, lambda r: r["solved"] and len(r["turns"]) > 1),
        ({"min_reward": 0.5}, lambda r: sum(r["rewards"]) >= 0.5),
        ({"max_reward": -0.5, "first": 1}, lambda r: not r["solved"] and r["batch"] >= 1),
        ({"first": 1, "last": 1}, lambda r: r["batch"] == 1),
        ({"stop": "turn_limit"}, lambda r: r["stop"] == "turn_limit"),
        ({"status": "too_old"}, lambda r: r["status"] == "too_old"),
        ({"problem": "/2", "solved": 1, "text": "plain"}, None),
    ],
    ids=lambda value: ascii(value) if isinstance(value, dict) else "",
)
def test_filters(ask: Asker, run_id: str, training: RunFolder, words: Any, keeps: Any) -> None:
    if keeps is None:
        keeps = lambda r: (  # noqa: E731
            r["problem"] == "sums/2" and r["solved"] and "plain" in r["turns"][0]["response"]
        )
    if "last" not in words:
        words = {"last": 99, **words}  # without those of no batch
    expected = [row["index"] for row in rows_of(training) if keeps(row)]
    found = ask("episodes", id=run_id, stage="train", limit=1000, **words)
    assert [row["row"] for row in found["rows"]] == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize("name", ["p1", "a%_'", "\u00e4\U0010ffff"])
def test_a_problem_and_a_family_are_filtered_by_their_whole_names(
    tmp_path: Path, name: str
) -> None:
    of_family = [replace(record(each, ["AC"]), family="arith") for each in (name, f"{name}0")]
    others = [replace(record(f"1{name}", ["AC"]), family=family) for family in ("arith2", None)]
    run = RunFolder.create(tmp_path / "run", json.dumps({"model": "m", "data": "x", "turns": 1}))
    run.append_rollouts("eval", lines([*of_family, *others]))
    ask = Asker(tmp_path / "cache", tmp_path / "run")
    words = {"id": ask("runs")["runs"][0]["id"], "stage": "eval"}
    assert [row["row"] for row in ask("episodes", **words, family="arith")["rows"]] == [0, 1]
    assert [row["row"] for row in ask("episodes", **words, problem_is=name)["rows"]] == [0]
    assert ask("episodes", **words, problem=name)["total"] == 4
    assert ask("episodes", **words, problem_is=name, family="arith2")["total"] == 0


def test_pages_and_orders(ask: Asker, run_id: str) -> None:
    words = {"id": run_id, "stage": "train"}
    whole = [row["row"] for row in ask("episodes", **words, limit=1000)["rows"]]
    page = ask("episodes", **words, offset=5, limit=7)
    assert page["total"] == len(whole) and [r["row"] for r in page["rows"]] == whole[5:12]
    down = ask("episodes", **words, sort="tokens", desc=1, limit=1000)["rows"]
    assert [r["tokens"] for r in down] == sorted((r["tokens"] for r in down), reverse=True)
    assert [r["row"] for r in ask("episodes", **words, desc=1, limit=1000)["rows"]] == whole[::-1]


def test_problems_that_changed_between_two_evaluations(
    ask: Asker, run_id: str, training: RunFolder
) -> None:
    rates: list[dict[str, float]] = []
    for name in ("eval-before", "eval-after"):
        found = defaultdict(list)
        for line in training.read_rollouts(name):
            if line["stop"] != "infra_error":
                found[line["problem"]].append(line["solved"])
        rates.append({problem: fmean(values) for problem, values in found.items()})
    gained = {p for p in rates[0].keys() & rates[1].keys() if rates[1][p] > rates[0][p]}
    lost = {p for p in rates[0].keys() & rates[1].keys() if rates[1][p] < rates[0][p]}
    words = {"id": run_id, "stage": "eval-after", "changed_from": "eval-before", "limit": 1000}
    for more, expected in (
        ({}, gained | lost),
        ({"direction": "gained"}, gained),
        ({"direction": "lost"}, lost),
    ):
        rows = ask("episodes", **words, **more)["rows"]
        assert {row["problem"] for row in rows} == expected
    rows = ask("problems", id=run_id, stage="eval-after", other="eval-before")["rows"]
    assert {r["problem"]: r["solve_rate"] for r in rows} == pytest.approx(rates[1])
    there = {r["problem"]: r["other_rate"] for r in rows if r["other_rate"] is not None}
    assert there == pytest.approx({p: rates[0][p] for p in there})


def test_transitions_and_verdicts(ask: Asker, run_id: str, training: RunFolder) -> None:
    expected: Counter[tuple[int, str, str]] = Counter()
    ends: Counter[str] = Counter()
    for row in rows_of(training):
        if row["batch"] != 1 or row["status"] != "taken":
            continue
        outcomes = verdicts_of(row)
        end = "solved" if row["solved"] else "failed"
        end = "unjudged" if row["stop"] == "infra_error" else end
        for t, (a, b) in enumerate(zip(outcomes, [*outcomes[1:], end], strict=True), start=1):
            expected[t, a, b] += 1
        last = {"AC": "private", "none": "invalid"}.get(outcomes[-1], outcomes[-1])
        last = "solved" if row["solved"] else last
        ends["IE" if row["stop"] == "infra_error" else last] += 1
    found = ask("transitions", id=run_id, stage="train", first=1, last=1)
    links = {(link["turn"], link["from"], link["to"]): link["count"] for link in found["links"]}
    assert links == expected
    nodes = {(node["turn"], node["outcome"]) for node in found["nodes"]}
    assert {(turn, a) for turn, a, _ in links} <= nodes
    mix = ask("verdicts", id=run_id)
    assert mix["batches"] == [0, 1, 2]
    at_1 = {name: values[1] for name, values in mix["series"].items() if values[1]}
    assert at_1 == pytest.approx({name: count / 8 for name, count in ends.items()})
    for place in range(3):
        assert sum(values[place] for values in mix["series"].values()) == pytest.approx(1)


def test_an_episode_with_its_scores_and_tokens(
    ask: Asker, run_id: str, training: RunFolder
) -> None:
    for row in unescaped(rows_of(training))[8:12]:
        found = ask("episode", id=run_id, stage="train", row=row["index"])
        assert found["seed"] == str(row["seed"]) and found["update"] == 4
        assert (found["previous_row"], found["next_row"]) == (row["index"] - 1, row["index"] + 1)
        assert len(found["turns"]) == len(row["turns"])
        is_kept, place = row["index"] in (8, 9), 0
        for t, (got, turn) in enumerate(zip(found["turns"], row["turns"], strict=True)):
            for name in ("response", "program", "feedback", "public_verdicts", "prompt_tokens"):
                assert got[name] == turn[name]
            assert got["reward"] == row["rewards"][t]
            assert got["policy_version"] == row["policy_versions"][t]
            numbers = [got[name] for name in ("value", "return", "advantage", "kl")]
            kept = [[0.5, 0.25, 0.125][t], 1.0, [2.0, 3.0, 4.0][t], None]
            assert numbers == (kept if is_kept else [None] * 4)
            if t:
                assert got["prompt"] == row["turns"][t - 1]["feedback"]
            tokens = got["tokens"]
            assert [token["action"] for token in tokens] == [False] * 5 + [True] * 3
            for k, token in enumerate(tokens, start=place):
                logprob = row["logprobs"][k] if token["action"] else None
                assert token["logprob"] == (logprob and pytest.approx(logprob, abs=1e-6))
                kept_logprob = float(k) if is_kept and token["action"] else None
                assert token["policy_logprob"] == kept_logprob and token["ref_logprob"] is None
            place += len(tokens)
        assert place == len(row["token_ids"])


def test_what_a_model_wrote_comes_as_it_was(ask: Asker, run_id: str, training: RunFolder) -> None:
    rows = unescaped(rows_of(training))
    hostile = next(r for r in rows if r["turns"][0]["response"].startswith(HOSTILE))
    found = ask("episode", id=run_id, stage="train", row=hostile["index"])
    assert found["turns"][0]["response"] == f"{HOSTILE} 0"
    words = {"id": run_id, "stage": "train", "row": hostile["index"], "turn": 1}
    assert ask("text", **words, field="response") == {"text": f"{HOSTILE} 0"}


def test_public_tests_come_from_the_feedback(ask: Asker, run_id: str, training: RunFolder) -> None:
    row = next(r for r in rows_of(training) if verdicts_of(r)[:1] == ["WA"] and len(r["turns"]) > 1)
    found = ask("episode", id=run_id, stage="train", row=row["index"])
    passed, failed = found["turns"][0]["public_tests"]
    assert passed["verdict"] == "AC" and passed["got"] is None
    assert failed == {
        "verdict": "WA", "input": "2 3", "expected": "5", "got": "6", "error": None
    }  # fmt: skip


def test_an_evaluation(ask: Asker, shown: Path) -> None:
    run_id, run = f"{shown.name}/evaluated", RunFolder(shown / "evaluated")
    records = run.read_rollouts("eval")
    found = ask("episodes", id=run_id, stage="eval", limit=1000)
    assert [row["row"] for row in found["rows"]] == list(range(40))
    for got, line in zip(found["rows"], records, strict=True):
        assert got["problem"] == line["problem"] and got["verdicts"] == verdicts_of(line)
        assert got["status"] == "evaluated" and got["batch"] is got["reward"] is None
    one = ask("episode", id=run_id, stage="eval", row=7)
    assert one["statement"] == "Add 7." and one["sample"] == 0 and one["turns"][0]["tokens"] is None
    assert [t["response"] for t in one["turns"]] == [t["response"] for t in records[7]["turns"]]
    needle = [i for i, line in enumerate(records) if "needle" in json.dumps(line)]
    for text in ("needle", "A NeedLE"):  # in any case
        hits = ask("episodes", id=run_id, stage="eval", text=text, limit=1000)["rows"]
        assert [row["row"] for row in hits] == needle
    assert ask("episodes", id=run_id, stage="eval", problem="SUMS/")["total"] == 40


def test_runs_are_compared_on_the_same_problems(ask: Asker, shown: Path) -> None:
    ids = [f"{shown.name}/evaluated", f"{shown.name}/one"]
    found = ask("compare", id=ids)
    assert [pair["metric"] for pair in found["pairs"]] == ["1@1", "1@2", "1@3"]
    stages = [ask("run", id=i)["stages"] for i in ids]
    rates = [{s["name"]: s for s in each} for each in stages]
    last = found["pairs"][-1]
    assert last["value_a"] == pytest.approx(rates[0]["eval"]["solve_rate"])
    assert last["value_b"] == pytest.approx(rates[1]["eval-after"]["solve_rate"])
    assert last["difference"] == pytest.approx(last["value_b"] - last["value_a"])
    assert [curve["update"] for curve in found["curves"]] == [[2, 4, 6]]


def test_seeds_of_one_setting_are_one_curve(tmp_path: Path, cache: Path) -> None:
    for seed in (0, 1):
        run = make_training(tmp_path / f"run-{seed}", batches=0, pending=1, seed=seed)
        run.append_metrics({"update": 2, "solve_rate": 0.5 + seed / 5})
    ask = Asker(cache, tmp_path)
    (curve,) = ask("compare", id=[f"{tmp_path.name}/run-{seed}" for seed in (0, 1)])["curves"]
    assert curve["label"] == "run" and curve["seeds"] == [0, 1]
    rate = curve["metrics"]["solve_rate"]
    # Student's t, one degree of freedom: 12.706 times 0.1
    assert rate["mean"] == pytest.approx([0.6])
    assert rate["low"] == pytest.approx([0.6 - 1.2706], abs=1e-3)
    assert rate["high"] == pytest.approx([0.6 + 1.2706], abs=1e-3)


@pytest.mark.parametrize(
    ("path", "words", "status", "said"),
    [
        ("run", {}, 400, "id is missing"),
        ("run", {"id": "nowhere"}, 404, "no such run"),
        ("episodes", {"stage": "valid"}, 404, "no stage 'valid'"),
        ("episodes", {"stage": "train", "limit": 5000}, 400, "allowed: 0 to 1000"),
        ("episodes", {"stage": "train", "sort": "row; DROP TABLE x"}, 400, "allowed: row"),
        ("episodes", {"stage": "train", "solved": "yes"}, 400, "allowed: 1 or 0"),
        ("episodes", {"stage": "train", "min_reward": "much"}, 400, "allowed: a number"),
        ("episodes", {"stage": "train", "turn": 0, "verdict": "WA"}, 400, "1 or more"),
        ("episode", {"stage": "train", "row": 12345}, 404, "no episode 12345"),
        ("text", {"stage": "train", "row": 0, "field": "x"}, 404, "no text 'x'"),
        ("nothing", {}, 404, "no such answer"),
    ],
)
def test_wrong_words_are_told_in_a_line(
    ask: Asker, run_id: str, path: str, words: dict[str, Any], status: int, said: str
) -> None:
    given = words if path == "run" else {"id": run_id, **words}
    found = ask(path, expect=status, **given)
    assert list(found) == ["error"] and said in found["error"] and "\n" not in found["error"]


def test_samples_of_others_are_shown(tmp_path: Path) -> None:
    """Judged from a log of inspect: shown as any evaluation is."""
    log = Path(__file__).parents[1] / "evaluation" / "sample_files" / "inspect.eval"
    public, private = (Test("2", "4"),), (Test("3", "6"),)
    problems = [
        Problem(name="double", statement="Print 2n.", public_tests=public, private_tests=private)
    ]
    found = read_sample_file(log, problems)
    options = {"samples_file": str(log), "data": "jsonl:gone.jsonl", "limit": None}
    run = RunFolder.create(tmp_path / "judged", json.dumps(options))
    metrics = parse_metrics("pass@1")
    judge_samples(found.samples, problems, run, metrics, name="inspect", data="jsonl:gone.jsonl")
    ask = Asker(tmp_path / "cache", tmp_path / "judged")
    (listed,) = ask("runs")["runs"]
    assert listed["kind"] == "evaluation" and listed["headline"] == {"pass@1": 0.5}
    rows = ask("episodes", id=listed["id"], stage="eval")["rows"]
    assert sorted(row["solved"] for row in rows) == [False, True]
    shown = ask("episode", id=listed["id"], stage="eval", row=0)
    assert shown["statement"] == "Print 2n."


def test_problems_without_a_sample_are_shown_as_failed(tmp_path: Path) -> None:
    public, private = (Test("2", "4"),), (Test("3", "6"),)
    problems = [
        Problem(name=name, statement="Print 2n.", public_tests=public, private_tests=private)
        for name in ("double", "missing")
    ]
    file = tmp_path / "s.jsonl"
    line = json.dumps({"task_id": "double", "solution": "print(2 * int(input()))"})
    file.write_text(f"{line}\n")
    options = {"samples_file": str(file), "data": "jsonl:gone.jsonl", "limit": None}
    run = RunFolder.create(tmp_path / "judged", json.dumps(options))
    judge_samples(
        read_sample_file(file, problems).samples,
        problems,
        run,
        parse_metrics("pass@1"),
        name="x",
        data="jsonl:gone.jsonl",
        missing_failed=True,
    )
    ask = Asker(tmp_path / "cache", tmp_path / "judged")
    (listed,) = ask("runs")["runs"]
    (stage,) = ask("run", id=listed["id"])["stages"]
    assert listed["headline"] == {"pass@1": 0.5} and stage["solve_rate"] == 0.5
    rows = ask("problems", id=listed["id"], stage="eval")["rows"]
    assert {row["problem"]: row["solve_rate"] for row in rows} == {"double": 1, "missing": 0}
    shown = ask("episode", id=listed["id"], stage="eval", row=1)
    assert (shown["problem"], shown["statement"]) == ("missing", "Print 2n.")
