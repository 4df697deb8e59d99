"""What a problem is: a statement, public tests that may be shown, private tests that may not."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["stdin", "function"]


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a program.

    In ``stdin`` mode both fields are text. In ``function`` mode ``input`` is the JSON text of the
    argument list and ``output`` the JSON text of the expected value.
    """

    __test__ = False  # not a pytest class

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicProblem:
    """The part of a problem that prompts and feedback may be made of. It has no private tests."""

    name: str
    statement: str
    public_tests: tuple[Test, ...]
    mode: Mode = "stdin"
    entry_point: str | None = None
    """Name of the function to write; ``None`` in ``stdin`` mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A programming problem with both test sets.

    Example:
        >>> Problem(name="double", statement="Read n, print 2n.",
        ...         public_tests=(Test("2", "4"),), private_tests=(Test("7", "14"),)).name
        'double'
    """

    name: str
    statement: str
    public_tests: tuple[Test, ...]
    private_tests: tuple[Test, ...]
    """Hidden tests, the data set's generated tests among them. Never shown to the policy."""
    mode: Mode = "stdin"
    entry_point: str | None = None
    language: str = "python"
    cpu_s: float | None = None
    """CPU limit per test in seconds; ``None``: the judge's default."""
    memory_mb: int | None = None
    """Memory limit per test in MiB; ``None``: the judge's default."""
    checker: str = "tokens"
    solutions: tuple[str, ...] = ()
    """Reference programs that pass every test."""
    incorrect_solutions: tuple[str, ...] = ()
    """Programs that must fail at least one test."""
    family: str | None = None
    """What kind of problem this is; mini splits share no family."""
    hidden_detail: str | None = None
    """The detail that the statement leaves out and only a failed public test reveals, if any."""

    @property
    def public(self) -> PublicProblem:
        """The view that the environment gets."""
        return PublicProblem(
            name=self.name,
            statement=self.statement,
            public_tests=self.public_tests,
            mode=self.mode,
            entry_point=self.entry_point,
        )

    @property
    def all_tests(self) -> tuple[Test, ...]:
        """Public tests, then private ones."""
        return self.public_tests + self.private_tests
