"""From what a jail saw to a verdict and a message. Pure functions."""

import contextlib
import signal
from collections.abc import Callable

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox.checker_values import NotJsonError
from rlef.sandbox.jail import Run
from rlef.sandbox.types import JudgeJob, JudgeReport, Limits, TestReport, Verdict

Check = Callable[[Test, bytes, bytes], str | None]
"""(test, expected, actual) -> ``None`` or the first difference."""

MESSAGE_CHARS = 4096
_NOT_SET_UP = 126
"""Exit status of a child whose limits or filters the kernel refuses; see ``child.py``."""
_TRACEBACK = "Traceback (most recent call last):"


def test_report(run: Run, test: Test, job: JudgeJob, check: Check) -> TestReport:
    """Makes the report of one test from what the jail saw."""
    actual = run.stdout if job.mode == "stdin" else run.returned
    expected = as_bytes(test.output)
    verdict = failure(run, job)
    message = "" if verdict is None else explain(verdict, run, job.limits)
    for pattern, words in LANGUAGES[job.language].replaced if message else ():
        message = pattern.sub(words, message)
    if verdict is None and job.mode == "function" and not actual:
        verdict, message = Verdict.RE, f"the program ended before {job.entry_point!r} returned"
    if verdict is None:
        try:
            difference = check(test, expected, actual)
            verdict = Verdict.AC if difference is None else Verdict.WA
            message = difference or ""
        except NotJsonError as error:
            verdict, message = Verdict.RE, f"TypeError: {error}"
    return TestReport(
        verdict=verdict,
        cpu_s=run.cpu_s,
        wall_s=run.wall_s,
        memory_mb=run.memory_mb,
        stdout=_text_of(actual[: job.limits.output_kb * 1024], test.output, expected),
        stderr=as_text(run.stderr[: job.limits.output_kb * 1024]),
        message=message,
        exit_status=run.exit if run.exit >= 0 else None,
        signal=-run.exit if run.exit < 0 else None,
    )


def failure(run: Run, job: JudgeJob) -> Verdict | None:
    """The verdict before any comparison, in the order OLE, TLE, CE, MLE, RE; ``None``: a clean end.

    CE counts only without a limit passed: a program may also be too big for the compiler.
    """
    limits, cap = job.limits, job.limits.output_kb * 1024
    judged = run.stdout if job.mode == "stdin" else run.result
    if run.exit == -signal.SIGXFSZ or len(judged) > cap:
        return Verdict.OLE
    if run.killed or run.cpu_s > limits.cpu_s:
        return Verdict.TLE
    language = LANGUAGES[job.language]
    if language.compiler is None and not run.result.startswith(b"r"):
        return Verdict.CE
    if run.exit == 0:
        return None
    out_of_memory = run.result.startswith(b"rM") or run.memory_mb > limits.memory_mb
    if out_of_memory or any(sign in run.stderr[-4096:] for sign in language.memory_signs):
        return Verdict.MLE
    return Verdict.RE


def may_be_the_machines(run: Run, limits: Limits) -> bool:
    """Whether it ended as where the kernel kills it for want of memory, or cannot set it up.

    A program can end so by itself too, and then does each time.
    """
    was_killed = run.exit == -signal.SIGKILL and run.cpu_s <= limits.cpu_s
    return not run.killed and (was_killed or (run.exit == _NOT_SET_UP and not run.result))


def explain(verdict: Verdict, run: Run, limits: Limits) -> str:
    """What a reader learns about a program that did not end cleanly."""
    if verdict is Verdict.OLE:
        return f"printed more than the limit of {limits.output_kb} kB"
    if verdict is Verdict.MLE:
        return f"used more than the limit of {limits.memory_mb} MB of memory"
    if verdict is Verdict.TLE and run.killed == "wall":
        return f"still waiting after {run.wall_s:.1f} s with only {run.cpu_s:.1f} s of CPU used"
    if verdict is Verdict.TLE:
        return f"took longer than the limit of {limits.cpu_s:g} s of CPU time"
    errors = as_text(run.stderr).strip()
    if _TRACEBACK in errors or verdict is Verdict.CE:
        return errors[max(errors.find(_TRACEBACK), 0) :][-MESSAGE_CHARS:]
    ending = f"exit status {run.exit}"
    if run.exit < 0:
        ending = f"signal {-run.exit}"
        with contextlib.suppress(ValueError):
            ending = f"signal {signal.Signals(-run.exit).name}"
    return f"ended with {ending}\n{errors[-MESSAGE_CHARS:]}".strip()


def same_for_all(verdict: Verdict, message: str, job: JudgeJob) -> JudgeReport:
    """The report of a program that met the same end on every test, such as CE."""
    count = 1 if job.stop_at_first_failure else len(job.tests)
    return JudgeReport(
        verdict=verdict, tests=(TestReport(verdict=verdict, message=message),) * count
    )


def summed(reports: list[TestReport]) -> JudgeReport:
    """The report of a program from those of its tests."""
    verdicts = [report.verdict for report in reports]
    failed = next((v for v in verdicts if v is not Verdict.AC), Verdict.AC)
    return JudgeReport(
        verdict=Verdict.IE if Verdict.IE in verdicts else failed, tests=tuple(reports)
    )


def _text_of(actual: bytes, wanted: str, expected: bytes) -> str:
    """Output as text; the very string that was wanted if it is the same, see ``wire.py``."""
    return wanted if wanted.isascii() and actual == expected else as_text(actual)


def as_text(data: bytes) -> str:
    """Bytes of a program as text; what is not UTF-8 is escaped."""
    return data.decode("utf-8", "backslashreplace")


def as_bytes(text: str) -> bytes:
    """Text as bytes; what is not Unicode is kept."""
    return text.encode("utf-8", "surrogatepass")


def internal_error(job: JudgeJob, error: Exception) -> JudgeReport:
    """The report where the judge itself failed."""
    return same_for_all(Verdict.IE, f"the judge failed: {type(error).__name__}: {error}", job)
