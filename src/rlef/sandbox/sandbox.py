"""The caller's side of the judge: ``Sandbox``. The judge itself is a process of its own."""

import hashlib
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Self

from rlef.problems import Mode, Test
from rlef.sandbox.isolation import UNSAFE_VARIABLE
from rlef.sandbox.judge_process import JudgeProcess, settle
from rlef.sandbox.types import Isolation, JudgeJob, JudgeReport, Limits, SandboxError, Verdict
from rlef.sandbox.validation import validate
from rlef.sandbox.verdicts import same_for_all

_ATTEMPTS = 3
_AHEAD = 8
_DEFAULT_LIMITS = Limits()
_Key = tuple[bytes, tuple[tuple[int, int, int, int], ...]]
_KEPT_REPORTS = 20_000
_KEPT_CHARS = 20_000
"""Reports with more text than this are not kept."""


class Sandbox:
    """Judges programs: a judge in a process of its own drives ``workers`` jails.

    Everything starts when the first job comes. All methods may be called from several threads at
    once; their jobs then share the jails. See ``rlef.sandbox`` for an example.

    Args:
        workers: Number of jails; about the number of cores.
        unsafe_no_isolation: Run programs even on a machine that allows no walls around them: they
            then have your files and your network. Also ``RLEF_UNSAFE_NO_ISOLATION=1``.

    Raises:
        ValueError: ``workers`` is less than 1.
    """

    def __init__(self, workers: int = 2, *, unsafe_no_isolation: bool = False) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers is {workers}; allowed: 1 or more")
        self._workers = workers
        self._unsafe = unsafe_no_isolation or os.environ.get(UNSAFE_VARIABLE) == "1"
        self._owner = 0
        self._lock: threading.Lock
        self._judge: JudgeProcess | None
        self._running: dict[_Key, Future[JudgeReport]]
        self._begin_after_fork()
        self._closed = False
        self._known: OrderedDict[_Key, JudgeReport] = OrderedDict()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the sandbox."""
        self.close()

    def close(self) -> None:
        """Ends the judge and all jails; programs that still run are killed and become IE."""
        self._begin_after_fork()
        with self._lock:
            self._closed = True
            judge, self._judge = self._judge, None
        if judge is not None:
            judge.close()

    def judge(
        self,
        source: str,
        tests: Sequence[Test],
        *,
        prelude: str = "",
        language: str = "python",
        mode: Mode = "stdin",
        entry_point: str | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        checker: str = "tokens",
        checker_source: str | None = None,
        stop_at_first_failure: bool = False,
    ) -> JudgeReport:
        """Runs one program on tests; see ``judge_many`` for many programs.

        Args:
            source: The program's text.
            tests: At least one.
            prelude: Python code that runs before the program, in its namespace; the lines in
                messages are the program's own.
            language: A name in ``rlef.languages.LANGUAGES``, such as ``"cpp"``.
            mode: ``"stdin"``: the program reads its input and prints. ``"function"``: the judge
                calls ``entry_point`` and compares what it returns; Python only.
            entry_point: Name of the function, only in ``"function"`` mode.
            limits: Limits of each test.
            checker: How output is compared, see ``make_checker``; or ``"testlib"``.
            checker_source: C++ text of a checker program, only with ``checker="testlib"``.
            stop_at_first_failure: Leave out the tests after the first one that is not AC.

        Raises:
            ValueError: An argument is not one of those allowed.
            SandboxError: This machine cannot run the program safely, or lacks its compiler.
            RuntimeError: The sandbox is closed.
        """
        job = JudgeJob(
            source=source,
            tests=tuple(tests),
            prelude=prelude,
            language=language,
            mode=mode,
            entry_point=entry_point,
            limits=limits,
            checker=checker,
            checker_source=checker_source,
            stop_at_first_failure=stop_at_first_failure,
        )
        return self.judge_many([job])[0]

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Judges many programs, in parallel over the workers.

        An equal job never runs twice in the life of a sandbox (unless its report was large, or IE).

        Returns:
            One report per job, in the order of the jobs.

        Raises:
            ValueError: A job is not valid; no job has run then.
            SandboxError: This machine cannot run the programs safely, or lacks a compiler.
            RuntimeError: The sandbox is closed.
        """
        jobs = list(jobs)
        for job in jobs:
            validate(job)
        return [future.result() for future in [self._submit(job) for job in jobs]]

    def submit(self, job: JudgeJob) -> Future[JudgeReport]:
        """Hands one program over and does not wait; see ``judge_many``.

        Returns:
            The report to come, or SandboxError. Equal jobs share one: it is not to be cancelled.

        Raises:
            ValueError: The job is not valid.
            SandboxError: The judge cannot be started.
            RuntimeError: The sandbox is closed.
        """
        validate(job)
        return self._submit(job)

    def judge_stream(
        self, jobs: Iterable[JudgeJob], *, ahead: int | None = None
    ) -> Iterator[tuple[int, JudgeReport]]:
        """Judges programs and yields each report as it comes, with the place of its job.

        Args:
            jobs: Taken one by one as the workers get on.
            ahead: Jobs that are taken before their reports have come, at most; ``None``: enough to
                keep all workers busy.

        Raises:
            ValueError: A job is not valid; reports of others have been given by then.
            SandboxError: This machine cannot run the programs safely, or lacks a compiler.
            RuntimeError: The sandbox is closed.
        """
        most = _AHEAD * self._workers if ahead is None else ahead
        if most < 1:
            raise ValueError(f"ahead is {ahead}; allowed: 1 or more")
        done: queue.SimpleQueue[tuple[int, Future[JudgeReport]]] = queue.SimpleQueue()
        todo = enumerate(jobs)
        running = 0
        while True:
            for place, job in islice(todo, most - running):
                validate(job)
                future = self._submit(job)
                running += 1
                future.add_done_callback(lambda ended, place=place: done.put((place, ended)))  # type: ignore[misc]
            if running == 0:
                return
            place, ended = done.get()
            running -= 1
            yield place, ended.result()

    def describe(self) -> Isolation:
        """What keeps programs in on this machine; starts the judge if it does not run yet.

        Raises:
            SandboxError: Nothing does.
            RuntimeError: The sandbox is closed.
        """
        self._begin_after_fork()
        for _ in range(_ATTEMPTS):
            with self._lock:
                judge = self._current()
            if judge is None:
                raise RuntimeError("the sandbox is closed")
            isolation = judge.isolation.result()
            if isolation is not None:
                return isolation
        raise SandboxError("the judge died while it started")

    def judge_pid(self) -> int | None:
        """Process id of the judge, ``None`` before the first job."""
        judge = self._judge
        return None if judge is None else judge.process.pid

    def _begin_after_fork(self) -> None:
        """Leaves judge, lock and waiting jobs to the process that this one was forked from."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._lock, self._judge, self._running = threading.Lock(), None, {}

    def _submit(self, job: JudgeJob) -> Future[JudgeReport]:
        key = _digest(job)
        self._begin_after_fork()
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            if key in self._running:
                return self._running[key]
            future: Future[JudgeReport] = Future()
            if key in self._known:
                self._known.move_to_end(key)
                future.set_result(self._known[key])
                return future
            self._running[key] = future
        future.add_done_callback(lambda done: self._remember(key, done))
        try:
            self._send(job, key, future, 1)
        except BaseException as error:  # also Ctrl-C: others may wait for this job, or come again
            known = isinstance(error, Exception)
            settle(future, error if known else SandboxError("the caller was interrupted"))
            raise
        return future

    def _send(self, job: JudgeJob, key: _Key, future: Future[JudgeReport], attempt: int) -> None:
        """Gives a job to the judge; if that one dies, to a new one, then gives up with IE."""

        def lost() -> None:
            ending = "the sandbox was closed" if self._closed else "the judge died"
            try:
                if attempt < _ATTEMPTS and not self._closed:
                    self._send(job, key, future, attempt + 1)
                    return
            except Exception as error:  # the others who wait must hear of their jobs too
                ending = str(error)
            settle(future, same_for_all(Verdict.IE, ending, job))

        with self._lock:
            judge = self._current()
        if judge is None or not judge.send(job, key[1], future, lost):
            lost()

    def _current(self) -> JudgeProcess | None:
        """The judge, a new one where there is none; ``None`` if the sandbox is closed.

        Raises:
            SandboxError: No process can be started.
        """
        if self._closed:
            return None
        if self._judge is None or self._judge.dead:
            try:
                self._judge = JudgeProcess(self._workers, self._unsafe)
            except (OSError, RuntimeError) as error:  # no descriptor, memory or thread left
                raise SandboxError(f"the judge cannot be started: {error}") from error
        return self._judge

    def _remember(self, key: _Key, done: Future[JudgeReport]) -> None:
        with self._lock:
            self._running.pop(key, None)
            if done.exception() is not None or done.result().verdict is Verdict.IE:
                return
            texts = sum(len(t.stdout) + len(t.stderr) for t in done.result().tests)
            if texts <= _KEPT_CHARS:
                self._known[key] = done.result()
                if len(self._known) > _KEPT_REPORTS:
                    self._known.popitem(last=False)


def _digest(job: JudgeJob) -> _Key:
    """A name that only equal jobs share.

    A program might be written to collide, so its name is cryptographic. Tests are ours: Python's
    own hash of their texts does, and it is computed once per text.
    """
    head = (job.source, job.language, job.mode, job.entry_point, job.limits, job.checker)
    words = repr((*head, job.prelude, job.checker_source, job.stop_at_first_failure))
    name = hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    tests = ((t.input, t.output) for t in job.tests)
    return name, tuple((hash(a), len(a), hash(b), len(b)) for a, b in tests)
