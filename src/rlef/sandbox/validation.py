"""What a job must be like, so that it can be judged."""

from rlef.languages import LANGUAGES
from rlef.sandbox.checkers import make_checker, make_json_checker
from rlef.sandbox.testlib import TESTLIB
from rlef.sandbox.types import JudgeJob, Limits

MODES = ("stdin", "function")
_MAX_LIMITS = {
    **{"cpu_s": 1e5, "idle_s": 1e6, "wall_s": 1e6},
    **{"memory_mb": 1 << 20, "output_kb": 1 << 20},
}
_SECONDS = ("cpu_s", "idle_s", "wall_s")
_OPTIONAL = ("idle_s", "wall_s")
_NAME_CHARS = 1000


def validate(job: JudgeJob) -> None:
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
    if job.prelude and not LANGUAGES[job.language].runs_in_jail:
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
