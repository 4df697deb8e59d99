"""What the checks share: a judge that fails, and a problem whose private tests stand out."""

import json
from collections.abc import Sequence
from pathlib import Path

from rlef.environment import AsyncJudge
from rlef.sandbox import JudgeJob, JudgeReport, TestReport, Verdict

SECRET = "zebra-crossing-at-dawn"
RIGHT = "```python\nprint(input().upper() + '!')\n```"
WRONG = "```python\nprint(input().upper())\n```"
CRASH = "```python\nx\n```"


class Broken:
    """Says of each program that it could not be judged."""

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        test = TestReport(verdict=Verdict.IE, message="no cores")
        return [JudgeReport(verdict=Verdict.IE, tests=(test,) * len(job.tests)) for job in jobs]


def broken_judge() -> AsyncJudge:
    return AsyncJudge(Broken())


def secret_problem(folder: Path) -> str:
    """Writes a problem to a file; returns its specification."""
    row = {
        "name": "shout",
        "statement": "Read a line. Print it in upper case, and a mark.",
        "public_tests": [{"input": "ab\n", "output": "AB!\n"}],
        "private_tests": [{"input": f"{SECRET}\n", "output": f"{SECRET.upper()}!\n"}],
    }
    file = folder / "problems.jsonl"
    file.write_text(json.dumps(row) + "\n")
    return f"jsonl:{file}"
