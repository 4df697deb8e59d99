"""MBPP and HumanEval judged by us and by the data sets' own asserts: the same verdicts."""

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mutants import KINDS, mutant, script_of_scripts

from rlef.environment import final_job
from rlef.problems import Problem, load_problems
from rlef.sandbox import JudgeJob, Sandbox

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MBPP, HUMANEVAL = DATA / "mbpp.jsonl", DATA / "HumanEval.jsonl.gz"
CHUNK = 200

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared is not there")


def all_tests(problem: Problem, program: str) -> JudgeJob:
    return replace(final_job(problem, program), stop_at_first_failure=False)


def judged(jobs: list[JudgeJob]) -> list[bool]:
    with Sandbox(workers=2) as sandbox:
        return [report.passed for report in sandbox.judge_many(jobs)]


def test_all_reference_solutions_of_mbpp_pass() -> None:
    problems = load_problems(f"mbpp:{MBPP}")
    assert len(problems) == 974
    assert sum(len(problem.all_tests) for problem in problems) == 974 * 3 + 16
    assert {len(problem.public_tests) for problem in problems} == {1}
    sizes = {split: len(load_problems(f"mbpp:{MBPP}:{split}")) for split in ("prompt", "test")}
    assert sizes == {"prompt": 10, "test": 500}
    passed = judged([all_tests(problem, problem.solutions[0]) for problem in problems])
    assert passed == [True] * 974


def test_all_reference_solutions_of_humaneval_pass() -> None:
    problems = load_problems(f"humaneval:{HUMANEVAL}")
    assert len(problems) == 164
    assert all(problem.public_tests and problem.private_tests for problem in problems)
    passed = judged([all_tests(problem, problem.solutions[0]) for problem in problems])
    assert passed == [True] * 164
    looped = {p.name: len(p.all_tests) for p in problems if len(p.all_tests) > 50}
    assert looped == {f"HumanEval/{n}": count for n, count in LOOPED.items()}


LOOPED = {32: 99, 38: 100, 50: 100, 53: 105}
"""Problems whose checks have loops of asserts with random numbers, and their tests."""


def test_humaneval_takes_bodies_as_well() -> None:
    problems = load_problems(f"humaneval:{HUMANEVAL}")
    with gzip.open(HUMANEVAL) as file:
        bodies = [json.loads(line)["canonical_solution"] for line in file]
    jobs = [all_tests(problem, body) for problem, body in zip(problems, bodies, strict=True)]
    assert judged(jobs) == [True] * 164


def own_verdicts(scripts: list[str]) -> list[bool]:
    """Whether each script ends well in a plain interpreter: how the data sets judge."""
    verdicts = ""
    for start in range(0, len(scripts), CHUNK):
        done = subprocess.run(
            [sys.executable, "-I", "-c", "import sys; exec(sys.stdin.read())"],
            input=script_of_scripts(scripts[start : start + CHUNK]),
            capture_output=True,
            text=True,
            check=True,
        )
        verdicts += done.stdout.strip()
    assert len(verdicts) == len(scripts)
    return [verdict == "1" for verdict in verdicts]


def compare(problems: list[Problem], own_tests: list[str], kinds: tuple[str, ...]) -> None:
    """Judges the reference solutions and their mutants both ways."""
    cases: list[tuple[str, str, Problem, str]] = []
    for problem, asserts in zip(problems, own_tests, strict=True):
        (solution,) = problem.solutions
        programs = {"whole": solution}
        programs |= {kind: mutant(solution, str(problem.entry_point), kind) for kind in kinds}
        cases += [(kind, program, problem, asserts) for kind, program in programs.items()]
    own = own_verdicts([f"{program}\n{asserts}" for _, program, _, asserts in cases])
    ours = judged([final_job(problem, program) for _, program, problem, _ in cases])
    assert {
        (problem.name, kind): (theirs, mine)
        for (kind, _, problem, _), theirs, mine in zip(cases, own, ours, strict=True)
        if theirs != mine
    } == {}
    assert 0.2 < sum(own) / len(own) < 0.8  # mutants are wrong only where they matter


@pytest.mark.slow
def test_verdicts_on_humaneval_are_those_of_its_own_checks() -> None:
    problems = load_problems(f"humaneval:{HUMANEVAL}")
    with gzip.open(HUMANEVAL) as file:
        tests = [json.loads(line)["test"] for line in file]
    checks = [f"{t}\ncheck({p.entry_point})" for p, t in zip(problems, tests, strict=True)]
    compare(problems, checks, KINDS)


@pytest.mark.slow
def test_verdicts_on_mbpp_are_those_of_its_own_asserts() -> None:
    problems = load_problems(f"mbpp:{MBPP}")
    rows: list[dict[str, Any]] = [json.loads(line) for line in MBPP.read_text().splitlines()]
    asserts = [
        "\n".join((row["test_setup_code"], *row["test_list"], *row["challenge_test_list"]))
        for row in rows
    ]
    compare(problems[::2], asserts[::2], KINDS)  # 487 problems, 8 programs of each
