"""What a problem is: a statement, public tests that may be shown, private tests that may not."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["stdin", "function"]


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a program.

    In ``stdin`` mode both fields are text. In ``function`` mode both are JSON text:

    * ``input`` is the list of arguments, or ``{"call": EXPRESSION, "setup": CODE}``: Python that is
      run in the program's own namespace after the program; ``setup`` may be left out. The program
      can see all of it.
    * ``output`` is the expected value; or ``{"__python__": LITERAL}``, a value as ``repr`` writes
      it, compared with Python's ``==``; or ``{"__check__": EXPRESSION, "setup": CODE}``, an
      expression over ``result`` and ``args``, the list of arguments, which the judge runs in a jail
      of its own and which must come out true.
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
    starter_code: str = ""
    """How a program begins, where the data set gives that; it also stands in the statement."""
    language: str = "python"


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
    """Name of the function to write, or of a method of the class ``Solution``."""
    language: str = "python"
    starter_code: str = ""
    """How a program begins, where the data set gives that; it also stands in the statement."""
    prelude: str = ""
    """Code that stands before a program when it is judged, see ``whole_program``."""
    cpu_s: float | None = None
    """CPU limit per test in seconds; ``None``: the judge's default."""
    memory_mb: int | None = None
    """Memory limit per test in MiB; ``None``: the judge's default."""
    checker: str = "tokens"
    checker_source: str | None = None
    """C++ text of a checker program, with the checker ``testlib``."""
    solutions: tuple[str, ...] = ()
    """Reference programs in ``language`` that pass every test."""
    incorrect_solutions: tuple[str, ...] = ()
    """Programs in ``language`` that must fail at least one test."""
    cpp_solutions: tuple[str, ...] = ()
    """Reference programs in C++."""
    incorrect_cpp_solutions: tuple[str, ...] = ()
    """Programs in C++ that must fail at least one test."""
    family: str | None = None
    """What kind of problem this is; mini splits share no family."""
    hidden_detail: str | None = None
    """The detail that the statement leaves out and only a failed public test reveals, if any."""
    difficulty: str | None = None
    """As the data set has it, such as ``easy`` or a rating."""
    source: str | None = None
    """Site that the problem is from, in lower case."""
    date: str | None = None
    """Day on which it was published, as ``2024-08-31``."""
    tags: tuple[str, ...] = ()

    @property
    def public(self) -> PublicProblem:
        """The view that the environment gets."""
        return PublicProblem(
            name=self.name,
            statement=self.statement,
            public_tests=self.public_tests,
            mode=self.mode,
            entry_point=self.entry_point,
            starter_code=self.starter_code,
            language=self.language,
        )

    @property
    def all_tests(self) -> tuple[Test, ...]:
        """Public tests, then private ones."""
        return self.public_tests + self.private_tests
