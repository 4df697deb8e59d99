"""The parts that families are composed of: words and the expression that goes with them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A named piece of a composition: words and an expression, with ``{k}`` for a constant."""

    name: str
    words: str
    code: str


def make_parts(*rows: tuple[str, str, str]) -> tuple[Part, ...]:
    """Returns parts from rows of name, words and code."""
    return tuple(Part(*row) for row in rows)


NUMBER_FILTERS = make_parts(
    ("all", "numbers", ""),
    ("even", "even numbers", " if x % 2 == 0"),
    ("odd", "odd numbers", " if x % 2 == 1"),
    ("positive", "positive numbers", " if x > 0"),
    ("negative", "negative numbers", " if x < 0"),
    ("greater", "numbers greater than {k}", " if x > {k}"),
    ("less", "numbers less than {k}", " if x < {k}"),
    ("multiples", "multiples of {m}", " if x % {m} == 0"),
)
NUMBER_MAPS = make_parts(
    ("same", "the {}", "x"),
    ("doubles", "the doubles of the {}", "x * 2"),
    ("squares", "the squares of the {}", "x * x"),
    ("increased", "the {} increased by {c}", "x + {c}"),
    ("negated", "the {} with opposite sign", "-x"),
    ("digits", "the last digits of the {}", "abs(x) % 10"),
    ("halves", "the halves (rounded down) of the {}", "x // 2"),
)
AGGREGATES = make_parts(
    ("sum", "the sum of {}", "sum(r)"),
    ("count", "the number of distinct values among {}", "len(set(r))"),
    ("spread", "the sum of absolute values of {}", "sum(map(abs, r))"),
)
WORD_FILTERS = make_parts(
    ("all", "words", ""),
    ("longer", "words longer than {n} letters", " if len(x) > {n}"),
    ("shorter", "words shorter than {n} letters", " if len(x) < {n}"),
    ("contains", "words that contain '{l}'", ' if "{l}" in x'),
    ("ends", "words that end in '{l}'", ' if x.endswith("{l}")'),
)
WORD_MAPS = make_parts(
    ("same", "the {}", "x"),
    ("reversed", "the {} spelled backwards", "x[::-1]"),
    ("first", "the first letters of the {}", "x[0]"),
    ("last", "the last letters of the {}", "x[-1]"),
    ("repeated", "the {} written twice", "x * 2"),
    ("lengths", "the lengths of the {}", "len(x)"),
)
SORTS = make_parts(
    ("ascending", "in ascending order", "r.sort()"),
    ("descending", "in descending order", "r.sort(reverse=True)"),
    ("absolute", "sorted by absolute value", "r.sort(key=abs)"),
    ("digit", "sorted by last digit", "r.sort(key=lambda x: abs(x) % 10)"),
    ("reverse", "in reverse order", "r.reverse()"),
)
SEQUENCES = make_parts(
    ("prefix", "the running sums", "[sum(a[:i + 1]) for i in range(len(a))]"),
    (
        "differences",
        "the differences of neighbours (next minus previous)",
        "[a[i + 1] - a[i] for i in range(len(a) - 1)]",
    ),
    ("neighbours", "the sums of neighbours", "[a[i] + a[i + 1] for i in range(len(a) - 1)]"),
    ("maxima", "the running maxima", "[max(a[:i + 1]) for i in range(len(a))]"),
    ("every", "every second number, from the first,", "a[::2]"),
    ("tail", "all numbers but the first", "a[1:]"),
    ("init", "all numbers but the last", "a[:-1]"),
)
SEQUENCE_MAPS = make_parts(
    ("same", "{}", ""),
    ("doubled", "{} doubled", "r = [x * 2 for x in r]"),
    ("increased", "{} increased by {c}", "r = [x + {c} for x in r]"),
    ("negated", "{} with opposite sign", "r = [-x for x in r]"),
    ("positive", "{}, keeping only positive results", "r = [x for x in r if x > 0]"),
)
PAIR_VALUES = make_parts(
    ("sum", "a plus b", "a + b"),
    ("difference", "a minus b", "a - b"),
    ("product", "a times b", "a * b"),
    ("remainder", "the remainder of a divided by b", "a % b"),
    ("larger", "the larger of a and b", "max(a, b)"),
    ("smaller", "the smaller of a and b", "min(a, b)"),
    ("squares", "a squared plus b", "a * a + b"),
)
PAIR_REALS = make_parts(
    ("ratio", "a divided by b", "a / b"),
    ("mean", "the mean of a and b", "(a + b) / 2"),
    ("third", "a third of a plus b", "(a + b) / 3"),
    ("inverse", "b divided by a", "b / a"),
    ("root", "the square root of a plus b", "(a + b) ** 0.5"),
)
SCALAR_MAPS = make_parts(
    ("same", "{}", ""),
    ("doubled", "twice the value of {}", "r = r * 2"),
    ("increased", "{c} more than {}", "r = r + {c}"),
    ("decreased", "{c} less than {}", "r = r - {c}"),
    ("scaled", "{m} times the value of {}", "r = r * {m}"),
)
TEXT_STEPS = make_parts(
    ("reverse", "reverse it", "r = r[::-1]"),
    ("no_first", "drop the first character", "r = r[1:]"),
    ("no_last", "drop the last character", "r = r[:-1]"),
    ("twice", "write it twice", "r = r * 2"),
    ("no_letter", "remove every '{l}'", 'r = r.replace("{l}", "")'),
    ("stars", "replace every '{l}' by '*'", 'r = r.replace("{l}", "*")'),
    ("append", "append '{l}'", 'r = r + "{l}"'),
)
NUMBER_TESTS = make_parts(
    ("positive", "is positive", "x > 0"),
    ("even", "is even", "x % 2 == 0"),
    ("odd", "is odd", "x % 2 == 1"),
    ("greater", "is greater than {k}", "x > {k}"),
    ("less", "is less than {k}", "x < {k}"),
    ("multiple", "is a multiple of {m}", "x % {m} == 0"),
)
QUANTIFIERS = make_parts(
    ("all", "whether every number {}", "all({} for x in a)"),
    ("any", "whether at least one number {}", "any({} for x in a)"),
    ("none", "whether no number {}", "not any({} for x in a)"),
    ("sum", "whether the sum {}", "any({} for x in [sum(a)])"),
    ("last", "whether the last number {}", "any({} for x in a[-1:])"),
)
RULES = make_parts(
    ("double", "is doubled", "a = a * 2"),
    ("add", "grows by {c}", "a = a + {c}"),
    ("minus", "shrinks by {c}", "a = a - {c}"),
    ("affine", "is doubled and grows by {c}", "a = a * 2 + {c}"),
    ("half", "is halved (rounded down)", "a = a // 2"),
    ("index", "grows by the step number, from 0,", "a = a + i"),
)
RECORDS = make_parts(
    ("before", "the values of a before each step", "before"),
    ("after", "the values of a after each step", "after"),
    ("final", "the final value of a", "final"),
    ("total", "the sum of the values of a after each step", "total"),
)
