"""How an answer is printed: the details that a statement may state, show, or leave out.

Each detail has six or more alternatives, so whoever is not told cannot find the right one by trying
any other one: the content of the feedback must be read.
"""

from dataclasses import dataclass
from typing import Literal

Shape = Literal["ints", "strings", "int", "maximum", "real", "bool", "text", "range"]
"""What a body leaves in ``r``; "maximum" is an int that may be missing, "range" has a hole."""

RANGE_HOLE = "RANGE"
"""Stands in a body's code where the range with its bounds belongs."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to print.

    Attributes:
        phrase: the words that state it.
        ending: the last lines of a program, which print ``r``.
        range_code: what fills the hole of a "range" body, "" elsewhere.
    """

    phrase: str
    ending: tuple[str, ...]
    range_code: str = ""


@dataclass(frozen=True, slots=True)
class Detail:
    """A choice of the output that applies to bodies of some shapes.

    Attributes:
        copied: whether the words of an output are the words of the program that prints it; other
            details take counting, comparing or sorting to read.
    """

    name: str
    shapes: tuple[Shape, ...]
    alternatives: tuple[Alternative, ...]
    copied: bool = False


def _separator(sep: str) -> Alternative:
    return Alternative(f"separated by '{sep}'", (f'print("{sep}".join(map(str, r)))',))


def _brackets(pair: str) -> Alternative:
    left, right = pair[0], pair[1]
    return Alternative(f"between '{left}' and '{right}'", (f'print("{left}", *r, "{right}")',))


def _order(phrase: str, line: str) -> Alternative:
    return Alternative(phrase, (*([line] if line else []), "print(*r)"))


def _label(label: str) -> Alternative:
    return Alternative(f"after the label '{label}'", (f'print("{label}", r)',))


def _unit(unit: str) -> Alternative:
    return Alternative(f"followed by '{unit}'", (f'print(r, "{unit}")',))


def _decimals(places: int) -> Alternative:
    return Alternative(f"with {places} decimals", (f'print("%.{places}f" % r)',))


def _words(yes: str, no: str) -> Alternative:
    return Alternative(f"as '{yes}' or '{no}'", (f'print("{yes}" if r else "{no}")',))


def _case(phrase: str, method: str) -> Alternative:
    return Alternative(phrase, (f"print(r{method})",))


def _missing(word: str) -> Alternative:
    return Alternative(f"or '{word}' if there is none", (f'print(max(r) if r else "{word}")',))


def _bounds(phrase: str, code: str) -> Alternative:
    return Alternative(phrase, ("print(*r)",), code)


DETAILS: tuple[Detail, ...] = (
    Detail("separator", ("ints", "strings"), tuple(map(_separator, ",;-|/:+#")), copied=True),
    Detail(
        "brackets",
        ("ints", "strings"),
        tuple(map(_brackets, ("[]", "()", "{}", "<>", "!!", "$$", "@@"))),
        copied=True,
    ),
    Detail(
        "order",
        ("ints",),
        (
            _order("in the order found", ""),
            _order("in reverse order", "r.reverse()"),
            _order("in ascending order", "r.sort()"),
            _order("in descending order", "r.sort(reverse=True)"),
            _order("ordered by last digit", "r.sort(key=lambda x: abs(x) % 10)"),
            _order("ordered by absolute value", "r.sort(key=abs)"),
        ),
    ),
    Detail(
        "label",
        ("int",),
        tuple(
            map(
                _label,
                ("Answer:", "Result:", "Total:", "Value:", "Output:", "Got:", "Found:", "It is"),
            )
        ),
        copied=True,
    ),
    Detail(
        "unit",
        ("int",),
        tuple(
            map(_unit, ("points", "items", "units", "coins", "steps", "marks", "euros", "meters"))
        ),
        copied=True,
    ),
    Detail("decimals", ("real",), tuple(map(_decimals, range(1, 8)))),
    Detail(
        "words",
        ("bool",),
        (
            _words("YES", "NO"),
            _words("Yes", "No"),
            _words("true", "false"),
            _words("Y", "N"),
            _words("T", "F"),
            _words("good", "bad"),
            _words("1", "0"),
            _words("ok", "fail"),
        ),
        copied=True,
    ),
    Detail(
        "case",
        ("text",),
        (
            _case("in upper case", ".upper()"),
            _case("in lower case", ".lower()"),
            _case("with every word capitalized", ".title()"),
            _case("with only the first letter capitalized", ".capitalize()"),
            _case("with upper and lower case swapped", ".swapcase()"),
            _case("in the case it has", ""),
        ),
    ),
    Detail(
        "missing",
        ("maximum",),
        tuple(
            map(_missing, ("none", "empty", "nothing", "NO", "error", "null", "missing", "zero"))
        ),
        copied=True,
    ),
    Detail(
        "bounds",
        ("range",),
        (
            _bounds("from a up to b, both included", "range(a, b + 1)"),
            _bounds("from a up to b, b not included", "range(a, b)"),
            _bounds("from a up to b, a not included", "range(a + 1, b + 1)"),
            _bounds("from a up to b, neither included", "range(a + 1, b)"),
            _bounds("from b down to a, both included", "range(b, a - 1, -1)"),
            _bounds("from b down to a, a not included", "range(b, a, -1)"),
            _bounds("from b down to a, b not included", "range(b - 1, a - 1, -1)"),
            _bounds("from b down to a, neither included", "range(b - 1, a, -1)"),
        ),
    ),
)


def details_for(shape: Shape) -> tuple[Detail, ...]:
    """Details that apply to a body of this shape (at least one)."""
    return tuple(detail for detail in DETAILS if shape in detail.shapes)
