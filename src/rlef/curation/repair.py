"""From findings to a problem without them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rlef.curation.judge import limits_of
from rlef.curation.statements import find_duplicates
from rlef.curation.tests import labels, listed, without_tests
from rlef.curation.types import Change, Finding, ProblemCheck, Repair, Repaired, merged
from rlef.problems import Problem

_ROUNDS = 10


def repaired(check: ProblemCheck, again: Callable[[Problem], ProblemCheck]) -> Repaired:
    """Repairs a problem until nothing is left that can be repaired.

    Args:
        check: What is wrong with it.
        again: Checks a changed problem.
    """
    changes: list[Change] = []
    for _ in range(_ROUNDS):
        able = [finding for finding in check.findings if finding.repair is not None]
        if not able:
            return Repaired(problem=check.problem, changes=tuple(changes), left=check.findings)
        dropping = [f for f in able if f.repair is not None and f.repair.drop_problem]
        if dropping:
            return _dropped(check.problem, changes, dropping[0], dropping[0].message)
        changes += [_change(check.problem, finding) for finding in able]
        repair = merged([finding.repair for finding in able if finding.repair is not None])
        check = again(apply(check.problem, repair))
    words = f"still not clean after {_ROUNDS} repairs: {check.findings[0].message}"
    return _dropped(check.problem, changes, check.findings[0], words)


def without_duplicates(
    results: Sequence[Repaired], others: Sequence[Problem] = ()
) -> list[Repaired]:
    """Drops of repaired problems those that stand earlier, or in another set.

    Only problems that are kept count as earlier ones.

    Args:
        results: Repaired problems.
        others: Problems of the other set.
    """
    kept = [result.problem for result in results if result.problem is not None]
    found = iter(find_duplicates(kept, others))
    after: list[Repaired] = []
    for result in results:
        if result.problem is None:
            after.append(result)
            continue
        findings = next(found)
        dropping = [f for f in findings if f.repair is not None and f.repair.drop_problem]
        if dropping:
            after.append(_dropped(result.problem, [], dropping[0], dropping[0].message))
        else:
            after.append(replace(result, left=(*result.left, *findings)))
    return after


def apply(problem: Problem, repair: Repair) -> Problem:
    """The problem after a repair that does not drop it."""
    changed = without_tests(problem, repair.drop_tests)
    fields: dict[str, Any] = {}
    for name, index in repair.drop_programs:
        programs = fields.setdefault(name, dict(enumerate(getattr(problem, name))))
        del programs[index]
    fields = {name: tuple(programs.values()) for name, programs in fields.items()}
    for name in ("checker", "cpu_s", "memory_mb"):
        value = getattr(repair, name)
        if value is not None:
            fields[name] = value
    return replace(changed, **fields)


def _dropped(problem: Problem, changes: list[Change], why: Finding, words: str) -> Repaired:
    """A dropped problem; what was done to it before does not matter any more."""
    last = Change(problem=problem.name, kind=why.kind, what=f"dropped: {words}")
    return Repaired(problem=None, changes=(last,))


def _change(problem: Problem, finding: Finding) -> Change:
    repair = finding.repair
    assert repair is not None
    parts = []
    if repair.drop_tests:
        names = labels(problem)
        parts.append(f"without {listed([names[i] for i in repair.drop_tests])}")
    if repair.drop_programs:
        parts.append(f"without {listed([f'{name}[{i}]' for name, i in repair.drop_programs])}")
    if repair.checker is not None:
        parts.append(f"checker {problem.checker} -> {repair.checker}")
    cpu_s, memory_mb = limits_of(problem)
    if repair.cpu_s is not None:
        parts.append(f"cpu_s {cpu_s:g} -> {repair.cpu_s:g}")
    if repair.memory_mb is not None:
        parts.append(f"memory_mb {memory_mb} -> {repair.memory_mb}")
    return Change(problem=problem.name, kind=finding.kind, what=", ".join(parts))
