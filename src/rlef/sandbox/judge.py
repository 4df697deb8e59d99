"""The judge: the trusted side, the only place that holds expected outputs."""

import contextlib
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from rlef.problems import Mode, Test
from rlef.sandbox.checkers import Checker, make_checker, make_json_checker
from rlef.sandbox.jail import Jail, JailError, Run
from rlef.sandbox.types import JudgeJob, JudgeReport, Limits, TestReport, Verdict

LANGUAGES = ("python",)
MODES = ("stdin", "function")
_ATTEMPTS = 3
_DEFAULT_LIMITS = Limits()
_MESSAGE_CHARS = 4096
_TRACEBACK = "Traceback (most recent call last):"


class Sandbox:
    """Judges programs in ``workers`` jails, each a process of its own.

    Jails start when the first jobs come. All methods may be called from several threads at once;
    their jobs then share the jails. See ``rlef.sandbox`` for an example.

    Args:
        workers: Number of jails; about the number of cores.

    Raises:
        ValueError: ``workers`` is less than 1.
    """

    def __init__(self, workers: int = 2) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; allowed: 1 or more")
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="rlef-judge")
        self._own = threading.local()
        self._jails: set[Jail] = set()
        self._closed = threading.Event()

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
        """Ends all jails; programs that still run are killed and their tests become IE."""
        self._closed.set()
        for jail in tuple(self._jails):
            jail.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for jail in tuple(self._jails):
            jail.close()
        self._jails.clear()

    def judge(
        self,
        source: str,
        tests: Sequence[Test],
        *,
        language: str = "python",
        mode: Mode = "stdin",
        entry_point: str | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        checker: str = "tokens",
        stop_at_first_failure: bool = False,
    ) -> JudgeReport:
        """Runs one program on tests; see ``judge_many`` for many programs.

        Args:
            source: The program's text.
            tests: At least one.
            language: Only ``"python"``.
            mode: ``"stdin"``: the program reads its input and prints. ``"function"``: the judge
                calls ``entry_point`` and compares what it returns.
            entry_point: Name of the function, only in ``"function"`` mode.
            limits: Limits of each test.
            checker: How output is compared, see ``make_checker``.
            stop_at_first_failure: Leave out the tests after the first one that is not AC.

        Raises:
            ValueError: An argument is not one of those allowed.
        """
        job = JudgeJob(
            source=source,
            tests=tuple(tests),
            language=language,
            mode=mode,
            entry_point=entry_point,
            limits=limits,
            checker=checker,
            stop_at_first_failure=stop_at_first_failure,
        )
        return self.judge_many([job])[0]

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Judges many programs, in parallel over the workers. Equal jobs run once.

        Returns:
            One report per job, in the order of the jobs.

        Raises:
            ValueError: A job is not valid; no job has run then.
            RuntimeError: The sandbox is closed.
        """
        for job in jobs:
            _validate(job)
        futures: dict[JudgeJob, Future[JudgeReport]] = {}
        try:
            for job in jobs:
                if job not in futures:
                    futures[job] = self._pool.submit(self._judge, job)
            reports = {job: future.result() for job, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            raise
        return [reports[job] for job in jobs]

    def _judge(self, job: JudgeJob) -> JudgeReport:
        check = make_json_checker(job.checker) if job.entry_point else make_checker(job.checker)
        source = job.source.encode("utf-8", "surrogatepass")
        reports: list[TestReport] = []
        for test in job.tests:
            run = self._run(source, test, job)
            if isinstance(run, JailError):
                reports.append(TestReport(verdict=Verdict.IE, message=f"the jail failed: {run}"))
            else:
                reports.append(_report(run, test, job, check))
            if job.stop_at_first_failure and reports[-1].verdict is not Verdict.AC:
                break
        verdicts = [report.verdict for report in reports]
        failed = next((v for v in verdicts if v is not Verdict.AC), Verdict.AC)
        return JudgeReport(
            verdict=Verdict.IE if Verdict.IE in verdicts else failed, tests=tuple(reports)
        )

    def _run(self, source: bytes, test: Test, job: JudgeJob) -> Run | JailError:
        given = test.input.encode("utf-8", "surrogatepass")
        failure = JailError("the sandbox was closed")
        for _ in range(_ATTEMPTS):
            if self._closed.is_set():
                break
            jail: Jail | None = getattr(self._own, "jail", None)
            try:
                if jail is None:
                    jail = self._own.jail = Jail()
                    self._jails.add(jail)
                    if self._closed.is_set():
                        jail.kill()
                return jail.run(source, given, job.entry_point, job.limits)
            except JailError as error:
                failure = error
                if jail is not None:
                    self._own.jail = None
                    self._jails.discard(jail)
                    jail.close()
        return failure


def _validate(job: JudgeJob) -> None:
    """Raises ValueError, in one line, if the job cannot be judged."""
    if job.language not in LANGUAGES:
        raise ValueError(f"language {job.language!r} cannot be judged; allowed: python")
    if job.mode not in MODES:
        raise ValueError(f"unknown mode {job.mode!r}; allowed: {', '.join(MODES)}")
    if job.mode == "function" and not (job.entry_point or "").isidentifier():
        raise ValueError(f"mode 'function' needs an entry_point, a name; got {job.entry_point!r}")
    if job.mode == "stdin" and job.entry_point is not None:
        raise ValueError("entry_point is only allowed with mode 'function'")
    if not job.tests:
        raise ValueError("a program cannot be judged on no tests; give at least one")
    limits = job.limits
    for name in ("cpu_s", "memory_mb", "output_kb", "wall_s"):
        value = getattr(limits, name)
        if value is not None and not 0 < value < 1e6:
            raise ValueError(f"limit {name} is {value}; allowed: above 0 and below 1e6")
    make_checker(job.checker)


def _report(run: Run, test: Test, job: JudgeJob, check: Checker) -> TestReport:
    """Makes the report of one test from what the jail saw."""
    returned = run.result[2:] if run.result.startswith(b"rJ") else b""
    actual = run.stdout if job.mode == "stdin" else returned
    verdict = _failure(run, job.limits)
    message = "" if verdict is None else _explain(verdict, run, job.limits)
    if verdict is None and job.mode == "function" and not returned:
        verdict, message = Verdict.RE, f"the program ended before {job.entry_point!r} returned"
    if verdict is None:
        difference = check(test.output.encode("utf-8", "surrogatepass"), actual)
        verdict = Verdict.AC if difference is None else Verdict.WA
        message = difference or ""
    return TestReport(
        verdict=verdict,
        cpu_s=run.cpu_s,
        wall_s=run.wall_s,
        memory_mb=run.memory_mb,
        stdout=_text(actual[: job.limits.output_kb * 1024]),
        stderr=_text(run.stderr[: job.limits.output_kb * 1024]),
        message=message,
    )


def _failure(run: Run, limits: Limits) -> Verdict | None:
    """The verdict before any comparison, in the order OLE, TLE, CE, MLE, RE; ``None``: a clean end.

    CE counts only without a limit passed: a program may also be too big for the compiler.
    """
    cap = limits.output_kb * 1024
    if run.exit == -signal.SIGXFSZ or max(map(len, (run.stdout, run.stderr, run.result))) > cap:
        return Verdict.OLE
    if run.killed or run.cpu_s > limits.cpu_s:
        return Verdict.TLE
    if not run.result.startswith(b"r"):
        return Verdict.CE
    if run.exit != 0 and (run.result.startswith(b"rM") or run.memory_mb > limits.memory_mb):
        return Verdict.MLE
    return Verdict.RE if run.exit != 0 else None


def _explain(verdict: Verdict, run: Run, limits: Limits) -> str:
    """What a reader learns about a program that did not end cleanly."""
    if verdict is Verdict.OLE:
        return f"printed more than the limit of {limits.output_kb} kB"
    if verdict is Verdict.MLE:
        return f"used more than the limit of {limits.memory_mb} MB of memory"
    if verdict is Verdict.TLE and run.killed == "wall":
        return f"still waiting after {run.wall_s:.1f} s with only {run.cpu_s:.1f} s of CPU used"
    if verdict is Verdict.TLE:
        return f"took longer than the limit of {limits.cpu_s:g} s of CPU time"
    errors = _text(run.stderr).strip()
    if _TRACEBACK in errors or verdict is Verdict.CE:
        return errors[max(errors.find(_TRACEBACK), 0) :][-_MESSAGE_CHARS:]
    ending = f"exit status {run.exit}"
    if run.exit < 0:
        ending = f"signal {-run.exit}"
        with contextlib.suppress(ValueError):
            ending = f"signal {signal.Signals(-run.exit).name}"
    return f"ended with {ending}\n{errors[-_MESSAGE_CHARS:]}".strip()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
