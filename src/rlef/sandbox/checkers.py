"""Comparison of what a program printed with what was expected. Bytes only, trusted side only.

A checker returns ``None`` where it accepts, else the first difference as one printable line. Blank
means space, tab, newline, carriage return, vertical tab and form feed; any other byte is text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from rlef.sandbox.checker_json import compare_json
from rlef.sandbox.checker_modes import MODES
from rlef.sandbox.checker_numbers import NUMBER, Tolerance
from rlef.sandbox.checker_text import (
    AllSame,
    Checker,
    counts_words,
    first_difference,
    lines,
    pair_words,
    shared_start,
    show_pair,
    token_words,
    tokens,
)

_FUNCTION = "tokens, lines, exact, float, float(abs=1e-6,rel=1e-6)"
ALLOWED = f"{_FUNCTION}, case-blind, unordered-lines, sorted-tokens, set, {', '.join(MODES)}"

_FLOAT_SPEC = re.compile(r"float(?:\(([^()]*)\))?")


def make_checker(spec: str) -> Checker:
    """Returns the checker that a specification names.

    * ``tokens``: the same tokens between blanks, byte for byte.
    * ``lines``: the same lines, without blanks at the ends of lines and empty lines at the end.
    * ``exact``: the same bytes.
    * ``float`` or ``float(abs=1e-6,rel=1e-6)`` (either tolerance may be left out and is 1e-6 then):
      as ``tokens``, but two decimal numbers of which at least one has a point or an exponent meet
      with a distance of at most max(abs, rel * |expected|). Neither may be beyond the largest
      double. The formula is decided exactly, not in doubles. Two integers meet by the same digits
      only; just a leading plus does not count, so ``7`` is met by ``+7`` and ``7.0`` but not by
      ``07``, and ``0`` not by ``-0``.
    * ``case-blind``: as ``tokens``, but ASCII letters of either case are the same.
    * ``unordered-lines``: the same lines, each as often, in any order; blanks at the ends of lines
      and all empty lines are left out.
    * ``sorted-tokens``: the same tokens, each as often, in any order.
    * ``set``: the same tokens in any order, however often.
    * ``any``: whatever is printed, for programs that are run to see what they print. No problem may
      name it: every program that ends would solve it.
    * ``compat:lcb``, ``compat:code_contests``, ``compat:apps``: the rules of those data sets'
      own scripts, for reproducing published numbers only; see ``checker_modes``.

    Example:
        >>> make_checker("float(abs=0.01)")(b"1.00 2", b"1.009 2")

    Args:
        spec: One of the above.

    Raises:
        ValueError: No such checker, or a tolerance that is not a number >= 0.
    """
    if spec in _PLAIN:
        return _PLAIN[spec]
    tolerance = _tolerance(spec)
    if tolerance is None:
        raise ValueError(f"unknown checker {spec!r}; allowed: {ALLOWED}")
    return _unless_equal(_token_checker(tolerance.all_same))


@dataclass(frozen=True)
class FunctionRules:
    """What counts as equal between a value that a function returned and the expected one."""

    tolerance: Tolerance | None = None
    """How far two numbers may be apart unless both are integers; ``None`` means equal."""
    any_order: bool = False
    """Whether the order of the outermost list is free, where JSON is expected."""
    loose: bool = False
    """Whether JSON is compared as Python's ``==`` does: true is 1 then."""
    unwrap: bool = False
    """Whether an expected list of one item is also met by the item, where JSON is expected."""


_FUNCTION_RULES = {
    "tokens": FunctionRules(),
    "lines": FunctionRules(),
    "exact": FunctionRules(),
    "unordered-lines": FunctionRules(any_order=True),
    "compat:lcb-call": FunctionRules(loose=True),
    "compat:apps-call": FunctionRules(loose=True, unwrap=True),
}


def function_rules(spec: str) -> FunctionRules:
    """What a checker means for the value that a function returns.

    Numbers that are equal are equal, whatever their types (``1`` is ``1.0``, exactly), but ``true``
    is no number. With a ``float`` checker two numbers of which at least one is a float may differ
    by the tolerance. ``tokens``,
    ``lines`` and ``exact`` all mean this comparison of values. With ``unordered-lines`` the items
    of a returned list may stand in any order, as if each were printed on a line; lists inside of
    it keep theirs. ``compat:lcb-call`` and ``compat:apps-call``, the rules of LiveCodeBench and
    APPS for functions, compare as Python's ``==`` does, tuples as lists; with the latter an
    expected list of one item is also met by the item.

    Args:
        spec: One of these. All other checkers say how printed text is cut up, which a returned
            value is not.

    Raises:
        ValueError: No such checker, or one for text only.
    """
    if spec in _FUNCTION_RULES:
        return _FUNCTION_RULES[spec]
    make_checker(spec)
    tolerance = _tolerance(spec)
    if tolerance is None:
        allowed = f"{_FUNCTION}, unordered-lines, compat:lcb-call, compat:apps-call"
        raise ValueError(f"checker {spec!r} is for printed text; allowed in functions: {allowed}")
    return FunctionRules(tolerance=tolerance)


def make_json_checker(spec: str) -> Checker:
    """Returns the comparison of two JSON texts for ``mode="function"``, see ``function_rules``.

    NaN, infinities, keys that stand twice and broken JSON are never accepted.

    Raises:
        ValueError: No such checker, or one for text only.
    """
    rules = function_rules(spec)
    return lambda expected, actual: compare_json(expected, actual, rules.tolerance, rules.any_order)


def _tolerance(spec: str) -> Tolerance | None:
    match = _FLOAT_SPEC.fullmatch(spec)
    if match is None:
        return None
    values = {"abs": Decimal("1e-6"), "rel": Decimal("1e-6")}
    for part in (match[1] or "").split(",") if match[1] else ():
        name, _, number = part.partition("=")
        number = number.strip()
        if name.strip() not in values or not _is_tolerance(number):
            raise ValueError(f"wrong part {part.strip()!r} in checker {spec!r}; allowed: {ALLOWED}")
        values[name.strip()] = Decimal(number)
    return Tolerance(values["abs"], values["rel"])


def _is_tolerance(number: str) -> bool:
    right = NUMBER.fullmatch(number.encode("utf-8", "replace")) is not None
    return right and 0 <= float(number) < float("inf")


def _unless_equal(compare: Checker) -> Checker:
    """Most answers are right to the byte: those need no further look."""
    return lambda expected, actual: None if expected == actual else compare(expected, actual)


def _token_checker(all_same: AllSame, fold: Callable[[bytes], bytes] = bytes) -> Checker:
    def check(expected: bytes, actual: bytes) -> str | None:
        found = first_difference(tokens(expected), tokens(actual), all_same)
        return token_words(found, actual, fold)

    return check


def _same_but_case(want: list[bytes], got: list[bytes]) -> bool:
    return b" ".join(want).lower() == b" ".join(got).lower()


def _lines(expected: bytes, actual: bytes) -> str | None:
    found = first_difference(lines(expected), lines(actual), list.__eq__)
    return pair_words("line", found) if found else None


def _exact(expected: bytes, actual: bytes) -> str | None:
    at = shared_start(expected, actual)
    line = actual.count(b"\n", 0, at) + 1
    place = f" (line {line})" if line > 1 else ""
    want, got = show_pair(expected[at : at + 99], actual[at : at + 99], 0)
    return f"byte {at + 1}{place}: expected {want}, got {got}"


def _unordered_lines(expected: bytes, actual: bytes) -> str | None:
    return counts_words("line", filter(None, lines(expected)), filter(None, lines(actual)))


def _sorted_tokens(expected: bytes, actual: bytes) -> str | None:
    return counts_words("token", tokens(expected), tokens(actual))


def _set(expected: bytes, actual: bytes) -> str | None:
    want, got = dict.fromkeys(tokens(expected)), dict.fromkeys(tokens(actual))
    return counts_words("token", list(want), list(got))


_COMPARISONS: dict[str, Checker] = {
    "tokens": _token_checker(list.__eq__),
    "lines": _lines,
    "exact": _exact,
    "case-blind": _token_checker(_same_but_case, bytes.lower),
    "unordered-lines": _unordered_lines,
    "sorted-tokens": _sorted_tokens,
    "set": _set,
}
# Some compatibility modes refuse even what is equal.
_PLAIN = {name: _unless_equal(compare) for name, compare in _COMPARISONS.items()} | MODES
_PLAIN |= {"any": lambda _expected, _actual: None}
