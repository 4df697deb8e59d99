"""Checks of problems, many at a time, and their repair."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from rlef.curation.judge import Judge
from rlef.curation.programs import check_programs
from rlef.curation.repair import repaired
from rlef.curation.tests import check_tests, labels, without_tests
from rlef.curation.types import Finding, Kind, ProblemCheck, ProgramRun, Repair
from rlef.problems import Problem
from rlef.sandbox.build import languages_here
from rlef.sandbox.checkers import function_rules, make_checker
from rlef.sandbox.testlib import TESTLIB
from rlef.serve import RemoteJudge, open_judge

PROGRAMS = 3
_THREADS_PER_WORKER = 2
"""So that a jail finds the next problem's programs waiting."""


def check_problems(
    problems: Sequence[Problem],
    *,
    programs: int = PROGRAMS,
    workers: int = 2,
    repair: bool = False,
    judge_url: str | None = None,
) -> Generator[tuple[int, ProblemCheck], None, None]:
    """Checks problems, in parallel; yields place and result of each as soon as it is there.

    Closing the generator stops all programs: use ``contextlib.closing`` around the loop.

    Args:
        problems: What to check, each for itself; see ``find_duplicates`` for statements.
        programs: How many of each list of programs are run.
        workers: Number of jails; about the number of cores.
        repair: Also make a repaired problem of each, and check that one.
        judge_url: Of the judge, see ``open_judge``; ``None``: here.

    Raises:
        SandboxError: This machine cannot run programs safely.
    """
    sandbox = open_judge(judge_url, workers)
    able = sandbox.languages() if isinstance(sandbox, RemoteJudge) else languages_here()
    judge = Judge(sandbox, programs, able)
    pool = ThreadPoolExecutor(_THREADS_PER_WORKER * workers, thread_name_prefix="rlef-check")
    try:
        work = _check_and_repair if repair else check_problem
        futures = {pool.submit(work, problem, judge): i for i, problem in enumerate(problems)}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        sandbox.close()  # first: threads wait for it
        pool.shutdown(cancel_futures=True)


def check_problem(problem: Problem, judge: Judge) -> ProblemCheck:
    """Checks one problem.

    Args:
        problem: The problem.
        judge: Runs its programs.

    Raises:
        SandboxError: This machine cannot run programs safely.
    """
    runs: list[ProgramRun] = []
    try:
        _check_checker(problem)
        findings = check_tests(problem, judge)
        gone = {i for finding in findings if finding.repair for i in finding.repair.drop_tests}
        rest = without_tests(problem, gone)
        names = [name for i, name in enumerate(labels(problem)) if i not in gone]
        if rest.all_tests:
            more, runs = check_programs(rest, names, judge)
            findings += more
    except ValueError as error:
        findings = [
            Finding(
                problem=problem.name,
                kind=Kind.UNUSABLE,
                message=str(error),
                repair=Repair(drop_problem=True),
            )
        ]
    return ProblemCheck(
        problem=problem,
        findings=tuple(findings),
        runs=tuple(runs),
        not_run=judge.not_run(problem),
    )


def _check_checker(problem: Problem) -> None:
    """Raises ValueError for a checker that does not exist, also where no program is run."""
    if problem.checker != TESTLIB:
        (function_rules if problem.mode == "function" else make_checker)(problem.checker)


def _check_and_repair(problem: Problem, judge: Judge) -> ProblemCheck:
    check = check_problem(problem, judge)
    return replace(check, repaired=repaired(check, lambda changed: check_problem(changed, judge)))
