"""Which job judges a program of a problem. Not for prompts: it sees private tests."""

import json
from dataclasses import replace

from rlef.problems import Problem, Test
from rlef.problems.programs import whole_program
from rlef.sandbox import JudgeJob, JudgeReport, Limits
from rlef.sandbox.verdicts import as_bytes, summed

_DEFAULT_LIMITS = Limits()
_SPARE = 2
"""A program may print so many times the longest expected output, if no limit is higher."""


def public_job(problem: Problem, program: str, limits: Limits = _DEFAULT_LIMITS) -> JudgeJob:
    """Returns the job that runs a program on the public tests, all of them, for feedback.

    Args:
        problem: Its own CPU and memory limits go before ``limits``.
        program: The program's text.
        limits: What holds where the problem names no limit.
    """
    return _job(problem, program, problem.public_tests, limits, stop_at_first_failure=False)


def final_job(
    problem: Problem, program: str, limits: Limits = _DEFAULT_LIMITS, *, graded: bool = False
) -> JudgeJob:
    """Returns the job that runs a program on all tests, up to the first failure, for the reward.

    Args:
        problem: Its own CPU and memory limits go before ``limits``.
        program: The program's text.
        limits: What holds where the problem names no limit.
        graded: Run all tests, whatever fails, so as to know how many pass.
    """
    return _job(problem, program, problem.all_tests, limits, stop_at_first_failure=not graded)


def private_job(
    problem: Problem, program: str, limits: Limits = _DEFAULT_LIMITS, *, graded: bool = False
) -> JudgeJob | None:
    """Returns the job that ``final_job`` leaves for a program whose public tests have been run.

    Args:
        problem: Its own CPU and memory limits go before ``limits``.
        program: The program's text.
        limits: What holds where the problem names no limit.
        graded: Run all tests, whatever fails, so as to know how many pass.

    Returns:
        ``None`` where the problem has no private tests.
    """
    if not problem.private_tests:
        return None
    return replace(final_job(problem, program, limits, graded=graded), tests=problem.private_tests)


def join_reports(public: JudgeReport, private: JudgeReport | None) -> JudgeReport:
    """Returns the report on all tests from those of ``public_job`` and ``private_job``.

    Each test has run once, so a program that is not deterministic cannot pass its public tests in
    one report and fail them in the next.
    """
    return public if private is None else summed([*public.tests, *private.tests])


def limits_of(problem: Problem, limits: Limits = _DEFAULT_LIMITS) -> Limits:
    """Returns the limits of a problem's tests, for training, evaluation and checks of data alike.

    Args:
        problem: Its own CPU and memory limits go before ``limits``.
        limits: What holds where the problem names no limit.
    """
    return replace(
        limits,
        cpu_s=limits.cpu_s if problem.cpu_s is None else problem.cpu_s,
        memory_mb=limits.memory_mb if problem.memory_mb is None else problem.memory_mb,
    )


def reveal_private_tests(problem: Problem, limit: int = 20) -> Problem:
    """Returns the problem with its tests made public, public ones first, up to ``limit``.

    For a control at inference only (RLEF gives feedback from 20 tests there): a policy that trains
    on such feedback can copy expected outputs. All tests still decide the episode's end result.
    """
    shown = problem.all_tests[: max(limit, len(problem.public_tests))]
    rest = problem.all_tests[len(shown) :]
    return replace(problem, public_tests=shown, private_tests=rest)


def _job(
    problem: Problem,
    program: str,
    tests: tuple[Test, ...],
    limits: Limits,
    *,
    stop_at_first_failure: bool,
) -> JudgeJob:
    whole = whole_program(problem, program)
    own = limits_of(problem, limits)
    spare_kb = max(own.output_kb, _longest_output_kb(problem, tests) * _SPARE)
    return JudgeJob(
        source=whole.source,
        prelude=whole.prelude,
        tests=tests,
        language=problem.language,
        mode=problem.mode,
        entry_point=problem.entry_point,
        limits=replace(own, output_kb=spare_kb),
        checker=problem.checker,
        checker_source=problem.checker_source,
        stop_at_first_failure=stop_at_first_failure,
    )


def _longest_output_kb(problem: Problem, tests: tuple[Test, ...]) -> int:
    """As programs write it: in UTF-8; functions' results as JSON of ASCII alone."""
    is_json = problem.mode == "function"
    sizes = (len(json.dumps(t.output)) if is_json else len(as_bytes(t.output)) for t in tests)
    return max(sizes, default=0) // 1024 + 1
