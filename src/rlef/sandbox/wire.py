"""What caller and judge say to each other, without saying a long text twice.

Many programs are judged on the same tests, and right programs print what a test expects: tests are
sent once and named by a number afterwards, an output that equals the expected one is not sent.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlef.problems import Test
from rlef.sandbox.types import JudgeJob, JudgeReport

REMEMBERED_CHARS = 64 << 20
"""Characters of tests that the judge keeps for programs to come."""
REMEMBERED_LISTS = 1000
"""Lists of tests that it keeps: short ones are more object than character."""
_LONG = 256
"""Outputs of fewer characters are sent as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """A job on its way to the judge."""

    number: int
    job: JudgeJob
    """Without its tests."""
    tests_name: int
    tests: tuple[Test, ...] | None
    """``None``: those that came with this name before."""
    forget: tuple[int, ...]
    """Names of tests that will not come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMessage:
    """A report on its way to the caller."""

    report: JudgeReport
    """Without the outputs that equal the expected ones."""
    echoes: tuple[int, ...]
    """Tests whose output is the expected one."""


class Sender:
    """The caller's end: knows which tests the judge has."""

    def __init__(self) -> None:
        self._names: OrderedDict[object, tuple[int, int]] = OrderedDict()
        self._chars = 0
        self._last = 0

    def pack(self, number: int, job: JudgeJob, key: object) -> JobMessage:
        """Makes the message of a job.

        Args:
            number: Of the job.
            job: The job.
            key: The same for equal tests only.
        """
        known = self._names.get(key)
        forget: list[int] = []
        if known is not None:
            self._names.move_to_end(key)
            name = known[0]
        else:
            self._last = name = self._last + 1
            chars = sum(len(test.input) + len(test.output) for test in job.tests)
            self._names[key] = name, chars
            self._chars += chars
            while self._chars > REMEMBERED_CHARS or len(self._names) > REMEMBERED_LISTS:
                _, (old, its_chars) = self._names.popitem(last=False)
                self._chars -= its_chars
                forget.append(old)
        return JobMessage(
            number=number,
            job=replace(job, tests=()),
            tests_name=name,
            tests=job.tests if known is None else None,
            forget=tuple(forget),
        )


class Receiver:
    """The judge's end: keeps tests until they are to be forgotten."""

    def __init__(self) -> None:
        self._tests: dict[int, tuple[Test, ...]] = {}

    def unpack(self, message: JobMessage) -> JudgeJob:
        """Returns the job of a message."""
        if message.tests is not None:
            self._tests[message.tests_name] = message.tests
        job = replace(message.job, tests=self._tests[message.tests_name])
        for name in message.forget:
            self._tests.pop(name, None)
        return job


def pack_report(report: JudgeReport, tests: Sequence[Test]) -> ReportMessage:
    """Leaves out what the caller knows: an output that is the expected string itself."""
    pairs = zip(report.tests, tests, strict=False)  # a report may end at the first failure
    echoes = tuple(
        i
        for i, (one, test) in enumerate(pairs)
        if one.stdout is test.output and len(one.stdout) > _LONG
    )
    if not echoes:
        return ReportMessage(report=report, echoes=())
    left = list(report.tests)
    for i in echoes:
        left[i] = replace(left[i], stdout="")
    return ReportMessage(report=replace(report, tests=tuple(left)), echoes=echoes)


def unpack_report(message: ReportMessage, tests: Sequence[Test]) -> JudgeReport:
    """The report as the judge made it."""
    if not message.echoes:
        return message.report
    whole = list(message.report.tests)
    for i in message.echoes:
        whole[i] = replace(whole[i], stdout=tests[i].output)
    return replace(message.report, tests=tuple(whole))
