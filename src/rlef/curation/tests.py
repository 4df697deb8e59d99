"""Tests of one problem beside each other: duplicates, leaks, conflicts, and what is missing."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rlef.curation.judge import Judge
from rlef.curation.types import Finding, Kind, Repair
from rlef.problems import Problem, Test
from rlef.problems.integers import long_integers
from rlef.sandbox.checkers import make_checker
from rlef.sandbox.testlib import TESTLIB
from rlef.sandbox.verdicts import as_bytes

_SHOWN = 3
_CHECK = "__check__"


def labels(problem: Problem) -> list[str]:
    """Names for ``Problem.all_tests``: ``public test 1``, ``private test 1``, ..."""
    public, private = len(problem.public_tests), len(problem.private_tests)
    return [f"public test {i}" for i in range(1, public + 1)] + [
        f"private test {i}" for i in range(1, private + 1)
    ]


def listed(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def without_tests(problem: Problem, places: Iterable[int]) -> Problem:
    """The problem without some of its tests, counted from 0 in ``all_tests``."""
    gone, public = set(places), len(problem.public_tests)
    kept = [(i, test) for i, test in enumerate(problem.all_tests) if i not in gone]
    return replace(
        problem,
        public_tests=tuple(test for i, test in kept if i < public),
        private_tests=tuple(test for i, test in kept if i >= public),
    )


def check_tests(problem: Problem, judge: Judge) -> list[Finding]:
    """Looks for tests that stand twice, that contradict each other, and that are missing.

    Where outputs differ for one input the reference programs decide: the test that most of them
    pass stays, and if one passes them all nothing is wrong.

    Args:
        problem: The problem.
        judge: Runs reference programs, only where tests contradict each other.
    """
    groups = _groups(problem)
    differing = [group for group in groups if not _agree(problem, group)]
    passed = _passed_by(problem, sorted(i for group in differing for i in group), judge)
    right: dict[int, int | None] = {}
    for group in differing:
        if not any(mine.issuperset(group) for mine in passed):
            right[group[0]] = _right(group, passed)
    twice = [group for group in groups if group[0] not in right]
    conflicts = [group for group in groups if group[0] in right]
    findings = [*_twice(problem, twice)]
    findings += _conflicting(problem, conflicts, [right[group[0]] for group in conflicts])
    gone = {i for finding in findings if finding.repair for i in finding.repair.drop_tests}
    return findings + _missing(problem, without_tests(problem, gone))


def _groups(problem: Problem) -> list[list[int]]:
    """Places of tests with the same input, where there is more than one."""
    places: dict[str, list[int]] = {}
    for i, test in enumerate(problem.all_tests):
        places.setdefault(_key(problem, test), []).append(i)
    return [group for group in places.values() if len(group) > 1]


def _key(problem: Problem, test: Test) -> str:
    """What two tests with the same input share. A check is an assertion of its own."""
    if problem.mode == "stdin":
        return test.input.replace("\r\n", "\n").rstrip("\n")
    own = _canonical(test.output) if _CHECK in test.output else ""
    return f"{_canonical(test.input)}\n{own}"


def _canonical(text: str) -> str:
    try:
        with long_integers():
            return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text


def _agree(problem: Problem, group: list[int]) -> bool:
    """Whether the checker sees no difference between the expected outputs; a program may not."""
    first, *others = (problem.all_tests[i].output for i in group)
    if problem.mode == "function":
        return all(_canonical(first) == _canonical(other) for other in others)
    if problem.checker == TESTLIB:  # several outputs may be right
        return True
    compare = make_checker(problem.checker)
    pairs = [(as_bytes(first), as_bytes(other)) for other in others]
    return all(compare(a, b) is None and compare(b, a) is None for a, b in pairs)


def _passed_by(problem: Problem, places: list[int], judge: Judge) -> list[set[int]]:
    """Which of some tests each reference program passes."""
    references = judge.references(problem)
    if not places or not references:
        return []
    tests = tuple(problem.all_tests[i] for i in places)
    small = replace(problem, public_tests=tests, private_tests=())
    reports = judge.run(judge.raised(small), references, to_end=True)
    return [
        {i for i, test in zip(places, report.tests, strict=True) if test.verdict == "AC"}
        for report in reports
    ]


def _right(group: list[int], passed: list[set[int]]) -> int | None:
    """The first test of a group that more than half of the references pass."""
    votes = {i: sum(i in mine for mine in passed) for i in group}
    return next((i for i in group if 2 * votes[i] > len(passed)), None)


def _twice(problem: Problem, groups: list[list[int]]) -> list[Finding]:
    names, public = labels(problem), len(problem.public_tests)
    leaked = [i for group in groups for i in group[1:] if group[0] < public <= i]
    again = [i for group in groups for i in group[1:] if not group[0] < public <= i]
    first = {i: names[group[0]] for group in groups for i in group[1:]}
    findings = []
    for kind, places in ((Kind.LEAKED_TESTS, leaked), (Kind.DUPLICATE_TESTS, again)):
        if places:
            pairs = [f"{names[i]} is {first[i]}" for i in sorted(places)]
            findings.append(
                Finding(
                    problem=problem.name,
                    kind=kind,
                    message=listed(pairs),
                    tests=tuple(names[i] for i in sorted(places)),
                    repair=Repair(drop_tests=tuple(sorted(places))),
                )
            )
    return findings


def _conflicting(
    problem: Problem, groups: list[list[int]], right: list[int | None]
) -> list[Finding]:
    if not groups:
        return []
    names = labels(problem)
    words = [
        f"{' and '.join(names[i] for i in group)} have the same input and different outputs"
        + (f", the references give that of {names[keep]}" if keep is not None else "")
        for group, keep in zip(groups, right, strict=True)
    ]
    gone = sorted(i for g, keep in zip(groups, right, strict=True) for i in g if i != keep)
    return [
        Finding(
            problem=problem.name,
            kind=Kind.CONFLICTING_TESTS,
            message=listed(words),
            tests=tuple(names[i] for group in groups for i in group),
            repair=Repair(drop_tests=tuple(gone)),
        )
    ]


def _missing(problem: Problem, rest: Problem) -> list[Finding]:
    """What training leaves out: a problem without tests of one kind, once it is repaired."""
    findings = []
    for kind, before, after, name in (
        (Kind.NO_PUBLIC_TESTS, problem.public_tests, rest.public_tests, "public"),
        (Kind.NO_PRIVATE_TESTS, problem.private_tests, rest.private_tests, "private"),
    ):
        if not after:
            none = f"has no {name} test" if not before else f"has no {name} test of its own"
            findings.append(
                Finding(
                    problem=problem.name,
                    kind=kind,
                    message=f"{none}: training leaves it out",
                    repair=Repair(drop_problem=True),
                )
            )
    return findings
