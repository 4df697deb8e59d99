"""Comparison of what a program printed with what was expected. Bytes only, trusted side only.

A checker returns ``None`` where it accepts, else the first difference in a few words. Blank means
space, tab, newline, carriage return, vertical tab and form feed; any other byte is text.
"""

import json
import math
import re
from collections.abc import Callable

Checker = Callable[[bytes, bytes], str | None]
"""(expected, actual) -> ``None`` or the first difference."""

ALLOWED = "tokens, lines, exact, float, float(abs=1e-6,rel=1e-6)"

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FLOAT_SPEC = re.compile(r"float(?:\(([^()]*)\))?")
_SHOWN = 60


def make_checker(spec: str) -> Checker:
    """Returns the checker that a specification names.

    Example:
        >>> make_checker("float(abs=0.01)")(b"1.00 2", b"1.009 2")

    Args:
        spec: One of ``tokens``, ``lines``, ``exact``, ``float`` and
            ``float(abs=1e-6,rel=1e-6)`` (either tolerance may be left out and is 1e-6 then).

    Raises:
        ValueError: No such checker, or a tolerance that is not a number >= 0.
    """
    plain: dict[str, Checker] = {"tokens": _tokens, "lines": _lines, "exact": _exact}
    if spec in plain:
        return plain[spec]
    tolerances = _tolerances(spec)
    if tolerances is None:
        raise ValueError(f"unknown checker {spec!r}; allowed: {ALLOWED}")
    absolute, relative = tolerances
    return lambda expected, actual: _compare_sequences(
        "token",
        expected.split(),
        actual.split(),
        lambda want, got: _same_number(want, got, absolute, relative),
    )


def make_json_checker(spec: str) -> Checker:
    """Returns the comparison of two JSON texts for ``mode="function"``.

    Types must be equal too (``1``, ``1.0`` and ``true`` differ), except that with a ``float``
    checker an expected float is met by any number within the tolerance.

    Raises:
        ValueError: No such checker.
    """
    make_checker(spec)
    tolerances = _tolerances(spec)

    def check(expected: bytes, actual: bytes) -> str | None:
        try:
            same = _same_value(json.loads(expected), json.loads(actual), tolerances)
        except (ValueError, RecursionError):
            same = False
        return None if same else f"expected {_show(expected.strip())}, got {_show(actual)}"

    return check


def _tolerances(spec: str) -> tuple[float, float] | None:
    match = _FLOAT_SPEC.fullmatch(spec)
    if match is None:
        return None
    values = {"abs": 1e-6, "rel": 1e-6}
    for part in (match[1] or "").split(",") if match[1] else ():
        name, _, text = part.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if name.strip() not in values or not 0 <= value < math.inf:
            raise ValueError(f"wrong part {part.strip()!r} in checker {spec!r}; allowed: {ALLOWED}")
        values[name.strip()] = value
    return values["abs"], values["rel"]


def _tokens(expected: bytes, actual: bytes) -> str | None:
    want, got = expected.split(), actual.split()
    return None if want == got else _compare_sequences("token", want, got, bytes.__eq__)


def _lines(expected: bytes, actual: bytes) -> str | None:
    want, got = _rows(expected), _rows(actual)
    return None if want == got else _compare_sequences("line", want, got, bytes.__eq__)


def _rows(text: bytes) -> list[bytes]:
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


def _exact(expected: bytes, actual: bytes) -> str | None:
    if expected == actual:
        return None
    pairs = enumerate(zip(expected, actual, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(actual)))
    want, got = expected[at : at + _SHOWN], actual[at : at + _SHOWN]
    return f"byte {at + 1}: expected {_show(want)}, got {_show(got)}"


def _compare_sequences(
    unit: str, want: list[bytes], got: list[bytes], same: Callable[[bytes, bytes], bool]
) -> str | None:
    for number, (expected, actual) in enumerate(zip(want, got, strict=False), start=1):
        if not same(expected, actual):
            return f"{unit} {number}: expected {_show(expected)}, got {_show(actual)}"
    shared = min(len(want), len(got))
    if len(want) > shared:
        return f"{unit} {shared + 1}: expected {_show(want[shared])}, got the end of the output"
    if len(got) > shared:
        return f"{unit} {shared + 1}: expected the end of the output, got {_show(got[shared])}"
    return None


def _same_number(want: bytes, got: bytes, absolute: float, relative: float) -> bool:
    if want == got:
        return True
    if not _NUMBER.fullmatch(want) or not _NUMBER.fullmatch(got):
        return False
    if not re.search(rb"[.eE]", want):  # an expected integer: equal as an integer of any length
        return got.lstrip(b"+") == want.lstrip(b"+")
    return _close(float(want), float(got), absolute, relative)


def _close(want: float, got: float, absolute: float, relative: float) -> bool:
    """|a - b| <= max(abs, rel * |b|), never for infinities."""
    if math.isinf(want) or math.isinf(got):
        return False
    return abs(want - got) <= max(absolute, relative * abs(want))


def _same_value(want: object, got: object, tolerances: tuple[float, float] | None) -> bool:
    if tolerances is not None and type(want) is float and type(got) in (int, float):
        try:
            return _close(want, float(got), *tolerances)  # type: ignore[arg-type]
        except OverflowError:
            return False
    if type(want) is not type(got):
        return False
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(
            _same_value(a, b, tolerances) for a, b in zip(want, got, strict=True)
        )
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(
            _same_value(value, got[key], tolerances) for key, value in want.items()
        )
    return want == got


def _show(text: bytes) -> str:
    shown = text.decode("utf-8", "backslashreplace")
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")
