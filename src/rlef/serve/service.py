"""A sandbox behind a bounded queue: deadlines, idempotency keys, an orderly end."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace

from rlef.problems import Test
from rlef.sandbox import Isolation, JudgeJob, JudgeReport, Sandbox, TestReport
from rlef.sandbox.build import languages_here
from rlef.sandbox.verdicts import summed
from rlef.serve.errors import BusyError, NotJudgedError, RefusedError, StoppingError
from rlef.serve.metrics import Metrics
from rlef.serve.schema import infrastructure
from rlef.serve.settings import ServeSettings

Gone = Callable[[], Awaitable[bool]]
"""Whether whoever asked has gone away."""
AHEAD = 4
"""Programs per worker that the sandbox has at once, so that no jail waits for the queue."""
SLICE = 32
"""Tests of a program that are judged before the deadline is looked at again."""
MOST_PRINTED = 64 << 20
"""Characters of what a job's tests print that its answer has; what is beyond is cut off."""
_INLINE_CHARS = 100_000
"""Longer jobs are handed over by another thread: the judge's socket takes its time."""
_LONG_WAIT_S = 0.5
_ATTEMPTS = 3
"""Times that a job is judged, each with the sandbox's own attempts, before it is IE."""
_KEPT_KEYS = 20_000
_KEPT_CHARS = 64 << 20
_EVICTED_AT_ONCE = 8


class JudgeService:
    """Judges programs one by one as they come, at most so many at once; for one event loop.

    Args:
        sandbox: Where they run.
        settings: Its limits.

    Attributes:
        metrics: What it has done.
        isolation: What keeps programs in; ``None`` before ``warm_up``.
        languages: That can be judged; none before it.
        stopping: Whether it takes no more.
    """

    def __init__(self, sandbox: Sandbox, settings: ServeSettings) -> None:
        self.metrics = Metrics()
        self.isolation: Isolation | None = None
        self.languages: frozenset[str] = frozenset()
        self.stopping = False
        self._sandbox = sandbox
        self._settings = settings
        at_once = AHEAD * settings.workers
        self._places = asyncio.Semaphore(settings.max_queue + at_once)
        self._slots = asyncio.Semaphore(at_once)
        self._asked = 0
        self._running = 0
        self._waiting = 0
        self._mean_s = 0.05
        self._judge: int | None = None
        self._keyed: OrderedDict[str, tuple[int, asyncio.Task[JudgeReport]]] = OrderedDict()
        self._key_chars = 0

    @property
    def running(self) -> int:
        """Programs that the sandbox has."""
        return self._running

    @property
    def waiting(self) -> int:
        """Programs that wait for it."""
        return self._waiting

    async def warm_up(self) -> None:
        """Starts the jails and judges a first program.

        Raises:
            SandboxError: This machine cannot judge.
        """
        isolation = await asyncio.to_thread(self._sandbox.describe)
        self.languages = await asyncio.to_thread(languages_here)
        job = JudgeJob(source="print(1)", tests=(Test("", "1"),))
        await asyncio.to_thread(self._sandbox.judge_many, [job])
        self.isolation = isolation
        self._judge = self._sandbox.judge_pid()

    def stop(self) -> None:
        """Takes no more programs; those that it has are judged."""
        self.stopping = True

    @property
    def idle(self) -> bool:
        """Whether no program is left."""
        return self._asked == 0

    async def judge(
        self,
        job: JudgeJob,
        *,
        deadline_s: float | None = None,
        key: str | None = None,
        patient: bool = False,
        gone: Gone | None = None,
        begun: bool = False,
    ) -> JudgeReport:
        """Judges a program.

        Args:
            job: A valid one.
            deadline_s: After so long the report is worth nothing.
            key: The same job that comes again under its key is not judged twice.
            patient: Wait for a place in the queue if it is full.
            gone: Asked before a program runs that has waited long.
            begun: It belongs to something that is ``held``: judged though the service ends.

        Raises:
            BusyError: The queue is full.
            StoppingError: The service ends.
            NotJudgedError: The deadline has passed, or whoever asked is gone.
            RefusedError: The key belongs to another job.
            SandboxError: This machine cannot judge it.
        """
        seconds = min(deadline_s or math.inf, self._settings.deadline_s)
        if key is None:
            return await self._counted(job, seconds, patient, gone, begun=begun)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    is_known = key in self._keyed
                    try:
                        return await asyncio.shield(self._task_of(key, job, seconds, patient))
                    except NotJudgedError:  # within another caller's deadline
                        if not is_known:
                            raise
                        await asyncio.sleep(0)  # the key may not be forgotten yet
        except TimeoutError:
            raise NotJudgedError(f"the deadline of {seconds:g} s passed") from None

    def _task_of(
        self, key: str, job: JudgeJob, seconds: float, patient: bool
    ) -> asyncio.Task[JudgeReport]:
        """What judges the job of a key, or has judged it; it goes on if its caller goes away."""
        name = hash(job)
        known = self._keyed.get(key)
        if known is not None:
            if known[0] != name:
                raise RefusedError(422, "field 'key' was given with another job before")
            self._keyed.move_to_end(key)
            return known[1]
        task = asyncio.create_task(self._counted(job, seconds, patient, None))
        self._keyed[key] = name, task
        task.add_done_callback(lambda done: self._remember(key, done))
        return task

    def _remember(self, key: str, task: asyncio.Task[JudgeReport]) -> None:
        """Keeps a report under its key, within bounds; whatever says nothing may be asked again."""
        if task.cancelled() or task.exception() or infrastructure(task.result()):
            self._keyed.pop(key, None)
            return
        self._key_chars += _chars(task.result())
        for _ in range(_EVICTED_AT_ONCE):
            if len(self._keyed) <= _KEPT_KEYS and self._key_chars <= _KEPT_CHARS:
                break
            oldest, (_name, old) = next(iter(self._keyed.items()))
            if old.done():
                del self._keyed[oldest]
                self._key_chars -= _chars(old.result())
            else:
                self._keyed.move_to_end(oldest)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the service from ending between programs that one request needs."""
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    async def _counted(
        self,
        job: JudgeJob,
        seconds: float,
        patient: bool,
        gone: Gone | None,
        *,
        begun: bool = False,
    ) -> JudgeReport:
        """Judges a program within a deadline, and counts what came of it."""
        if self.stopping and not begun:
            self.metrics.refused["stopping"] += 1
            raise StoppingError("the service is stopping")
        if not patient and self._places.locked():
            self.metrics.refused["busy"] += 1
            raise BusyError(self._retry_after_s())
        started = time.monotonic()
        self._asked += 1
        try:
            async with asyncio.timeout(seconds):
                await self._wait_for(self._places)
                try:
                    report = await self._in_slices(job, gone)
                finally:
                    self._places.release()
        except TimeoutError:
            self.metrics.not_judged["deadline"] += 1
            raise NotJudgedError(f"the deadline of {seconds:g} s passed") from None
        finally:
            self._asked -= 1
        self._count(report, time.monotonic() - started)
        return report

    def _count(self, report: JudgeReport, seconds: float) -> None:
        self.metrics.seconds.add(seconds)
        self.metrics.programs[report.verdict.value] += 1
        self.metrics.tests += len(report.tests)
        if infrastructure(report) is not None:
            self.metrics.not_judged["infrastructure"] += 1
        judge = self._sandbox.judge_pid()
        if judge != self._judge:
            self.metrics.restarts += self._judge is not None
            self._judge = judge

    async def _in_slices(self, job: JudgeJob, gone: Gone | None) -> JudgeReport:
        """Judges some tests after the others, so that a deadline ends a long list of them."""
        most = max(1, min(SLICE, (MOST_PRINTED >> 10) // job.limits.output_kb))
        tests: list[TestReport] = []
        room = MOST_PRINTED
        for start in range(0, len(job.tests), most):
            part = replace(job, tests=job.tests[start : start + most])
            report = await self._until_known(part, gone)
            for test in report.tests:
                tests.append(_within(test, room))
                room -= len(tests[-1].stdout) + len(tests[-1].stderr)
            if most >= len(job.tests):
                return replace(report, tests=tuple(tests))
            if job.stop_at_first_failure and not report.passed:
                break
        return summed(tests)

    async def _until_known(self, job: JudgeJob, gone: Gone | None) -> JudgeReport:
        """Judges a job anew whose jail or judge died too often: callers need not know of that."""
        for _ in range(_ATTEMPTS - 1):
            report = await self._run(job, gone)
            if infrastructure(report) is None:
                return report
            self.metrics.again += 1
        return await self._run(job, gone)

    async def _run(self, job: JudgeJob, gone: Gone | None) -> JudgeReport:
        """Hands a job to the sandbox once it has room. Its slot is free when it has ended there."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await self._wait_for(self._slots)
        began = loop.time()
        self.metrics.waited.add(began - asked)
        try:
            if gone is not None and began - asked > _LONG_WAIT_S and await gone():
                self.metrics.not_judged["gone"] += 1
                raise NotJudgedError("whoever asked is gone")
            if _job_chars(job) <= _INLINE_CHARS:
                future = self._sandbox.submit(job)
            else:
                future = await asyncio.to_thread(self._sandbox.submit, job)
        except BaseException:
            self._slots.release()
            raise
        self._running += 1
        arrived: asyncio.Future[JudgeReport] = loop.create_future()

        def tell(done: Future[JudgeReport]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._arrive, done, arrived, began)

        future.add_done_callback(tell)
        return await arrived

    async def _wait_for(self, room: asyncio.Semaphore) -> None:
        self._waiting += 1
        try:
            await room.acquire()
        finally:
            self._waiting -= 1

    def _arrive(
        self, done: Future[JudgeReport], arrived: "asyncio.Future[JudgeReport]", began: float
    ) -> None:
        self._slots.release()
        self._running -= 1
        self._mean_s += 0.05 * (asyncio.get_running_loop().time() - began - self._mean_s)
        if arrived.cancelled():  # its deadline has passed
            return
        error = done.exception()
        if error is None:
            arrived.set_result(done.result())
        else:
            arrived.set_exception(error)

    def _retry_after_s(self) -> int:
        """When about a tenth of the queue will be done, at the pace of late."""
        at_once = AHEAD * self._settings.workers
        return max(1, min(60, round(self._mean_s * self.waiting / at_once / 10)))


def _within(test: TestReport, room: int) -> TestReport:
    """A report whose texts are cut to so many characters."""
    if len(test.stdout) + len(test.stderr) <= room:
        return test
    stdout = test.stdout[:room]
    return replace(test, stdout=stdout, stderr=test.stderr[: room - len(stdout)])


def _job_chars(job: JudgeJob) -> int:
    return len(job.source) + sum(len(test.input) + len(test.output) for test in job.tests)


def _chars(report: JudgeReport) -> int:
    return sum(len(t.stdout) + len(t.stderr) + len(t.message) + 200 for t in report.tests)
