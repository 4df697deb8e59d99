"""Hand-made problems."""

from rlef.curation import Kind, ProblemCheck
from rlef.problems import Problem, Test


def some_tests(*pairs: tuple[str, str]) -> tuple[Test, ...]:
    return tuple(Test(given, wanted) for given, wanted in pairs)


def make(name: str = "double", **fields: object) -> Problem:
    """A clean problem, but for the given fields."""
    base: dict[str, object] = {
        "statement": "Read n, print 2n.",
        "public_tests": some_tests(("2\n", "4\n")),
        "private_tests": some_tests(("7\n", "14\n"), ("-1\n", "-2\n")),
        "solutions": ("print(2 * int(input()))",),
    }
    return Problem(name=name, **(base | fields))  # type: ignore[arg-type]


def kinds(check: ProblemCheck) -> list[Kind]:
    return [finding.kind for finding in check.findings]
