"""The judge against real programs: every reference solution of the sample must pass."""

from pathlib import Path

import pytest

from rlef.problems import load_problems
from rlef.sandbox import JudgeJob, Limits, Sandbox

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "codecontests_sample.jsonl"


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not there")
def test_all_reference_solutions_are_accepted(sandbox: Sandbox) -> None:
    problems = load_problems(f"codecontests:{SAMPLE}")
    jobs = [
        JudgeJob(
            source=problem.solutions[0],
            tests=problem.all_tests,
            limits=Limits(cpu_s=5 * (problem.cpu_s or 2.0)),  # the sample's are limits for C++
        )
        for problem in problems
    ]
    reports = sandbox.judge_many(jobs)
    pairs = zip(problems, reports, strict=True)
    assert [(p.name, r.verdict) for p, r in pairs if not r.passed] == []
    assert (len(reports), sum(len(report.tests) for report in reports)) == (115, 1149)
