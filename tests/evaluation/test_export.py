import gzip
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from episode_makers import AC, WA, episode, failed, infra, solved, turn

from rlef.environment import final_job
from rlef.evaluation.compare import ComparedRun, compare_runs
from rlef.evaluation.export import comparison_markdown, samples_jsonl, summary_markdown
from rlef.evaluation.specs import Measured, measure, parse_metrics
from rlef.problems import Problem, Test, load_problems
from rlef.sandbox import Sandbox

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


ROW = {
    "task_id": "HumanEval/900",
    "prompt": "from typing import List\n\n\ndef plus(x: int) -> int:\n    return x + 1\n\n\n"
    'def total(xs: List[int]) -> int:\n    """Sum, plus 1.\n    >>> total([1])\n    2\n    """\n',
    "entry_point": "total",
    "canonical_solution": "    return plus(sum(xs))\n",
    "test": "def check(candidate):\n"
    "    assert candidate([1]) == 2\n    assert candidate([]) == 1\n",
}
WHOLE = "def total(xs: List[int]) -> int:\n    return plus(sum(xs))\n"
PROGRAMS = [
    ROW["canonical_solution"],
    "\n    ys = list(xs)\n    return plus(sum(ys))",
    ROW["prompt"] + ROW["canonical_solution"],
    WHOLE,
    f"import math\n{WHOLE}",
    f'"""Doc."""\nfrom __future__ import annotations\n{WHOLE}',
    WHOLE.replace("def ", "async def ").replace("plus", "float"),
    "def total(xs: List[int]):\n    return sum(xs)\n",
    "def total(xs:\n",
]
SOLVES = [True] * 6 + [False] * 3


def judged(problem: Problem, programs: list[str]) -> list[bool]:
    with Sandbox(workers=1) as sandbox:
        jobs = [final_job(problem, program) for program in programs]
        return [report.passed for report in sandbox.judge_many(jobs)]


def exported(problem: Problem, programs: list[str], field: str) -> list[str]:
    records = [episode(problem.name, turn(program, WA)) for program in programs]
    return [json.loads(line)[field] for line in samples_jsonl(records, [problem])]


def test_a_sample_scores_elsewhere_as_here(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW))
    problem = load_problems(f"humaneval:{path}")[0]
    assert judged(problem, PROGRAMS) == SOLVES
    solutions = exported(problem, PROGRAMS, "solution")
    bare = replace(problem, prelude="", starter_code="")
    assert judged(bare, solutions) == judged(problem, solutions) == SOLVES
    completions = exported(problem, PROGRAMS, "completion")
    samples = [
        {"solution": a, "completion": b} for a, b in zip(solutions, completions, strict=True)
    ]
    lines = "\n".join(json.dumps([ROW, sample]) for sample in samples)
    done = subprocess.run(
        [sys.executable, "-c", CHECKER], input=lines, capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[ok, ok] for ok in SOLVES]


def test_methods_and_continued_starters_are_whole_programs() -> None:
    problem = Problem(
        name="LCB/1",
        statement="Sum.",
        public_tests=(Test("[[1, 2]]", "3"),),
        private_tests=(Test("[[4]]", "4"),),
        mode="function",
        entry_point="total",
        starter_code="class Solution:\n    def total(self, nums: List[int]) -> int:\n",
        prelude="from typing import *\nfrom collections import *\n",
    )
    method = "class Solution:\n    def total(self, nums: List[int]) -> int:\n        "
    programs = [
        f"{method}return sum(nums)\n",
        f"{method}return Counter(nums).total() and sum(nums)\n",
        f"from __future__ import annotations\n{method}return sum(nums)\n",
        "def total(nums: List[int]):\n    return sum(nums)\n",
        "import typing\nclass Solution:\n    total = lambda self, nums: sum(nums)\n",
        f"{method}return 3\n",
    ]
    right = [True] * 5 + [False]
    bare = replace(problem, prelude="", starter_code="")
    assert judged(problem, programs) == right
    assert judged(bare, exported(problem, programs, "solution")) == right
    assert judged(bare, programs) != right
    cpp = replace(problem, name="c", mode="stdin", entry_point=None, language="cpp", prelude="")
    assert exported(cpp, ["int main() {}"], "solution") == ["int main() {}"]


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


@pytest.mark.skipif(not HUMANEVAL.exists(), reason="needs HumanEval.jsonl.gz")
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
