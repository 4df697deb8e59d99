"""One worker of the judge: its jails, and how it judges a job."""

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

from rlef.languages import LANGUAGES, Language
from rlef.problems import Test
from rlef.sandbox.build import CompileError, build, compiler, interpreter
from rlef.sandbox.checker_values import make_value_checker
from rlef.sandbox.checkers import make_checker
from rlef.sandbox.jail import (
    IsolationError,
    Jail,
    JailError,
    JailSettings,
    Program,
    Run,
    StarvedError,
)
from rlef.sandbox.scripts import addresses, script
from rlef.sandbox.tasks import Task, TaskQueue
from rlef.sandbox.testlib import TESTLIB, CheckerError, TestlibChecker
from rlef.sandbox.types import JudgeJob, JudgeReport, TestReport, Verdict
from rlef.sandbox.verdicts import Check, as_bytes, may_be_the_machines, same_for_all, test_report

ATTEMPTS = 3
_AHEAD = 2
"""Tests that a jail has at once, so that it need not wait for the judge."""
_BRIEF_S = 0.02
"""Longer tests are taken one at a time: others may have no work while the next one waits here."""
_RETIRE_AFTER = 20_000
"""Runs after which a jail is replaced."""
_HELPERS = ("check", "values")
"""Jails that a checker runs in."""


class Worker:
    """Judges one job at a time in jails of its own.

    Args:
        settings: What its jails are made of.
    """

    def __init__(self, settings: JailSettings) -> None:
        self._settings = settings
        self._jails: dict[str, Jail] = {}
        self._runs: dict[str, int] = {}
        self._address_mb: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def judge(self, job: JudgeJob) -> JudgeReport:
        """Judges one job alone. Trouble of the infrastructure is retried, then reported as IE.

        Raises:
            IsolationError: The machine does not offer what a jail needs.
            CompilerMissing: The machine lacks the compiler of the language.
        """
        queue = TaskQueue()
        task = Task(0, job)
        self.work_on(task, queue)
        answer = task.claim()
        assert isinstance(answer, JudgeReport)
        return answer

    def work_on(self, task: Task, queue: TaskQueue) -> None:
        """Runs tests of a task until none is left to take; others may do the same.

        Args:
            task: Gets the reports.
            queue: Gets the task once it is known that its program can be run.

        Raises:
            IsolationError: The machine does not offer what a jail needs.
            CompilerMissing: The machine lacks the compiler of the language.
        """
        job = task.job
        with contextlib.ExitStack() as stack:
            try:
                program = self._program(job, stack)
                check = self._checker(job, stack)
            except (CompileError, CheckerError, JailError) as error:
                if task.shared:  # somebody else could
                    queue.withdraw(task)
                else:
                    task.end(not_runnable(job, error))
                return
            self._run_tests(task, program, check, queue)

    def _program(self, job: JudgeJob, stack: contextlib.ExitStack) -> Program:
        language, source = LANGUAGES[job.language], as_bytes(job.source)
        if language.runs_in_jail:
            return Program(
                kind="python",
                source=source,
                prelude=as_bytes(job.prelude),
                entry_point=job.entry_point,
            )
        if language.interpreter is not None:
            binary = os.open(interpreter(language), os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, binary)
            return script(language, source, binary, job.limits, self._addresses(language, binary))
        binary = self._build(job.language, job.source, {})
        stack.callback(os.close, binary)
        return Program(kind="binary", binary=binary, argv=("solution",))

    def _build(self, name: str, source: str, headers: dict[str, bytes]) -> int:
        language = LANGUAGES[name]
        kind = compiler(language).jail
        return self._tried(kind, lambda: build(language, source, headers, lambda: self._jail(kind)))

    def _addresses(self, language: Language, binary: int) -> int:
        """What an interpreter takes for itself in a jail of this machine; looked at once."""
        if self._settings.isolation != "namespaces":
            raise IsolationError(f"language {language.name!r} needs user namespaces")
        if language.name not in self._address_mb:
            self._address_mb[language.name] = self._tried(
                "python", lambda: addresses(language, binary, self._jail("python").run)
            )
        return self._address_mb[language.name]

    def _tried(self, kind: str, action: Callable[[], int]) -> int:
        """Does something in a jail of a kind; one that fails is replaced, a number of times."""
        failure = JailError("the sandbox was closed")
        for _ in range(ATTEMPTS):
            try:
                return action()
            except JailError as error:
                failure = error
                if not isinstance(error, StarvedError):
                    self._drop(kind)
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

    def _run_tests(self, task: Task, program: Program, check: Check, queue: TaskQueue) -> None:
        """Runs tests of a task; a jail that fails is replaced, up to a number of attempts."""
        held: deque[int] = deque()  # places of tests taken and not reported
        attempts = 0
        kills: Counter[int] = Counter()  # by place
        while held or _take(task, held):
            first = held[0]
            try:
                self._run_held(task, held, program, check, queue, kills)
            except JailError as error:
                if not isinstance(error, StarvedError):
                    for kind in (self._kind(task.job), *_HELPERS):
                        self._drop(kind)
                attempts = attempts + 1 if held[0] == first else 1
                if attempts == ATTEMPTS or self._closed.is_set():
                    failure = TestReport(verdict=Verdict.IE, message=f"the jail failed: {error}")
                    task.put(held.popleft(), failure)
                    attempts = 0

    def _run_held(
        self,
        task: Task,
        held: deque[int],
        program: Program,
        check: Check,
        queue: TaskQueue,
        kills: Counter[int],
    ) -> None:
        """Runs the tests that are held, and further ones, the next always on its way."""
        job = task.job
        ahead = 1 if job.stop_at_first_failure else _AHEAD
        while len(held) < ahead and _take(task, held):
            pass
        kind = self._kind(job)
        jail = self._jail(kind)
        jail.load(program, job.limits, tests=len(held) + task.left, ahead=ahead)
        started: deque[int] = deque()

        def start(place: int) -> None:
            started.append(jail.start(as_bytes(job.tests[place].input)))

        try:
            for place in held:
                start(place)
            while held:
                run = jail.finish(started.popleft())
                self._runs[kind] = self._runs.get(kind, 0) + 1
                brief = run.wall_s < _BRIEF_S
                if ahead > 1 and (brief or not started) and _take(task, held):
                    start(held[-1])
                if may_be_the_machines(run, job.limits) and kills[held[0]] < ATTEMPTS - 1:
                    kills[held[0]] += 1
                    raise StarvedError("the machine killed the program")
                report = _report(run, job.tests[held[0]], job, check)
                task.put(held.popleft(), report)
                if not held and _take(task, held):
                    start(held[-1])
                if task.left > 1 and ahead > 1:
                    queue.share(task)
        finally:
            for slot in started:  # left early: the jail still owes answers
                with contextlib.suppress(JailError):
                    jail.finish(slot)

    def _kind(self, job: JudgeJob) -> str:
        """The kind of jail for a program; the plain one where numpy is not installed."""
        kind = LANGUAGES[job.language].jail(f"{job.prelude}\n{job.source}")
        return kind if kind != "numpy" or self._settings.packages else "python"

    def _jail(self, kind: str) -> Jail:
        if self._runs.get(kind, 0) >= _RETIRE_AFTER:
            self._drop(kind)
        jail = self._jails.get(kind)
        if jail is not None:
            return jail
        if self._closed.is_set():
            raise JailError("the sandbox was closed")
        view, _, root = {"check": "tools", "values": "python"}.get(kind, kind).partition(":")
        if view == "tools" and self._settings.isolation != "namespaces":
            raise IsolationError("compilers and checker programs need user namespaces")
        try:
            packages = self._settings.packages if view != "tools" else (root,) if root else ()
            jail = Jail(replace(self._settings, view=view, packages=packages))
        except IsolationError as error:  # but the machine did offer it: it will again
            raise JailError(str(error)) from error
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


def _take(task: Task, held: deque[int]) -> bool:
    """Takes one more test, if there is one."""
    place = task.take()
    if place is not None:
        held.append(place)
    return place is not None


def _report(run: Run, test: Test, job: JudgeJob, check: Check) -> TestReport:
    """The report of a run; raises JailError if that says nothing about the program."""
    if run.killed == "starved":
        raise StarvedError("the machine gave the program no time to run")
    try:
        return test_report(run, test, job, check)
    except CheckerError as error:
        return TestReport(verdict=Verdict.IE, message=str(error))


def not_runnable(job: JudgeJob, error: Exception) -> JudgeReport:
    """The report of a program, or a checker, that cannot be made ready."""
    if isinstance(error, JailError):
        return same_for_all(Verdict.IE, f"the jail failed: {error}", job)
    verdict = Verdict.CE if isinstance(error, CompileError) else Verdict.IE
    return same_for_all(verdict, str(error), job)
