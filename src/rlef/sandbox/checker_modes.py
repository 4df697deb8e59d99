"""Named compatibility modes: the comparison rules of published data sets, oddities included.

They are off unless named, and serve only to reproduce published numbers: ``compat:lcb`` is
LiveCodeBench's for programs that print, ``compat:code_contests`` DeepMind's tester, ``compat:apps``
the cascade of APPS as PRIME and verl have it. Those that decode text read UTF-8 and keep other
bytes as they are.
"""

import math
import re
from decimal import Decimal, InvalidOperation

from rlef.sandbox.checker_numbers import NUMBER
from rlef.sandbox.checker_text import Checker, first_difference, lines, pair_words

_TO_SPACE = bytes.maketrans(b"\n\t\r\v", b"    ")
# Tokens that even an equal token may not meet: they parse as nan or infinity, or may do so.
_PERHAPS_NOT_FINITE = re.compile(rb"(?:^| )\f*+[+-]?(?:nan|inf|[0-9.]{300}|[0-9.]++e)")
_NAN = re.compile(rb"[+-]?nan(?:\([0-9a-z_]*\))?")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def lcb(expected: bytes, actual: bytes) -> str | None:
    """LiveCodeBench: stripped lines are equal, or their tokens are as decimals (1.0 is 1)."""
    want, got = _stripped_lines(expected), _stripped_lines(actual)
    found = first_difference(iter(want), iter(got), _same_decimals)
    return pair_words("line", found) if found else None


def _stripped_lines(raw: bytes) -> list[bytes]:
    return [_raw(line.strip()) for line in _text(raw).strip().split("\n")]


def _same_decimals(want: list[bytes], got: list[bytes]) -> bool:
    pairs = [(a, b) for a, b in zip(want, got, strict=True) if a != b]
    expected, actual = [_text(a) for a, _ in pairs], [_text(b) for _, b in pairs]
    if _lengths(expected) != _lengths(actual):
        return False
    try:
        return _decimals(expected) == _decimals(actual)
    except InvalidOperation:  # no number, or a signalling nan
        return False


def _lengths(rows: list[str]) -> list[int]:
    return [len(row.split()) for row in rows]


def _decimals(rows: list[str]) -> list[Decimal]:
    return list(map(Decimal, "\n".join(rows).split()))


def code_contests(expected: bytes, actual: bytes) -> str | None:
    r"""DeepMind's tester: tokens in lower case, equal or doubles less than 1e-5 apart.

    A form feed is no blank, integers are compared as doubles, and a token that parses as nan or as
    infinity meets nothing, itself included.
    """
    want, got = _split(expected), _split(actual)
    found = first_difference(iter(want), iter(got), _same_doubles)
    return pair_words("token", found, fold=bytes.lower) if found else None


def _split(raw: bytes) -> list[bytes]:
    return list(filter(None, raw.translate(_TO_SPACE).split(b" ")))


def _same_doubles(want: list[bytes], got: list[bytes]) -> bool:
    expected, actual = b" ".join(want).lower(), b" ".join(got).lower()
    if expected == actual and not _PERHAPS_NOT_FINITE.search(expected):
        return True
    return all(map(_same_double, expected.split(b" "), actual.split(b" ")))


def _same_double(want: bytes, got: bytes) -> bool:
    expected = _double(want)
    actual = expected if want == got else _double(got)
    if expected is None or actual is None:
        return want == got
    return abs(expected - actual) < 1e-5


def _double(token: bytes) -> float | None:
    token = token.strip(b"\f")
    if NUMBER.fullmatch(token):
        return float(token)
    if _NAN.fullmatch(token):
        return math.nan
    return math.inf if token.lstrip(b"+-") in (b"inf", b"infinity") else None


def apps(expected: bytes, actual: bytes) -> str | None:
    """APPS as PRIME has it: stripped lines are equal, or whole lines are close as numbers.

    Close means |a - b| <= 1e-8 + 1e-5 * |expected|, unless each line on both sides is digits only.
    """
    text, rows = _text(expected), _text(actual).splitlines()
    if _same_stripped(text, rows) or _same_rows(text, rows):
        return None
    want, got = _stripped_lines(expected), [_raw(row.strip()) for row in rows]
    found = first_difference(iter(want), iter(got), list.__eq__)
    found = found or first_difference(lines(expected), lines(actual), list.__eq__)
    return pair_words("line", found) if found else "blanks at the ends of lines differ"


def _same_stripped(text: str, rows: list[str]) -> bool:
    wanted = text.strip()
    return wanted in ("\n".join(rows).strip(), "\n".join(row.strip() for row in rows).strip())


def _same_rows(text: str, rows: list[str]) -> bool:
    wanted = [row.strip() for row in text.split("\n") if row]
    kept = [row for row in rows if row]
    return rows == wanted or kept == wanted or _close_rows(wanted, kept)


def _close_rows(want: list[str], got: list[str]) -> bool:
    if len(want) != len(got) or all(map(str.isdigit, want + got)):
        return False
    try:
        return all(map(_close, map(float, want), map(float, got)))
    except ValueError:
        return False


def _close(want: float, got: float) -> bool:
    if math.isinf(want) or math.isinf(got):
        return want == got
    return abs(got - want) <= 1e-8 + 1e-5 * abs(want)


MODES: dict[str, Checker] = {
    "compat:lcb": lcb,
    "compat:code_contests": code_contests,
    "compat:apps": apps,
}
"""The modes by name."""
