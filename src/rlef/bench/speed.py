"""How much to measure, and speed as every measure takes it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rlef.bench.programs import doubling_jobs
from rlef.sandbox import JudgeJob, Sandbox, Verdict

TESTS_PER_PROGRAM = 10
_WARM_UP = 1_000_000
"""Numbers of the programs that nobody measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How much to measure."""

    workers: int
    """Jails of the sandbox, and threads of its peers."""
    quick: bool = False
    """Fewer repetitions of smaller batches."""

    @property
    def repetitions(self) -> int:
        """How often each side of a comparison has its turn."""
        return 3 if self.quick else 9

    @property
    def programs(self) -> int:
        """Trivial programs in one turn."""
        return 10 * self.workers if self.quick else 50 * self.workers


def warm_sandbox(workers: int) -> Sandbox:
    """A sandbox whose jails have all run something; to be closed."""
    sandbox = Sandbox(workers=workers)
    try:
        judged_rate(sandbox, doubling_jobs(first=_WARM_UP, programs=8 * workers, tests=2))
    except BaseException:
        sandbox.close()
        raise
    return sandbox


def doubling_batch(setting: Setting, batch: int, tests: int) -> list[JudgeJob]:
    """The trivial programs of one turn; those of different batches are different."""
    programs = setting.programs * (2 if tests == 1 else 1)
    return doubling_jobs(first=batch * 2 * setting.programs, programs=programs, tests=tests)


def judged_rate(sandbox: Sandbox, jobs: Sequence[JudgeJob]) -> float:
    """Tests per second of programs that must all be accepted."""
    start = time.perf_counter()
    reports = sandbox.judge_many(jobs)
    seconds = time.perf_counter() - start
    for report in reports:
        for test in report.tests:
            if test.verdict is not Verdict.AC:
                raise RuntimeError(f"a right program got {test.verdict}: {test.message}")
    return sum(len(report.tests) for report in reports) / seconds
