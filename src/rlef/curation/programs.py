"""Reference and wrong programs of one problem: what they say about its checker and its limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlef.curation.judge import Judge, Program, limits_of
from rlef.curation.tests import listed
from rlef.curation.types import Finding, Kind, ProgramRun, Repair
from rlef.problems import Problem
from rlef.sandbox import JudgeReport, TestReport, Verdict
from rlef.sandbox.testlib import TESTLIB

_TEXT_CHECKERS = (
    "lines",
    "tokens",
    "case-blind",
    "float(abs=1e-9,rel=1e-9)",
    "float",
    "float(abs=1e-4,rel=1e-4)",
    "unordered-lines",
    "sorted-tokens",
    "set",
)
"""From narrow to wide, as far as they can be compared."""
_VALUE_CHECKERS = (*(name for name in _TEXT_CHECKERS if "float" in name), "unordered-lines")
_SLACK = 2
"""A limit should be this many times what references need: machines differ, and are busy."""
_NEW_SLACK = 3
_MEMORY_STEP = 64
_LIMITED = (Verdict.TLE, Verdict.MLE, Verdict.RE)
"""Verdicts that higher limits may change; RE since a program may fail badly without memory."""
_WORDS = 160


@dataclass(frozen=True, slots=True)
class _Tried:
    """A program, its report with the problem's own settings, and the best one with others."""

    program: Program
    own: JudgeReport
    best: JudgeReport

    @property
    def passed(self) -> bool:
        return self.best.passed


def check_programs(
    problem: Problem, names: Sequence[str], judge: Judge
) -> tuple[list[Finding], list[ProgramRun]]:
    """Runs reference and wrong programs, and looks for checkers and limits that suit them.

    Args:
        problem: At least one test.
        names: Labels of its tests.
        judge: Runs programs.

    Raises:
        ValueError: The problem cannot be judged.
        SandboxError: This machine cannot run programs.
    """
    references, wrong = judge.references(problem), judge.wrong(problem)
    reports = judge.run(problem, [*references, *wrong])
    refuted = list(zip(wrong, reports[len(references) :], strict=True))
    tried = _with_higher_limits(problem, references, reports[: len(references)], judge)
    checker = None
    if any(one.best.verdict is Verdict.WA for one in tried):
        failing = [program for program, report in refuted if not report.passed]
        checker, tried = _with_other_checker(problem, tried, failing, judge)
    findings = _on_infrastructure(problem, reports)
    if not references:
        findings.append(_no_reference(problem))
    if checker is not None:
        findings.append(_on_checker(problem, checker, tried, names))
    findings += [*_on_references(problem, tried, names), *_on_limits(problem, tried)]
    findings += _on_wrong(problem, refuted)
    runs = [_run_of(one.program, one.own, one.best, names) for one in tried]
    runs += [_run_of(program, report, report, names) for program, report in refuted]
    return findings, runs


def _with_higher_limits(
    problem: Problem, references: Sequence[Program], reports: Sequence[JudgeReport], judge: Judge
) -> list[_Tried]:
    """Tries references again that may have failed for the problem's limits."""
    limited = [i for i, report in enumerate(reports) if report.verdict in _LIMITED]
    again = judge.run(judge.raised(problem), [references[i] for i in limited])
    best = dict(enumerate(reports)) | dict(zip(limited, again, strict=True))
    pairs = zip(references, reports, strict=True)
    return [_Tried(program, report, best[i]) for i, (program, report) in enumerate(pairs)]


def _with_other_checker(
    problem: Problem, tried: list[_Tried], wrong: list[Program], judge: Judge
) -> tuple[str | None, list[_Tried]]:
    """Finds the narrowest checker that accepts all references that run, and no wrong program."""
    running = [one.program for one in tried if one.best.verdict in (Verdict.AC, Verdict.WA)]
    raised = judge.raised(problem)
    candidates = _TEXT_CHECKERS if problem.mode == "stdin" else _VALUE_CHECKERS
    for checker in () if problem.checker == TESTLIB else candidates:
        reports = judge.run(replace(raised, checker=checker), running)
        if not all(report.passed for report in reports):
            continue
        if any(report.passed for report in judge.run(replace(problem, checker=checker), wrong)):
            continue
        found = dict(zip(running, reports, strict=True))
        return checker, [replace(one, best=found.get(one.program, one.best)) for one in tried]
    return None, tried


def _on_infrastructure(problem: Problem, reports: Sequence[JudgeReport]) -> list[Finding]:
    """What went wrong that says nothing about the programs; a broken checker is the problem's."""
    failed = [_failing(report).message for report in reports if report.verdict is Verdict.IE]
    if not failed:
        return []
    broken = failed[0].startswith("the checker")
    return [
        Finding(
            problem=problem.name,
            kind=Kind.UNUSABLE if broken else Kind.NOT_JUDGED,
            message=_one_line(failed[0]),
            repair=Repair(drop_problem=True) if broken else None,
        )
    ]


def _no_reference(problem: Problem) -> Finding:
    here = problem.solutions or problem.cpp_solutions
    words = "its reference programs cannot be run here" if here else "has no reference program"
    return Finding(problem=problem.name, kind=Kind.NO_REFERENCE, message=words)


def _on_checker(
    problem: Problem, checker: str, tried: list[_Tried], names: Sequence[str]
) -> Finding:
    differing = [one for one in tried if one.passed and one.own.verdict is Verdict.WA]
    first = f" ({_words(differing[0].own, names)})" if differing else ""
    return Finding(
        problem=problem.name,
        kind=Kind.NEEDS_CHECKER,
        message=f"all references pass with {checker}, not with {problem.checker}{first}",
        programs=tuple(one.program.label for one in differing),
        repair=Repair(checker=checker),
    )


def _on_references(problem: Problem, tried: list[_Tried], names: Sequence[str]) -> list[Finding]:
    """A minority of references that fail is wrong; else the problem is."""
    known = [one for one in tried if one.best.verdict is not Verdict.IE]
    failing = [one for one in known if not one.passed]
    if not failing:
        return []
    few = 2 * len(failing) < len(known)
    first = failing[0]
    count = f"{len(failing)} of {len(known)} references fail; " if len(known) > 1 else ""
    return [
        Finding(
            problem=problem.name,
            kind=Kind.REFERENCE_FAILS,
            message=f"{count}{first.program.label}: {_words(first.best, names)}",
            tests=tuple(dict.fromkeys(_test_of(one.best, names) for one in failing)),
            programs=tuple(one.program.label for one in failing),
            repair=Repair(
                drop_problem=not few,
                drop_programs=tuple((o.program.field, o.program.index) for o in failing if few),
            ),
        )
    ]


def _on_limits(problem: Problem, tried: list[_Tried]) -> list[Finding]:
    """Compares what accepted references need with the problem's limits."""
    accepted = [one for one in tried if one.passed]
    cpu_limit, memory_limit = limits_of(problem)
    timed_out = any(one.own.verdict is Verdict.TLE for one in accepted)
    ran_out = any(one.own.verdict in (Verdict.MLE, Verdict.RE) for one in accepted)
    cpu_s = max((_most(one.best, "cpu_s") for one in accepted), default=0.0)
    memory_mb = max((_most(one.best, "memory_mb") for one in accepted), default=0.0)
    words: dict[Kind, list[str]] = {}
    repairs: dict[Kind, Repair] = {}
    if timed_out or _SLACK * cpu_s > cpu_limit:
        # A time-out that the second run does not confirm: it waits, or the machine is busy.
        over = cpu_s > cpu_limit
        note = " (exceeded in one of two runs)" if timed_out and not over else ""
        kind = Kind.LIMIT_EXCEEDED if over else Kind.TIGHT_LIMIT
        words.setdefault(kind, []).append(f"{cpu_s:.2f} s of CPU, limit {cpu_limit:g} s{note}")
        least = max(_NEW_SLACK * cpu_s, _SLACK * cpu_limit if timed_out else 0)
        repairs[kind] = Repair(cpu_s=float(math.ceil(least)))
    if ran_out or _SLACK * memory_mb > memory_limit:
        over = ran_out or memory_mb > memory_limit
        kind = Kind.LIMIT_EXCEEDED if over else Kind.TIGHT_LIMIT
        words.setdefault(kind, []).append(f"{memory_mb:.0f} MB, limit {memory_limit} MB")
        least = max(_NEW_SLACK * memory_mb, _SLACK * memory_limit if over else 0)
        new_mb = math.ceil(least / _MEMORY_STEP) * _MEMORY_STEP
        repairs[kind] = replace(repairs.get(kind, Repair()), memory_mb=new_mb)
    return [
        Finding(
            problem=problem.name,
            kind=kind,
            message=f"references need {' and '.join(words[kind])}",
            programs=tuple(one.program.label for one in accepted),
            repair=repair,
        )
        for kind, repair in repairs.items()
    ]


def _on_wrong(problem: Problem, refuted: list[tuple[Program, JudgeReport]]) -> list[Finding]:
    passing = [program for program, report in refuted if report.passed]
    if not passing:
        return []
    named = listed([program.label for program in passing])
    return [
        Finding(
            problem=problem.name,
            kind=Kind.WRONG_PASSES,
            message=f"{len(passing)} of {len(refuted)} wrong programs pass every test: {named}",
            programs=tuple(program.label for program in passing),
            repair=Repair(drop_programs=tuple((p.field, p.index) for p in passing)),
        )
    ]


def _run_of(
    program: Program, own: JudgeReport, best: JudgeReport, names: Sequence[str]
) -> ProgramRun:
    fails = not own.passed
    return ProgramRun(
        program=program.label,
        verdict=own.verdict,
        test=_test_of(own, names) if fails else None,
        message=_one_line(_failing(own).message) if fails else "",
        cpu_s=_most(best, "cpu_s"),
        memory_mb=_most(best, "memory_mb"),
    )


def _most(report: JudgeReport, name: str) -> float:
    return max((float(getattr(test, name)) for test in report.tests), default=0.0)


def _failing(report: JudgeReport) -> TestReport:
    """The test that gives a report its verdict."""
    return next(test for test in report.tests if test.verdict is report.verdict)


def _test_of(report: JudgeReport, names: Sequence[str]) -> str:
    return names[report.tests.index(_failing(report))]


def _words(report: JudgeReport, names: Sequence[str]) -> str:
    message = _one_line(_failing(report).message)
    return f"{report.verdict} on {_test_of(report, names)}: {message}"


def _one_line(message: str) -> str:
    """The line of a message that says most: the only one, or the last one of a traceback."""
    last = message.strip().rpartition("\n")[2].strip()
    return last if len(last) <= _WORDS else f"{last[:_WORDS]}..."
