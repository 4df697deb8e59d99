"""The caller's side of the judge: ``Sandbox``. The judge itself is a process of its own."""

import contextlib
import hashlib
import importlib.util
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import cache
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from rlef.problems import Mode, Test
from rlef.sandbox.checkers import make_checker, make_json_checker
from rlef.sandbox.isolation import UNSAFE_VARIABLE
from rlef.sandbox.languages import LANGUAGES
from rlef.sandbox.testlib import TESTLIB
from rlef.sandbox.types import Isolation, JudgeJob, JudgeReport, Limits, SandboxError, Verdict
from rlef.sandbox.verdicts import same_for_all
from rlef.sandbox.wire import ReportMessage, Sender, unpack_report

_log = logging.getLogger("rlef.sandbox")
MODES = ("stdin", "function")
_ATTEMPTS = 3
_AHEAD = 8
_DEFAULT_LIMITS = Limits()
_MAX_LIMITS = {
    **{"cpu_s": 1e5, "idle_s": 1e6, "wall_s": 1e6},
    **{"memory_mb": 1 << 20, "output_kb": 1 << 20},
}
_SECONDS = ("cpu_s", "idle_s", "wall_s")
_OPTIONAL = ("idle_s", "wall_s")
_NAME_CHARS = 1000
_Key = tuple[bytes, tuple[tuple[int, int, int, int], ...]]
_MALLOC = {"ARENA_MAX": 1, "MMAP_THRESHOLD_": 1 << 26, "TRIM_THRESHOLD_": 1 << 27}
"""The judge keeps the memory of large texts: asking for it anew takes longer than the copies."""
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
        self._judge: _Judge | None
        self._running: dict[_Key, Future[JudgeReport]]
        self._begin_after_fork()
        self._closed = False
        self._known: OrderedDict[_Key, JudgeReport] = OrderedDict()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
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
            language: ``"python"`` or ``"cpp"``.
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
        for job in jobs:
            _validate(job)
        return [future.result() for future in [self._submit(job) for job in jobs]]

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
                _validate(job)
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
            _settle(future, error if known else SandboxError("the caller was interrupted"))
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
            _settle(future, same_for_all(Verdict.IE, ending, job))

        with self._lock:
            judge = self._current()
        if judge is None or not judge.send(job, key[1], future, lost):
            lost()

    def _current(self) -> "_Judge | None":
        """The judge, a new one where there is none; ``None`` if the sandbox is closed.

        Raises:
            SandboxError: No process can be started.
        """
        if self._closed:
            return None
        if self._judge is None or self._judge.dead:
            try:
                self._judge = _Judge(self._workers, self._unsafe)
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


class _Waiting(NamedTuple):
    """A job that the judge has."""

    job: JudgeJob
    future: Future[JudgeReport]
    lost: Callable[[], None]


class _Judge:
    """One process of the judge, and a thread that takes its answers."""

    def __init__(self, workers: int, unsafe: bool) -> None:
        ours, theirs = socket.socketpair()
        words = (theirs.fileno(), workers, _numpy_folders(), unsafe)
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
            f"from rlef.sandbox.server import main; main(*{words!r})"
        )
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env=os.environ | {f"MALLOC_{name}": str(n) for name, n in _MALLOC.items()},
            )
            undo.pop_all()
        self.dead = False
        self.isolation: Future[Isolation | None] = Future()
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._sender = Sender()
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0
        self._state = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="rlef-judge", daemon=True)
        self._reader.start()

    def send(
        self,
        job: JudgeJob,
        tests_key: object,
        future: Future[JudgeReport],
        lost: Callable[[], None],
    ) -> bool:
        """Hands a job over. Returns whether that was possible; ``lost`` is called if it dies."""
        with self._state:
            if self.dead:
                return False
            self._count += 1
            number = self._count
            self._waiting[number] = _Waiting(job, future, lost)
        try:
            with self._sending:
                self._connection.send(self._sender.pack(number, job, tests_key))
        except OSError:
            self.dead = True
            return self._take(number) is None
        except BaseException:  # half a message may be there: this judge would misread the next
            self.dead = True
            self._take(number)
            self.process.kill()
            raise
        return True

    def _read(self) -> None:
        while True:
            try:
                number, answer = self._connection.recv()
            except Exception:  # the judge is dead, whatever its last bytes were
                break
            waiting = self._take(number)
            if isinstance(answer, ReportMessage):
                if waiting is not None:
                    _settle(waiting.future, unpack_report(answer, waiting.job.tests))
            elif number == 0:
                _settle(self.isolation, answer)
            elif waiting is not None:
                _settle(waiting.future, answer)
            if isinstance(answer, Isolation) and answer.warning:
                _warn(answer.warning)
        with self._state:
            self.dead = True
            left = list(self._waiting.values())
            self._waiting.clear()
        if not self.isolation.done():
            self.isolation.set_result(None)
        self.process.kill()
        self.process.wait()
        self._connection.close()
        for waiting in left:
            waiting.lost()

    def _take(self, number: int) -> "_Waiting | None":
        with self._state:
            return self._waiting.pop(number, None)

    def close(self) -> None:
        """Ends the process and waits for it."""
        self.process.kill()
        if threading.current_thread() is not self._reader:
            self._reader.join()


def _settle(future: Future[Any], answer: object) -> None:
    """Gives a future its result, or its error, unless an interrupted caller gave it up."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


@cache
def _warn(words: str) -> None:
    """Says it once in the life of this process."""
    _log.warning("%s", words)


def _numpy_folders() -> tuple[str, ...]:
    """Folders of numpy and of the libraries that it brings along, if it is installed."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return ()
    package = Path(found.origin).parent
    return tuple(str(p) for p in (package, package.with_name("numpy.libs")) if p.is_dir())


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


def _validate(job: JudgeJob) -> None:
    """Raises ValueError, in one line, if the job cannot be judged."""
    if not isinstance(job.source, str):
        raise ValueError(f"source must be text, not {type(job.source).__name__}")
    if job.language not in LANGUAGES:
        allowed = ", ".join(LANGUAGES)
        raise ValueError(f"language {job.language!r} cannot be judged; allowed: {allowed}")
    if job.mode not in MODES:
        raise ValueError(f"unknown mode {job.mode!r}; allowed: {', '.join(MODES)}")
    if job.mode == "function" and not LANGUAGES[job.language].function_mode:
        raise ValueError(f"mode 'function' is not possible in language {job.language!r}")
    name = job.entry_point or ""
    if job.mode == "function" and not (name.isidentifier() and len(name) <= _NAME_CHARS):
        shown = repr(job.entry_point)[:80]
        raise ValueError(f"mode 'function' needs an entry_point, a name; got {shown}")
    if job.mode == "stdin" and job.entry_point is not None:
        raise ValueError("entry_point is only allowed with mode 'function'")
    if job.prelude and LANGUAGES[job.language].compiler is not None:
        raise ValueError(f"a prelude is not possible in language {job.language!r}")
    if not job.tests:
        raise ValueError("a program cannot be judged on no tests; give at least one")
    if not all(isinstance(t, str) for test in job.tests for t in (test.input, test.output)):
        raise ValueError("a test's input and output must be text")
    _validate_limits(job.limits)
    _validate_checker(job)


def _validate_limits(limits: Limits) -> None:
    for name, largest in _MAX_LIMITS.items():
        value = getattr(limits, name)
        if name in _OPTIONAL and value is None:
            continue
        whole = name not in _SECONDS
        if not isinstance(value, int if whole else int | float) or not 0 < value <= largest:
            kind = "a whole number " if whole else ""
            raise ValueError(
                f"limit {name} is {value!r}; allowed: {kind}above 0, at most {largest:g}"
            )


def _validate_checker(job: JudgeJob) -> None:
    if (job.checker == TESTLIB) != (job.checker_source is not None):
        raise ValueError("checker 'testlib' needs checker_source, and no other checker takes it")
    if job.checker == TESTLIB and job.mode == "function":
        raise ValueError("checker 'testlib' compares output, not what a function returns")
    if job.checker != TESTLIB:
        (make_json_checker if job.mode == "function" else make_checker)(job.checker)
