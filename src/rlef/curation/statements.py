"""Problems with the same or nearly the same statement, in one set and between two.

The same: equal but for case, blanks and forms of Unicode. Nearly the same: the sets of three words
in a row have a Jaccard index of at least ``NEAR``. A hidden detail counts as part of the statement.
Candidates come from MinHash and locality sensitive hashing (Mining of Massive Datasets, chapter 3)
and are then compared in full.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from rlef.curation.types import Finding, Kind, Repair
from rlef.problems import Problem

NEAR = 0.7
_WORDS = 3
_PERMUTATIONS = 128
_BANDS = (25, 5)
"""25 bands of 5 hashes: a pair of index 0.7 is a candidate with a chance of 99 %."""
_COMPARED = 20
"""Candidates that are compared in full."""
_NUMBERED = re.compile(r"(.+)#[1-9]\d*", re.DOTALL)

Shingles = frozenset[str]


def normalized(statement: str) -> str:
    """A statement without differences of case, blanks and forms of Unicode."""
    return " ".join(unicodedata.normalize("NFKC", statement).casefold().split())


def shingles(statement: str) -> Shingles:
    """The sets of three words in a row of a statement; all its words if it has fewer."""
    words = re.findall(r"\w+", normalized(statement))
    size = min(_WORDS, len(words)) or 1
    return frozenset(" ".join(words[i : i + size]) for i in range(len(words) - size + 1))


def jaccard(one: Shingles, other: Shingles) -> float:
    """Size of what two sets share by the size of both together; 0 for two empty ones."""
    together = len(one | other)
    return len(one & other) / together if together else 0.0


def has_minhash() -> bool:
    """Whether the library for nearly equal statements is there."""
    from importlib.util import find_spec

    return find_spec("datasketch") is not None


def find_duplicates(
    problems: Sequence[Problem], others: Sequence[Problem] = ()
) -> list[tuple[Finding, ...]]:
    """Looks for equal and nearly equal statements; only equal ones without ``datasketch``.

    Names that a loader had to number are found as well.

    Args:
        problems: Each is compared with those before it.
        others: Another set, such as the one for tests; each problem is compared with all of it.

    Returns:
        Findings for each problem: at most one about its own set, one about the other, and one
        about its name.
    """
    near = has_minhash()
    earlier, foreign, names = _Index(), _Index(), set[str]()
    for other in others:
        foreign.add(_read(other, near))
    result = []
    for problem in problems:
        statement = _read(problem, near)
        findings = []
        if found := earlier.likest(statement):
            findings.append(_inside(problem, found))
        if found := foreign.likest(statement):
            findings.append(_between(problem, found))
        if (match := _NUMBERED.fullmatch(problem.name)) and match[1] in names:
            findings.append(_renamed(problem, match[1]))
        names.add(problem.name)
        earlier.add(statement)
        result.append(tuple(findings))
    return result


def _renamed(problem: Problem, name: str) -> Finding:
    return Finding(
        problem=problem.name,
        kind=Kind.SAME_NAME,
        message=f"its name in the set is {name}, as that of an earlier problem",
        other=name,
    )


class _Twin(NamedTuple):
    """A problem that another one is like."""

    name: str
    similarity: float
    same: bool


def _inside(problem: Problem, twin: _Twin) -> Finding:
    """A near duplicate is not dropped: it may be an easy and a hard version of one problem."""
    return Finding(
        problem=problem.name,
        kind=Kind.DUPLICATE_PROBLEM if twin.same else Kind.NEAR_DUPLICATE,
        message=_words(twin),
        other=twin.name,
        similarity=twin.similarity,
        repair=Repair(drop_problem=True) if twin.same else None,
    )


def _between(problem: Problem, twin: _Twin) -> Finding:
    return Finding(
        problem=problem.name,
        kind=Kind.IN_OTHER_SET if twin.same else Kind.NEAR_IN_OTHER_SET,
        message=f"{_words(twin)} in the other set",
        other=twin.name,
        similarity=twin.similarity,
        repair=Repair(drop_problem=True),
    )


def _words(twin: _Twin) -> str:
    if twin.same:
        return f"the statement is that of {twin.name}"
    return f"{twin.similarity:.0%} of the statement's word triples are those of {twin.name}"


class _Statement(NamedTuple):
    """A statement made ready for comparison."""

    name: str
    text: str
    own: Shingles
    minhash: Any
    """``None``: it is compared for equality only."""


def _read(problem: Problem, near: bool) -> _Statement:
    whole = f"{problem.statement}\n{problem.hidden_detail or ''}"
    text, own, made = normalized(whole), shingles(whole), None
    if near and own:
        from datasketch import MinHash

        made = MinHash(num_perm=_PERMUTATIONS)
        made.update_batch([shingle.encode() for shingle in own])
    return _Statement(problem.name, text, own, made)


class _Index:
    """Statements seen so far. Empty ones are like nothing."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._near: list[_Statement] = []
        self._lsh: Any = None

    def add(self, statement: _Statement) -> None:
        """Adds a statement."""
        if statement.text in self._names:
            return  # whatever is like it is like the first one
        if statement.text:
            self._names[statement.text] = statement.name
        if statement.minhash is None:
            return
        if self._lsh is None:
            from datasketch import MinHashLSH

            self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_BANDS)
        self._lsh.insert(len(self._near), statement.minhash)
        self._near.append(statement)

    def likest(self, statement: _Statement) -> _Twin | None:
        """The statement that a new one is most like, if it is the same or near enough."""
        if statement.text in self._names:
            return _Twin(self._names[statement.text], 1.0, same=True)
        if statement.minhash is None or self._lsh is None:
            return None
        places = self._best(sorted(self._lsh.query(statement.minhash)), statement)
        found = [self._near[place] for place in places]
        twins = (_Twin(f.name, jaccard(statement.own, f.own), same=False) for f in found)
        best = max(twins, key=lambda twin: twin.similarity, default=None)
        return best if best is not None and best.similarity >= NEAR else None

    def _best(self, places: list[int], statement: _Statement) -> list[int]:
        """Of many candidates, as of a set made from a template, those of the most equal hashes."""
        if len(places) <= _COMPARED:
            return places
        import numpy as np

        hashes = np.array([self._near[place].minhash.hashvalues for place in places])
        equal = (hashes == statement.minhash.hashvalues).sum(1)
        return [places[i] for i in np.argsort(-equal, kind="stable")[:_COMPARED]]
