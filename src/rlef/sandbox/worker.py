"""One worker of the judge: its jails, and how it judges a job."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from rlef.problems import Test
from rlef.sandbox.build import CompileError, build
from rlef.sandbox.checker_values import make_value_checker
from rlef.sandbox.checkers import make_checker
from rlef.sandbox.jail import Jail, JailError, JailSettings, Program, Run
from rlef.sandbox.languages import LANGUAGES
from rlef.sandbox.testlib import TESTLIB, CheckerError, TestlibChecker
from rlef.sandbox.types import JudgeJob, JudgeReport, TestReport, Verdict
from rlef.sandbox.verdicts import Check, as_bytes, same_for_all, summed, test_report

ATTEMPTS = 3
_AHEAD = 2
"""Tests that a jail has at once, so that it need not wait for the judge."""
_RETIRE_AFTER = 20_000
"""Runs after which a jail is replaced."""


class Worker:
    """Judges one job at a time in jails of its own.

    Args:
        settings: What its jails are made of.
    """

    def __init__(self, settings: JailSettings) -> None:
        self._settings = settings
        self._jails: dict[str, Jail] = {}
        self._runs: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def judge(self, job: JudgeJob) -> JudgeReport:
        """Judges one job. Trouble of the infrastructure is retried, then reported as IE.

        Raises:
            IsolationError: The machine does not offer what a jail needs.
            CompilerMissing: The machine lacks the compiler of the language.
        """
        try:
            with contextlib.ExitStack() as stack:
                program = self._program(job, stack)
                check = self._checker(job, stack)
                return summed(list(self._reports(job, program, check)))
        except CompileError as error:
            return same_for_all(Verdict.CE, str(error), job)
        except CheckerError as error:
            return same_for_all(Verdict.IE, str(error), job)
        except JailError as error:
            return same_for_all(Verdict.IE, f"the jail failed: {error}", job)

    def _program(self, job: JudgeJob, stack: contextlib.ExitStack) -> Program:
        language = LANGUAGES[job.language]
        if language.compiler is None:
            source = as_bytes(job.source)
            return Program(kind="python", source=source, entry_point=job.entry_point)
        binary = self._build(job.language, job.source, {})
        stack.callback(os.close, binary)
        return Program(kind="binary", binary=binary, argv=("solution",))

    def _build(self, language: str, source: str, headers: dict[str, bytes]) -> int:
        failure = JailError("the sandbox was closed")
        for _ in range(ATTEMPTS):
            try:
                return build(LANGUAGES[language], source, headers, lambda: self._jail("tools"))
            except JailError as error:
                failure = error
                self._drop("tools")
        raise failure

    def _checker(self, job: JudgeJob, stack: contextlib.ExitStack) -> Check:
        if job.mode == "function":
            return make_value_checker(job.checker, lambda: self._jail("values")).check
        if job.checker != TESTLIB:
            compare = make_checker(job.checker)
            return lambda _test, expected, actual: compare(expected, actual)
        assert job.checker_source is not None
        checker = TestlibChecker(job.checker_source, self._build, lambda: self._jail("check"))
        stack.callback(checker.close)
        return lambda test, expected, actual: checker.check(as_bytes(test.input), expected, actual)

    def _reports(self, job: JudgeJob, program: Program, check: Check) -> Iterator[TestReport]:
        """The reports in order, up to the first failure if the job says so."""
        kind = LANGUAGES[job.language].jail(job.source)
        done, attempts = 0, 0
        while done < len(job.tests):
            try:
                for run in self._runs_from(done, job, program, kind):
                    if run.killed == "starved" and job.limits.wall_s is None:
                        raise JailError("the machine gave the program no time to run")
                    try:
                        report = test_report(run, job.tests[done], job, check)
                    except CheckerError as error:
                        report = TestReport(verdict=Verdict.IE, message=str(error))
                    yield report
                    done, attempts = done + 1, 0
                    if report.verdict is Verdict.CE and not job.stop_at_first_failure:
                        yield from [report] * (len(job.tests) - done)
                        return
                    if job.stop_at_first_failure and report.verdict is not Verdict.AC:
                        return
            except JailError as error:
                self._drop(kind)
                self._drop("check")
                self._drop("values")
                attempts += 1
                if attempts == ATTEMPTS or self._closed.is_set():
                    yield TestReport(verdict=Verdict.IE, message=f"the jail failed: {error}")
                    done, attempts = done + 1, 0
                    if job.stop_at_first_failure:
                        return

    def _runs_from(self, first: int, job: JudgeJob, program: Program, kind: str) -> Iterator[Run]:
        """Runs the program on the tests from ``first`` on, the next one always on its way."""
        jail = self._jail(kind)
        ahead = 1 if job.stop_at_first_failure else _AHEAD
        jail.load(program, job.limits, tests=len(job.tests) - first, ahead=ahead)
        tests = iter(job.tests[first:])
        pending: deque[int] = deque()
        try:
            for _ in range(ahead):
                pending.extend(_next(jail, tests))
            while pending:
                run = jail.finish(pending.popleft())
                self._runs[kind] = self._runs.get(kind, 0) + 1
                if ahead > 1:
                    pending.extend(_next(jail, tests))
                yield run
                if ahead == 1:
                    pending.extend(_next(jail, tests))
        finally:
            for entry in pending:  # left early: the jail still owes answers
                with contextlib.suppress(JailError):
                    jail.finish(entry)

    def _jail(self, kind: str) -> Jail:
        if self._runs.get(kind, 0) >= _RETIRE_AFTER:
            self._drop(kind)
        jail = self._jails.get(kind)
        if jail is not None:
            return jail
        if self._closed.is_set():
            raise JailError("the sandbox was closed")
        view = {"check": "tools", "values": "python"}.get(kind, kind)
        jail = Jail(replace(self._settings, view=view))
        with self._lock:
            self._jails[kind] = jail
            self._runs[kind] = 0
        if self._closed.is_set():
            jail.kill()
        return jail

    def _drop(self, kind: str) -> None:
        with self._lock:
            jail = self._jails.pop(kind, None)
        if jail is not None:
            jail.close()

    def stop(self) -> None:
        """Ends all runs, from any thread."""
        self._closed.set()
        with self._lock:
            for jail in self._jails.values():
                jail.kill()

    def close(self) -> None:
        """Frees the jails; for the worker's own thread, or after it."""
        self._closed.set()
        for kind in tuple(self._jails):
            self._drop(kind)


def _next(jail: Jail, tests: Iterator[Test]) -> list[int]:
    """Starts the next test, if there is one."""
    return [jail.start(as_bytes(t.input)) for t in islice(tests, 1)]
