"""What is computed: families of bodies, composed so that unseen families are made of seen parts.

A family is one combination, such as *the squares of the even numbers*. Its instances differ in
their constants, wording, output detail and tests. Splits share no family.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from rlef.problems.mini.details import Shape
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


NUMBERS_READ = "a, b = map(int, input().split())"
LIST_READ = "a = list(map(int, input().split()))"


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


def _number_list(constants: _Constants) -> MakeInput:
    edge = int(constants.values["k"])

    def make(rng: Random) -> str:
        numbers = [rng.randint(-12, 30) for _ in range(rng.randint(4, 6))]
        numbers[rng.randrange(len(numbers))] = rng.choice((edge, 0, -edge, 2 * edge))
        return " ".join(map(str, numbers))

    return make


def _word_list(rng: Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 5)))


def _pair(rng: Random) -> str:
    return f"{rng.randint(1, 40)} {rng.randint(2, 12)}"


def _steps(rng: Random) -> str:
    return f"{rng.randint(1, 20)} {rng.randint(2, 5)}"


def _interval(rng: Random) -> str:
    low = rng.randint(-5, 15)
    return f"{low} {low + rng.randint(4, 9)}"


def _text(rng: Random) -> str:
    cases = (str.lower, str.upper, str.title)
    return " ".join(rng.choice(cases)(rng.choice(WORDS)) for _ in range(rng.randint(2, 3)))


def _body(
    constants: _Constants,
    topic: str,
    family: str,
    reads: str,
    asks: str,
    code: tuple[str, ...],
    shape: Shape,
    make_input: MakeInput,
) -> Body:
    return Body(
        topic=topic,
        family=family,
        reads=reads,
        asks=constants.fill(asks),
        code=tuple(constants.fill(line) for line in code if line),
        shape=shape,
        make_input=make_input,
    )


def _lists(select: Part, change: Part) -> Family:
    name = f"sequences/{change.name}-of-{select.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (LIST_READ, f"r = [{change.code} for x in a{select.code}]")
        asks = change.words.replace("{}", select.words)
        return _body(
            c, "sequences", name, "integers on one line", asks, code, "ints", _number_list(c)
        )

    return Family("sequences", name, build)


def _aggregates(aggregate: Part, select: Part, change: Part) -> Family:
    name = f"counting/{aggregate.name}-of-{change.name}-of-{select.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (LIST_READ, f"r = [{change.code} for x in a{select.code}]", f"r = {aggregate.code}")
        asks = aggregate.words.replace("{}", change.words.replace("{}", select.words))
        return _body(
            c, "counting", name, "integers on one line", asks, code, "int", _number_list(c)
        )

    return Family("counting", name, build)


def _maximum(select: Part, change: Part) -> Family:
    name = f"counting/largest-of-{change.name}-of-{select.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (LIST_READ, f"r = [{change.code} for x in a{select.code}]")
        asks = "the largest of " + change.words.replace("{}", select.words)
        return _body(
            c, "counting", name, "integers on one line", asks, code, "maximum", _number_list(c)
        )

    return Family("counting", name, build)


def _words(select: Part, change: Part) -> Family:
    name = f"strings/{change.name}-of-{select.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = ("a = input().split()", f"r = [{change.code} for x in a{select.code}]")
        asks = change.words.replace("{}", select.words)
        return _body(c, "strings", name, "words on one line", asks, code, "strings", _word_list)

    return Family("strings", name, build)


def _texts(first: Part, second: Part) -> Family:
    name = f"formatting/{first.name}-then-{second.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = ("r = input()", first.code, second.code)
        asks = f"the result: {first.words}, then {second.words}"
        return _body(c, "formatting", name, "a line of text", asks, code, "text", _text)

    return Family("formatting", name, build)


def _sorted(sort: Part, select: Part) -> Family:
    name = f"sorting/{select.name}-{sort.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (LIST_READ, f"r = [x for x in a{select.code}]", sort.code)
        asks = f"the {select.words} {sort.words}"
        return _body(
            c, "sorting", name, "integers on one line", asks, code, "strings", _number_list(c)
        )

    return Family("sorting", name, build)


def _series(series: Part, change: Part) -> Family:
    name = f"sequences/{series.name}-{change.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (LIST_READ, f"r = {series.code}", change.code)
        asks = change.words.replace("{}", series.words)
        return _body(
            c, "sequences", name, "integers on one line", asks, code, "ints", _number_list(c)
        )

    return Family("sequences", name, build)


def _pairs(value: Part, change: Part, shape: Shape) -> Family:
    name = f"arithmetic/{shape}-{value.name}-{change.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (NUMBERS_READ, f"r = {value.code}", change.code)
        asks = change.words.replace("{}", value.words)
        return _body(c, "arithmetic", name, "two integers a and b", asks, code, shape, _pair)

    return Family("arithmetic", name, build)


def _questions(quantifier: Part, test: Part) -> Family:
    name = f"counting/{quantifier.name}-{test.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (LIST_READ, "r = " + quantifier.code.replace("{}", test.code))
        asks = quantifier.words.replace("{}", test.words)
        return _body(
            c, "counting", name, "integers on one line", asks, code, "bool", _number_list(c)
        )

    return Family("counting", name, build)


def _ranges(select: Part, change: Part) -> Family:
    name = f"sequences/range-{change.name}-of-{select.name}"

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (NUMBERS_READ, f"r = [{change.code} for x in RANGE{select.code}]")
        asks = change.words.replace("{}", select.words) + " between a and b"
        return _body(c, "sequences", name, "two integers a and b", asks, code, "range", _interval)

    return Family("sequences", name, build)


def _simulations(rule: Part, record: Part) -> Family:
    name = f"simulation/{rule.name}-{record.name}"
    listed = record.code in ("before", "after")
    inside = {
        "before": ("r.append(a)", rule.code),
        "after": (rule.code, "r.append(a)"),
        "final": (rule.code,),
        "total": (rule.code, "r = r + a"),
    }[record.code]
    start = {"before": "r = []", "after": "r = []", "final": "", "total": "r = 0"}[record.code]
    end = "r = a" if record.code == "final" else ""

    def build(rng: Random) -> Body:
        c = _Constants.draw(rng)
        code = (NUMBERS_READ, start, "for i in range(b):", *("    " + line for line in inside), end)
        asks = f"{record.words}: in each of b steps a {rule.words.rstrip(',')}"
        return _body(
            c,
            "simulation",
            name,
            "two integers a and b",
            asks,
            code,
            "strings" if listed else "int",
            _steps,
        )

    return Family("simulation", name, build)


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
            yield _simulations(rule, record)


FAMILIES: tuple[Family, ...] = tuple(_all())
