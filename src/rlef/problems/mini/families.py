"""What is computed: families of bodies, composed so that unseen families are made of seen parts.

A family is one combination, such as *the squares of the even numbers*. Its instances differ in
their constants, wording, output detail and tests. Splits share no family.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from rlef.problems.mini.details import RANGE_HOLE, Shape
from rlef.problems.mini.parts import (
    AGGREGATES,
    NUMBER_FILTERS,
    NUMBER_MAPS,
    NUMBER_TESTS,
    PAIR_REALS,
    PAIR_VALUES,
    QUANTIFIERS,
    RECORDS,
    RULES,
    SCALAR_MAPS,
    SEQUENCE_MAPS,
    SEQUENCES,
    SORTS,
    TEXT_STEPS,
    WORD_FILTERS,
    WORD_MAPS,
    Part,
)

MakeInput = Callable[[Random], str]

_WORDS = """
apple river stone cloud tiger green lemon piano radio ocean bread chair eagle field grape house
island jacket kite lamp mouse night olive paper queen rabbit sugar table uncle violin window yellow
zebra arm bee cat dog egg fox
"""
WORDS = tuple(_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a problem computes, before the detail of its output.

    Attributes:
        reads: what the input is, a noun phrase.
        asks: what to print, a noun phrase (a yes/no question starts with "whether").
        code: lines that read the input and leave the result in ``r``.
        make_input: draws one input.
    """

    topic: str
    family: str
    reads: str
    asks: str
    code: tuple[str, ...]
    shape: Shape
    make_input: MakeInput


@dataclass(frozen=True, slots=True)
class Family:
    """A named recipe for bodies: ``build(rng)`` draws the constants of one instance."""

    topic: str
    name: str
    build: Callable[[Random], Body]


@dataclass(frozen=True, slots=True)
class _Constants:
    values: dict[str, str]

    @classmethod
    def draw(cls, rng: Random) -> "_Constants":
        return cls(
            {
                "k": str(rng.randint(2, 15)),
                "m": str(rng.randint(3, 5)),
                "c": str(rng.randint(2, 9)),
                "n": str(rng.randint(3, 4)),
                "l": rng.choice("aeiorlnst"),
            }
        )

    def fill(self, text: str) -> str:
        for key, value in self.values.items():
            text = text.replace("{" + key + "}", value)
        return text


def _number_list(rng: Random, constants: _Constants) -> str:
    edge = int(constants.values["k"])
    numbers = [rng.randint(-12, 30) for _ in range(rng.randint(4, 6))]
    numbers[rng.randrange(len(numbers))] = rng.choice((edge, 0, -edge, 2 * edge))
    return " ".join(map(str, numbers))


def _word_list(rng: Random, _: _Constants) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 5)))


def _pair(rng: Random, _: _Constants) -> str:
    return f"{rng.randint(1, 40)} {rng.randint(2, 12)}"


def _steps(rng: Random, _: _Constants) -> str:
    return f"{rng.randint(1, 20)} {rng.randint(2, 5)}"


def _interval(rng: Random, _: _Constants) -> str:
    low = rng.randint(-5, 15)
    return f"{low} {low + rng.randint(4, 9)}"


def _text(rng: Random, _: _Constants) -> str:
    cases = (str.lower, str.upper, str.title)
    return " ".join(rng.choice(cases)(rng.choice(WORDS)) for _ in range(rng.randint(2, 3)))


@dataclass(frozen=True, slots=True)
class _Source:
    """What a body reads: the words for it, the line that reads it, and how one is drawn."""

    words: str
    line: str
    draw: Callable[[Random, _Constants], str]


NUMBERS = _Source("integers on one line", "a = list(map(int, input().split()))", _number_list)
STRINGS = _Source("words on one line", "a = input().split()", _word_list)
TEXT = _Source("a line of text", "r = input()", _text)
PAIR = _Source("two integers a and b", "a, b = map(int, input().split())", _pair)
STEPS = _Source("two integers a and b", PAIR.line, _steps)
INTERVAL = _Source("two integers a and b", PAIR.line, _interval)


def make_family(
    topic: str, name: str, source: _Source, asks: str, lines: Sequence[str], shape: Shape
) -> Family:
    """Joins the parts of a family; empty lines of code are left out.

    Args:
        topic: What kind of problem.
        name: Of the family, within its topic.
        source: What is read.
        asks: What to print, with ``{k}`` and the like for constants.
        lines: The code after the line that reads.
        shape: What it leaves in ``r``.
    """
    name = f"{topic}/{name}"

    def build(rng: Random) -> Body:
        constants = _Constants.draw(rng)
        return Body(
            topic=topic,
            family=name,
            reads=source.words,
            asks=constants.fill(asks),
            code=tuple(constants.fill(line) for line in (source.line, *lines) if line),
            shape=shape,
            make_input=lambda rng: source.draw(rng, constants),
        )

    return Family(topic, name, build)


def _lists(select: Part, change: Part) -> Family:
    code = (f"r = [{change.code} for x in a{select.code}]",)
    asks = change.words.replace("{}", select.words)
    name = f"{change.name}-of-{select.name}"
    return make_family("sequences", name, NUMBERS, asks, code, "ints")


def _aggregates(aggregate: Part, select: Part, change: Part) -> Family:
    code = (f"r = [{change.code} for x in a{select.code}]", f"r = {aggregate.code}")
    asks = aggregate.words.replace("{}", change.words.replace("{}", select.words))
    name = f"{aggregate.name}-of-{change.name}-of-{select.name}"
    return make_family("counting", name, NUMBERS, asks, code, "int")


def _maximum(select: Part, change: Part) -> Family:
    code = (f"r = [{change.code} for x in a{select.code}]",)
    asks = "the largest of " + change.words.replace("{}", select.words)
    name = f"largest-of-{change.name}-of-{select.name}"
    return make_family("counting", name, NUMBERS, asks, code, "maximum")


def _words(select: Part, change: Part) -> Family:
    code = (f"r = [{change.code} for x in a{select.code}]",)
    asks = change.words.replace("{}", select.words)
    return make_family("strings", f"{change.name}-of-{select.name}", STRINGS, asks, code, "strings")


def _texts(first: Part, second: Part) -> Family:
    asks = f"the result: {first.words}, then {second.words}"
    name = f"{first.name}-then-{second.name}"
    return make_family("formatting", name, TEXT, asks, (first.code, second.code), "text")


def _sorted(sort: Part, select: Part) -> Family:
    code = (f"r = [x for x in a{select.code}]", sort.code)
    asks = f"the {select.words} {sort.words}"
    return make_family("sorting", f"{select.name}-{sort.name}", NUMBERS, asks, code, "strings")


def _series(series: Part, change: Part) -> Family:
    asks = change.words.replace("{}", series.words)
    code = (f"r = {series.code}", change.code)
    return make_family("sequences", f"{series.name}-{change.name}", NUMBERS, asks, code, "ints")


def _pairs(value: Part, change: Part, shape: Shape) -> Family:
    asks = change.words.replace("{}", value.words)
    name = f"{shape}-{value.name}-{change.name}"
    return make_family("arithmetic", name, PAIR, asks, (f"r = {value.code}", change.code), shape)


def _questions(quantifier: Part, test: Part) -> Family:
    asks = quantifier.words.replace("{}", test.words)
    code = ("r = " + quantifier.code.replace("{}", test.code),)
    return make_family("counting", f"{quantifier.name}-{test.name}", NUMBERS, asks, code, "bool")


def _ranges(select: Part, change: Part) -> Family:
    code = (f"r = [{change.code} for x in {RANGE_HOLE}{select.code}]",)
    asks = change.words.replace("{}", select.words) + " between a and b"
    name = f"range-{change.name}-of-{select.name}"
    return make_family("sequences", name, INTERVAL, asks, code, "range")


def simulation(rule: Part, record: Part) -> Family:
    """Returns a family that applies a rule b times and keeps a record of it."""
    start, inside, end = {
        "before": ("r = []", ("r.append(a)", rule.code), ""),
        "after": ("r = []", (rule.code, "r.append(a)"), ""),
        "final": ("", (rule.code,), "r = a"),
        "total": ("r = 0", (rule.code, "r = r + a"), ""),
    }[record.code]
    code = (start, "for i in range(b):", *("    " + line for line in inside), end)
    asks = f"{record.words}: in each of b steps a {rule.words.rstrip(',')}"
    shape: Shape = "strings" if record.code in ("before", "after") else "int"
    return make_family("simulation", f"{rule.name}-{record.name}", STEPS, asks, code, shape)


def _all() -> Iterator[Family]:
    for select in NUMBER_FILTERS:
        for change in NUMBER_MAPS:
            yield _lists(select, change)
            yield _maximum(select, change) if select.name != "all" else _ranges(select, change)
            for aggregate in AGGREGATES:
                yield _aggregates(aggregate, select, change)
        for sort in SORTS:
            yield _sorted(sort, select)
    for select in NUMBER_FILTERS[1:]:
        for change in NUMBER_MAPS[:4]:
            yield _ranges(select, change)
    for select in WORD_FILTERS:
        for change in WORD_MAPS:
            yield _words(select, change)
    for first in TEXT_STEPS:
        for second in TEXT_STEPS:
            yield _texts(first, second)
    for series in SEQUENCES:
        for change in SEQUENCE_MAPS:
            yield _series(series, change)
    for change in SCALAR_MAPS:
        for value in PAIR_VALUES:
            yield _pairs(value, change, "int")
        for value in PAIR_REALS:
            yield _pairs(value, change, "real")
    for quantifier in QUANTIFIERS:
        for test in NUMBER_TESTS:
            yield _questions(quantifier, test)
    for rule in RULES:
        for record in RECORDS:
            yield simulation(rule, record)


FAMILIES: tuple[Family, ...] = tuple(_all())
