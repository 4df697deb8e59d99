"""From a family and a seed to a problem with tests and wrong programs.

Outputs are what the reference program prints: it runs here, with ``input`` and ``print`` replaced.
All programs are our own, so that no sandbox is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from types import CodeType
from typing import Literal

from rlef.problems.mini.details import RANGE_HOLE, Alternative, Detail, details_for
from rlef.problems.mini.families import Body, Family
from rlef.problems.types import Problem, Test

Disclosure = Literal["hidden", "stated", "shown"]
"""How a statement treats its detail: left out, in words, or by an example of input and output."""

_HIDDEN: tuple[Disclosure, ...] = ("hidden",) * 7
COPIED: tuple[Disclosure, ...] = (*_HIDDEN, *_HIDDEN, "stated", "shown")
OTHERS: tuple[Disclosure, ...] = ("hidden", "stated", "stated", "shown")
"""Ways to treat a detail that can be copied from an output, and one that takes more to read."""

WORDINGS = (
    "Read {reads}. Print {asks}.",
    "Given {reads}, print {asks}.",
    "You get {reads}. Write {asks}.",
    "The input holds {reads}. Output {asks}.",
    "From {reads} compute {asks}.",
)
MUTATIONS = (
    (" > ", " >= "),
    (" < ", " <= "),
    ("% 2 == 0", "% 2 == 1"),
    ("% 2 == 1", "% 2 == 0"),
    ("x * x", "x * 2"),
    ("x * 2", "x + 2"),
    ("abs(x)", "x"),
    ("sum(", "len("),
    ("set(r)", "r"),
    ("all(", "any("),
    ("any(", "all("),
    ("max(", "min("),
    ("a - b", "b - a"),
    ("range(b)", "range(b - 1)"),
    ("range(b)", "range(1, b)"),
    ("[::-1]", ""),
    ("[1:]", "[:-1]"),
    ("[:-1]", "[1:]"),
    (".endswith(", ".startswith("),
    ("reverse=True", "reverse=False"),
    ("reverse()", "sort()"),
    ("x // 2", "x / 2"),
    (" + ", " - "),
    (" / ", " // "),
)
_PUBLIC_TRIES = 200
_SECOND_PUBLIC_TEST = 0.25
_PRIVATE_TESTS = (5, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A problem, and what it was made of: for those who write training dialogues.

    Attributes:
        problem: as everybody sees it.
        programs: one per alternative of its detail, in their order.
        correct: which of them is the reference program.
        mistakes: programs with the right ending and a mistake in what they compute.
        disclosure: how the statement treats the detail.
    """

    problem: Problem
    programs: tuple[str, ...]
    correct: int
    mistakes: tuple[str, ...]
    disclosure: Disclosure


def make_specimen(
    family: Family, index: int, disclosures: Sequence[Disclosure] | None = None
) -> Specimen | None:
    """Draws one problem of a family; the same index gives the same problem.

    Args:
        family: What it computes.
        index: Which one.
        disclosures: Ways to treat the detail, one of which is drawn; by default those of the
            problem set, where most details that can be copied from an output are left out.

    Returns:
        ``None`` where no public test was found that tells all alternatives of the detail apart,
        as with an order asked of equal numbers.
    """
    rng = Random(f"{family.name}/{index}")
    body = family.build(rng)
    details = list(details_for(body.shape))
    rng.shuffle(details)
    for detail in details:
        programs = [program_of(body, alternative) for alternative in detail.alternatives]
        public = _telling_inputs(rng, body, programs)
        if public is not None:
            disclosure = rng.choice(disclosures or (COPIED if detail.copied else OTHERS))
            name = f"{family.name}/{index}"
            return _assemble(rng, name, body, detail, programs, public, disclosure)
    return None


def program_of(body: Body, alternative: Alternative) -> str:
    """Returns the program that computes a body and prints it in one of the ways."""
    lines = (line.replace(RANGE_HOLE, alternative.range_code) for line in body.code)
    return "\n".join((*lines, *alternative.ending)) + "\n"


def run_program(program: str, text: str) -> str | None:
    """Returns what a program of this package prints; ``None`` if it fails."""
    lines = iter(text.split("\n"))
    printed: list[str] = []

    def print_(*values: object) -> None:
        printed.append(" ".join(map(str, values)))

    try:
        exec(_compiled(program), {"input": lines.__next__, "print": print_})
    except Exception:
        return None
    return "\n".join(printed)


@lru_cache(maxsize=64)
def _compiled(program: str) -> CodeType:
    return compile(program, "<mini>", "exec")


def _telling_inputs(rng: Random, body: Body, programs: Sequence[str]) -> list[str] | None:
    """Draws one or two inputs, on one of which all programs print different things."""
    for _ in range(_PUBLIC_TRIES):
        text = body.make_input(rng)
        if _tells_apart(programs, text):
            if rng.random() < _SECOND_PUBLIC_TEST:
                return [body.make_input(rng), text]
            return [text]
    return None


def _tells_apart(programs: Sequence[str], text: str) -> bool:
    seen: set[tuple[str, ...]] = set()
    for program in programs:
        output = run_program(program, text)
        key = tuple((output or "").split())
        if not key or key in seen:
            return False
        seen.add(key)
    return True


def _assemble(
    rng: Random,
    name: str,
    body: Body,
    detail: Detail,
    programs: Sequence[str],
    public: Sequence[str],
    disclosure: Disclosure,
) -> Specimen:
    correct = rng.randrange(len(programs))
    reference = programs[correct]
    inputs = list(dict.fromkeys([*public, *_private_inputs(rng, body)]))
    phrase = detail.alternatives[correct].phrase
    statement = _statement(rng, body, phrase, programs, reference, disclosure)
    private = [text for text in inputs[len(public) :] if f"Input:\n{text}\n" not in statement]
    tests = tuple(
        Test(text + "\n", f"{run_program(reference, text)}\n")
        for text in (*inputs[: len(public)], *private)
    )
    mistakes = _mistakes(reference, tests, len(public))
    wrong = [program for i, program in enumerate(programs) if i != correct]
    problem = Problem(
        name=name,
        statement=statement,
        public_tests=tests[: len(public)],
        private_tests=tests[len(public) :],
        cpu_s=1.0,
        memory_mb=256,
        solutions=(reference,),
        incorrect_solutions=(*rng.sample(wrong, 3), *mistakes[:3]),
        family=body.family,
        hidden_detail=detail.name if disclosure == "hidden" else None,
    )
    return Specimen(
        problem=problem,
        programs=tuple(programs),
        correct=correct,
        mistakes=tuple(mistakes),
        disclosure=disclosure,
    )


def _private_inputs(rng: Random, body: Body) -> list[str]:
    return [body.make_input(rng) for _ in range(rng.randint(*_PRIVATE_TESTS))]


def _statement(
    rng: Random,
    body: Body,
    phrase: str,
    programs: Sequence[str],
    reference: str,
    disclosure: Disclosure,
) -> str:
    wording = rng.choice(WORDINGS)
    asks = f"{body.asks}, {phrase}" if disclosure == "stated" else body.asks
    text = wording.format(reads=body.reads, asks=asks)
    if disclosure != "shown":
        return text
    for _ in range(_PUBLIC_TRIES):
        example = body.make_input(rng)
        if _tells_apart(programs, example):
            break
    output = run_program(reference, example)
    return f"{text}\nExample\nInput:\n{example}\nExpected output:\n{output}"


def mutants(program: str) -> list[str]:
    """Returns the program with one thing changed in what it computes, in each way that applies."""
    first, *middle, last = program.splitlines()
    text = "\n".join(middle)
    return [
        "\n".join((first, text.replace(old, new, 1), last)) + "\n"
        for old, new in MUTATIONS
        if old in text
    ]


def _mistakes(reference: str, tests: Sequence[Test], public: int) -> list[str]:
    """Mutants that some test catches; those that pass all public tests first."""
    found: list[tuple[bool, str]] = []
    for program in mutants(reference):
        passed = [
            (run_program(program, test.input.rstrip("\n")) or "").split() == test.output.split()
            for test in tests
        ]
        if not all(passed):
            found.append((not all(passed[:public]), program))
    return [program for _, program in sorted(found, key=lambda pair: pair[0])]
