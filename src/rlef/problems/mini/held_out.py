"""The families of the test split: combinations that no other split has.

They were written and drawn once, after everything that comes with rlef had been chosen, and no
model had been run on them then. They join the parts of the other families, by way of words and
code that occur there too, in ways that do not occur there: sorted squares, sums over an interval.
The candidates of each kind are listed by their builder; ``HELD_OUT`` is a seeded draw from them, in
which each shape of output has about the share that it has in the other splits.
"""

from collections.abc import Iterable, Iterator
from random import Random

from rlef.problems.mini.details import RANGE_HOLE, Shape
from rlef.problems.mini.families import (
    INTERVAL,
    NUMBERS,
    PAIR,
    STRINGS,
    TEXT,
    Family,
    make_family,
    simulation,
)
from rlef.problems.mini.parts import (
    AGGREGATES,
    NUMBER_FILTERS,
    NUMBER_MAPS,
    NUMBER_TESTS,
    QUANTIFIERS,
    RECORDS,
    SCALAR_MAPS,
    SEQUENCES,
    SORTS,
    TEXT_STEPS,
    WORD_FILTERS,
    WORD_MAPS,
    Part,
    make_parts,
)

SEQUENCE_FILTERS = make_parts(
    ("even", "{}, keeping only even results", "x % 2 == 0"),
    ("odd", "{}, keeping only odd results", "x % 2 == 1"),
    ("negative", "{}, keeping only negative results", "x < 0"),
    ("greater", "{}, keeping only results greater than {k}", "x > {k}"),
    ("less", "{}, keeping only results less than {k}", "x < {k}"),
    ("multiples", "{}, keeping only multiples of {m}", "x % {m} == 0"),
)
PLACES = make_parts(("tail", "but the first", "a[1:]"), ("init", "but the last", "a[:-1]"))
EXTREMES = make_parts(
    ("first", "whether the first number {}", "any({} for x in a[:1])"),
    ("largest", "whether the largest number {}", "any({} for x in [max(a)])"),
)
PAIR_VALUES = make_parts(
    ("difference_ba", "b minus a", "b - a"),
    ("remainder_ba", "the remainder of b divided by a", "b % a"),
    ("squares_ba", "b squared plus a", "b * b + a"),
    ("squares_minus", "a squared minus b", "a * a - b"),
    ("product_plus", "a times b plus a", "a * b + a"),
    ("product_minus", "a times b minus b", "a * b - b"),
)
CHOICES = make_parts(
    ("larger_product", "the larger of a times b and a squared plus b", "max(a * b, a * a + b)"),
    ("smaller_product", "the smaller of a times b and a squared plus b", "min(a * b, a * a + b)"),
    (
        "larger_difference",
        "the larger of a minus b and the remainder of a divided by b",
        "max(a - b, a % b)",
    ),
    (
        "smaller_difference",
        "the smaller of a minus b and the remainder of a divided by b",
        "min(a - b, a % b)",
    ),
)
PAIR_REALS = make_parts(
    ("third_product", "a third of a times b", "(a * b) / 3"),
    ("third_squares", "a third of a squared plus b", "(a * a + b) / 3"),
    ("third_larger", "a third of the larger of a and b", "max(a, b) / 3"),
    ("third_smaller", "a third of the smaller of a and b", "min(a, b) / 3"),
    ("root_product", "the square root of a times b", "(a * b) ** 0.5"),
    ("root_squares", "the square root of a squared plus b", "(a * a + b) ** 0.5"),
    ("root_larger", "the square root of the larger of a and b", "max(a, b) ** 0.5"),
    ("root_smaller", "the square root of the smaller of a and b", "min(a, b) ** 0.5"),
)
RULES = make_parts(
    ("double_minus", "is doubled and shrinks by {c}", "a = a * 2 - {c}"),
    ("half_add", "is halved (rounded down) and grows by {c}", "a = a // 2 + {c}"),
    ("half_minus", "is halved (rounded down) and shrinks by {c}", "a = a // 2 - {c}"),
    ("double_index", "is doubled and grows by the step number, from 0,", "a = a * 2 + i"),
    ("minus_index", "shrinks by the step number, from 0,", "a = a - i"),
    ("add_index", "grows by {c} and by the step number, from 0,", "a = a + {c} + i"),
)
TEXT_TRIPLES = (
    ("no_first", "reverse", "append"),
    ("twice", "stars", "no_last"),
    ("no_letter", "no_first", "twice"),
    ("append", "reverse", "stars"),
    ("reverse", "twice", "no_first"),
    ("no_last", "append", "twice"),
    ("stars", "twice", "reverse"),
)
_NEW_MAPS = tuple(m for m in NUMBER_MAPS if m.name in ("squares", "digits", "halves"))
"""Those that ``SEQUENCE_MAPS`` lacks."""
_SLICES = tuple(part for part in SEQUENCES if part.name in ("every", "tail", "init"))
_COMPUTED = tuple(part for part in SEQUENCES if part not in _SLICES)


def _of_series(change: Part, series: Part) -> str:
    """``the squares of the running sums``."""
    return change.words.replace("the {}", "{}").replace("{}", series.words.rstrip(","))


def _slices() -> Iterator[Family]:
    for series in _SLICES:
        for change in _NEW_MAPS:
            code = (f"r = [{change.code} for x in {series.code}]",)
            name = f"{change.name}-of-{series.name}"
            asks = _of_series(change, series)
            yield make_family("sequences", name, NUMBERS, asks, code, "ints")


def _series() -> Iterator[Family]:
    for series in _COMPUTED:
        for change in _NEW_MAPS:
            code = (f"r = {series.code}", f"r = [{change.code} for x in r]")
            name = f"{change.name}-of-{series.name}"
            asks = _of_series(change, series)
            yield make_family("sequences", name, NUMBERS, asks, code, "ints")


def _kept() -> Iterator[Family]:
    for series in SEQUENCES:
        for select in SEQUENCE_FILTERS:
            code = (f"r = {series.code}", f"r = [x for x in r if {select.code}]")
            asks = select.words.replace("{}", series.words.rstrip(","))
            name = f"{series.name}-kept-{select.name}"
            yield make_family("sequences", name, NUMBERS, asks, code, "ints")


def _selected() -> Iterator[tuple[Part, Part]]:
    """Filters and maps of an interval. Its negative numbers are digits: one of two equals goes."""
    for select in NUMBER_FILTERS:
        for change in NUMBER_MAPS:
            if (select.name, change.name) != ("negative", "digits"):
                yield select, change


def _ranges() -> Iterator[Family]:
    for select, change in _selected():
        if select.name != "all" and change in NUMBER_MAPS[4:]:
            code = (f"r = [{change.code} for x in {RANGE_HOLE}{select.code}]",)
            asks = change.words.replace("{}", select.words) + " between a and b"
            name = f"range-{change.name}-of-{select.name}"
            yield make_family("sequences", name, INTERVAL, asks, code, "range")


def _series_aggregates() -> Iterator[Family]:
    for series in SEQUENCES:
        for aggregate in AGGREGATES:
            code = (f"r = {series.code}", f"r = {aggregate.code}")
            asks = aggregate.words.replace("{}", series.words.rstrip(","))
            name = f"{aggregate.name}-of-{series.name}"
            yield make_family("counting", name, NUMBERS, asks, code, "int")


def _largest() -> Iterator[Family]:
    for series in SEQUENCES:
        if series.name != "maxima":  # the largest of these is the largest number
            code = (f"r = {series.code}", "r = max(r)")
            asks = "the largest of " + series.words.rstrip(",")
            yield make_family("counting", f"largest-of-{series.name}", NUMBERS, asks, code, "int")
    for change in NUMBER_MAPS:
        code = (f"r = [{change.code} for x in a]", "r = max(r)")
        asks = "the largest of " + change.words.replace("{}", "numbers")
        name = f"largest-of-{change.name}-of-all"
        yield make_family("counting", name, NUMBERS, asks, code, "int")


def _over_interval(select: Part, change: Part, name: str, words: str, end: str) -> Family:
    """An aggregate over an interval; without ``end`` the maximum, if there is one."""
    lines = (f"r = [{change.code} for x in range(a, b + 1){select.code}]", end)
    numbers = change.words.replace("{}", select.words) + " from a up to b, both included"
    name = f"range-{name}-of-{change.name}-of-{select.name}"
    shape: Shape = "int" if end else "maximum"
    return make_family("counting", name, INTERVAL, words.replace("{}", numbers), lines, shape)


def _interval_aggregates() -> Iterator[Family]:
    # Others say in other words what one of these says: no two doubles are equal, and sums of
    # absolute values of positive numbers are sums.
    maps = {
        "sum": [change.name for change in NUMBER_MAPS],
        "count": ["same", "digits"],
        "spread": ["same", "doubles", "increased", "halves"],
    }
    signed = ("all", "even", "odd", "less", "multiples")
    for select, change in _selected():
        for one in AGGREGATES:
            if change.name in maps[one.name] and (one.name != "spread" or select.name in signed):
                yield _over_interval(select, change, one.name, one.words, f"r = {one.code}")


def _interval_maxima() -> Iterator[Family]:
    for select, change in _selected():
        if select.name in ("positive", "greater", "less"):  # there may be none
            yield _over_interval(select, change, "largest", "the largest of {}", "")


def _questions() -> Iterator[Family]:
    for test in NUMBER_TESTS:
        for extreme in EXTREMES:
            asks = extreme.words.replace("{}", test.words)
            code = "r = " + extreme.code.replace("{}", test.code)
            name = f"{extreme.name}-{test.name}"
            yield make_family("counting", name, NUMBERS, asks, (code,), "bool")
        for quantifier in QUANTIFIERS[:3]:
            for place in PLACES:
                asks = quantifier.words.replace("{}", f"{place.words} {test.words}")
                code = "r = " + quantifier.code.replace("{}", test.code)
                code = code.replace(" in a)", f" in {place.code})")
                name = f"{quantifier.name}-{place.name}-{test.name}"
                yield make_family("counting", name, NUMBERS, asks, (code,), "bool")


def _sorted_maps() -> Iterator[Family]:
    same = {("squares", "absolute"), ("digits", "absolute"), ("digits", "digit")}  # as ascending
    for select in NUMBER_FILTERS:
        for change in NUMBER_MAPS[1:]:
            for sort in SORTS:
                if (change.name, sort.name) in same:
                    continue
                code = (f"r = [{change.code} for x in a{select.code}]", sort.code)
                asks = f"{change.words.replace('{}', select.words)} {sort.words}"
                name = f"{change.name}-of-{select.name}-{sort.name}"
                yield make_family("sorting", name, NUMBERS, asks, code, "strings")


def _sorted_series() -> Iterator[Family]:
    for series in SEQUENCES:
        if series.name not in ("maxima", "every"):
            for sort in SORTS:
                code = (f"r = {series.code}", sort.code)
                asks = f"{series.words} {sort.words}"
                name = f"{series.name}-{sort.name}"
                yield make_family("sorting", name, NUMBERS, asks, code, "strings")


def _word_slices() -> Iterator[Family]:
    for place in PLACES:
        for change in WORD_MAPS:
            code = (f"r = [{change.code} for x in {place.code}]",)
            asks = change.words.replace("the {}", "{}").replace("{}", f"all words {place.words}")
            name = f"{change.name}-of-{place.name}"
            yield make_family("strings", name, STRINGS, asks, code, "strings")


def _ordered_words() -> Iterator[Family]:
    for select in WORD_FILTERS:
        for change in WORD_MAPS:
            for sort in SORTS:
                numbers = change.name == "lengths" and sort.name in ("ascending", "descending")
                if numbers or sort.name == "reverse":
                    code = (f"r = [{change.code} for x in a{select.code}]", sort.code)
                    asks = f"{change.words.replace('{}', select.words)} {sort.words}"
                    name = f"{change.name}-of-{select.name}-{sort.name}"
                    yield make_family("strings", name, STRINGS, asks, code, "strings")


def _texts() -> Iterator[Family]:
    steps = {step.name: step for step in TEXT_STEPS}
    alone = [(name,) for name in ("reverse", "no_first", "no_last", "twice", "append")]
    for names in (*alone, *TEXT_TRIPLES):
        parts = [steps[name] for name in names]
        asks = "the result: " + ", then ".join(part.words for part in parts)
        code = [part.code for part in parts]
        yield make_family("formatting", "-then-".join(names), TEXT, asks, code, "text")


def _scalars(values: Iterable[Part], shape: Shape) -> Iterator[Family]:
    for value in values:
        for change in SCALAR_MAPS:
            asks = change.words.replace("{}", value.words)
            code = (f"r = {value.code}", change.code)
            name = f"{shape}-{value.name}-{change.name}"
            yield make_family("arithmetic", name, PAIR, asks, code, shape)


def _simulations() -> Iterator[Family]:
    for rule in RULES:
        for record in RECORDS:
            yield simulation(rule, record)


def _drawn() -> Iterator[Family]:
    """Families by kind and how many of them are taken."""
    for kind, families, count in (
        ("slices", _slices(), 6),
        ("series", _series(), 6),
        ("kept", _kept(), 7),
        ("ranges", _ranges(), 11),
        ("series aggregates", _series_aggregates(), 13),
        ("largest", _largest(), 8),
        ("interval aggregates", _interval_aggregates(), 17),
        ("interval maxima", _interval_maxima(), 14),
        ("questions", _questions(), 8),
        ("sorted maps", _sorted_maps(), 10),
        ("sorted series", _sorted_series(), 6),
        ("word slices", _word_slices(), 5),
        ("ordered words", _ordered_words(), 7),
        ("texts", _texts(), 12),
        ("pairs", _scalars(PAIR_VALUES, "int"), 5),
        ("choices", _scalars(CHOICES, "int"), 3),
        ("reals", _scalars(PAIR_REALS, "real"), 8),
        ("simulations", _simulations(), 12),
    ):
        yield from Random(f"mini/held out/{kind}").sample(list(families), count)


HELD_OUT: tuple[Family, ...] = tuple(_drawn())
