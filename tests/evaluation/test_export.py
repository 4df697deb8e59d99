import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from episode_makers import AC, WA, episode, failed, infra, solved, turn

from rlef.evaluation.compare import ComparedRun, compare_runs
from rlef.evaluation.export import comparison_markdown, samples_jsonl, summary_markdown
from rlef.evaluation.specs import Measured, measure, parse_metrics

HUMANEVAL = Path(__file__).parents[2].parent / "shared" / "data" / "HumanEval.jsonl.gz"


def table_of(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_a_table_beside_the_papers() -> None:
    records = [solved("a"), failed("a", 3), solved("b", 2), failed("b", 3)]
    results = {spec.name: measure(records, spec, 3) for spec in parse_metrics("1@1,1@3,pass@2")}
    text = summary_markdown(results, model="tiny", data="codecontests:hub:valid", turn_limit=3)
    headings, line, *rows = table_of(text)
    assert headings[:5] == ["metric", "model", "data", "turns", "solved, %"]
    assert line[:2] == ["---", "---:"]
    assert {len(row) for row in rows} == {len(headings)}
    assert rows[0][:5] == ["1@1", "tiny", "codecontests:hub:valid", "3", "25.0"]
    assert rows[1][4] == "50.0"
    low, _, high = rows[1][6].partition(" to ")
    assert float(low) <= 50 <= float(high)
    # The paper has 1@3 on this split six times, and none of the other two.
    assert [row[0] for row in rows] == ["1@1", *["1@3"] * 7, "pass@2"]
    assert rows[7][1:5] == [
        "*Llama 3.1 70B, Instruct + RLEF*",
        "*CodeContests valid*",
        "3",
        "*37.5*",
    ]
    assert text.endswith("Gehring et al., arXiv 2410.02089v2.\n")
    assert "\n\n2 problems. Intervals: " in text


def test_a_table_without_the_paper() -> None:
    results = {"1@3": measure([infra("a"), solved("b")], parse_metrics("1@3")[0], 3)}
    text = summary_markdown(results, model="a|b", data="mini:test", turn_limit=3)
    assert "arXiv" not in text
    assert "| 1@3 | a\\|b | mini:test | 3 | 100.0 | 100.0 to 100.0 | 100.0 to 100.0 |" in text
    assert "1 problem; up to 1 left out after infrastructure errors." in text


def test_nothing_measured() -> None:
    nothing: dict[str, Measured] = {"1@3": measure([infra("a")], parse_metrics("1@3")[0], 3)}
    assert math.isnan(nothing["1@3"].estimate)
    text = summary_markdown(nothing, model="m", data="mini:test", turn_limit=3)
    assert "| - | - | - |" in text
    assert summary_markdown({}, model="m", data="mini:test", turn_limit=3).startswith("| metric |")


def test_a_comparison_as_markdown() -> None:
    a, b = (
        ComparedRun(label=label, records=[solved("p", k)], turn_limit=3)
        for label, k in (("old", 3), ("new", 1))
    )
    text = comparison_markdown(compare_runs(a, b, parse_metrics("1@1")))
    headings, _, first, *_ = table_of(text)
    assert headings[1:4] == ["old", "new", "difference"]
    assert first == ["1@1", "0.0", "100.0", "+100.0", "+100.0 to +100.0", "1", "1 / 0"]
    assert text.endswith("better / worse: problems.\n")


def test_samples_are_last_programs() -> None:
    records = [
        episode("HumanEval/0", turn("first", WA), turn("second\u2028", AC), solved=True),
        episode("HumanEval/0", turn("first", WA), turn(None)),
        infra("HumanEval/0"),
        episode("HumanEval/1"),
    ]
    lines = list(samples_jsonl(records))
    assert all(line.isascii() and line.count("\n") == 1 for line in lines)
    assert [json.loads(line) for line in lines] == [
        {"task_id": "HumanEval/0", "solution": "second\u2028", "completion": "\nsecond\u2028"},
        {"task_id": "HumanEval/0", "solution": "", "completion": "\n"},
        {"task_id": "HumanEval/1", "solution": "", "completion": "\n"},
    ]


CHECKER = """
import json, sys
for line in sys.stdin:
    problem, sample = json.loads(line)
    # As openai/human-eval composes a program (execution.py), and as EvalPlus takes a solution.
    whole = problem["prompt"] + sample["completion"]
    ends = f"\\n{problem['test']}\\ncheck({problem['entry_point']})"
    verdicts = []
    for program in (whole + ends, sample["solution"] + ends):
        try:
            exec(program, {})
            verdicts.append(True)
        except Exception:
            verdicts.append(False)
    print(json.dumps(verdicts))
"""


@pytest.mark.skipif(not HUMANEVAL.exists(), reason="needs ../shared/data/HumanEval.jsonl.gz")
def test_the_human_eval_checker_takes_the_samples() -> None:
    with gzip.open(HUMANEVAL, "rt") as file:
        problems = [json.loads(line) for line in file]
    records = []
    for problem in problems:
        good = problem["prompt"] + problem["canonical_solution"]
        wrong = f"{good}\n\ndef {problem['entry_point']}(*_):\n    return object()\n"
        records.append(episode(problem["task_id"], turn("x", WA), turn(good, AC), solved=True))
        records.append(episode(problem["task_id"], turn(good, WA), turn(wrong, WA)))
        records.append(episode(problem["task_id"], turn(good, WA), turn(None)))
    by_name = {problem["task_id"]: problem for problem in problems}
    samples = map(json.loads, samples_jsonl(records))
    lines = [json.dumps([by_name[sample["task_id"]], sample]) for sample in samples]
    done = subprocess.run(
        [sys.executable, "-c", CHECKER],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == 3 * 164
    assert verdicts == [[record.solved] * 2 for record in records]
