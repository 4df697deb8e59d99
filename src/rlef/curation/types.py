"""What a check of problems says: findings, and what would repair them."""

from dataclasses import dataclass, field, fields
from enum import StrEnum

from rlef.problems import Problem
from rlef.sandbox import Verdict


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The problem judges wrongly, or cannot be used as it is."""
    WARNING = "warning"
    """Worth a look; the problem can be used."""


class Kind(StrEnum):
    """What was found; ``MEANINGS`` says each in words."""

    REFERENCE_FAILS = "reference-fails"
    NEEDS_CHECKER = "needs-checker"
    LIMIT_EXCEEDED = "limit-exceeded"
    WRONG_PASSES = "wrong-passes"
    CONFLICTING_TESTS = "conflicting-tests"
    NO_PUBLIC_TESTS = "no-public-tests"
    NO_PRIVATE_TESTS = "no-private-tests"
    UNUSABLE = "unusable"
    NOT_JUDGED = "not-judged"
    DUPLICATE_PROBLEM = "duplicate-problem"
    IN_OTHER_SET = "in-other-set"
    LEAKED_TESTS = "leaked-tests"
    DUPLICATE_TESTS = "duplicate-tests"
    TIGHT_LIMIT = "tight-limit"
    NO_REFERENCE = "no-reference"
    NEAR_DUPLICATE = "near-duplicate"
    NEAR_IN_OTHER_SET = "near-in-other-set"
    SAME_NAME = "same-name"

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR


_WARNINGS = frozenset(
    {
        Kind.LEAKED_TESTS,
        Kind.DUPLICATE_TESTS,
        Kind.TIGHT_LIMIT,
        Kind.NO_REFERENCE,
        Kind.NEAR_DUPLICATE,
        Kind.NEAR_IN_OTHER_SET,
        Kind.SAME_NAME,
    }
)

MEANINGS = {
    Kind.REFERENCE_FAILS: "a reference program fails a test",
    Kind.NEEDS_CHECKER: "references pass only with another checker",
    Kind.LIMIT_EXCEEDED: "references pass only with higher limits",
    Kind.WRONG_PASSES: "a program listed as wrong passes every test",
    Kind.CONFLICTING_TESTS: "one input, different expected outputs",
    Kind.NO_PUBLIC_TESTS: "no test to make feedback of",
    Kind.NO_PRIVATE_TESTS: "no test that is not public",
    Kind.UNUSABLE: "cannot be judged as it is",
    Kind.NOT_JUDGED: "the judge failed; run it again",
    Kind.DUPLICATE_PROBLEM: "an earlier problem has the same statement",
    Kind.IN_OTHER_SET: "the other set has the same statement",
    Kind.LEAKED_TESTS: "private tests that are public too",
    Kind.DUPLICATE_TESTS: "tests that stand twice",
    Kind.TIGHT_LIMIT: "a reference needs over half of a limit",
    Kind.NO_REFERENCE: "no reference program to try",
    Kind.NEAR_DUPLICATE: "an earlier problem has nearly the same statement",
    Kind.NEAR_IN_OTHER_SET: "the other set has nearly the same statement",
    Kind.SAME_NAME: "an earlier problem has the same name in the set",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What would repair a problem."""

    drop_problem: bool = False
    drop_tests: tuple[int, ...] = ()
    """Places in ``Problem.all_tests``, from 0."""
    drop_programs: tuple[tuple[str, int], ...] = ()
    """Field of the problem, and place in it from 0."""
    checker: str | None = None
    cpu_s: float | None = None
    memory_mb: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about one problem."""

    problem: str
    """Its name."""
    kind: Kind
    message: str
    tests: tuple[str, ...] = ()
    """The tests that it is about, such as ``private test 3``."""
    programs: tuple[str, ...] = ()
    """The programs that it is about, such as ``solutions[0]``."""
    other: str | None = None
    """Name of the problem that this one is like."""
    similarity: float | None = None
    """Of the two statements: shared word triples by all of them."""
    repair: Repair | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """How a reference or a wrong program fared with the problem's own checker and limits."""

    program: str
    verdict: Verdict
    test: str | None = None
    """The first test that it fails."""
    message: str = ""
    cpu_s: float = 0.0
    """Largest of a test."""
    memory_mb: float = 0.0
    """Largest of a test, resident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCheck:
    """All that was found out about one problem."""

    problem: Problem
    findings: tuple[Finding, ...] = ()
    runs: tuple[ProgramRun, ...] = ()
    not_run: tuple[str, ...] = ()
    """Languages whose programs could not be run for lack of a compiler."""
    repaired: "Repaired | None" = None
    """Only if repairs were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that was done to a problem."""

    problem: str
    kind: Kind
    """The finding behind it."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A problem after its repair."""

    problem: Problem | None
    """``None``: it was dropped."""
    changes: tuple[Change, ...] = field(default=())
    left: tuple[Finding, ...] = ()
    """What cannot be repaired."""


def merged(repairs: "list[Repair]") -> Repair:
    """One repair that does what all do; of limits the highest holds."""

    def all_of(name: str) -> tuple[object, ...]:
        return tuple(sorted({item for repair in repairs for item in getattr(repair, name)}))

    def highest(name: str) -> object:
        values = [v for repair in repairs if (v := getattr(repair, name)) is not None]
        return max(values, default=None)

    joined = {
        "drop_problem": any(repair.drop_problem for repair in repairs),
        "drop_tests": all_of("drop_tests"),
        "drop_programs": all_of("drop_programs"),
    }
    others = [item.name for item in fields(Repair) if item.name not in joined]
    return Repair(**joined, **{name: highest(name) for name in others})  # type: ignore[arg-type]
