"""Numbers within a tolerance: decided exactly, in linear time, for tokens of any length."""

import math
import re
from decimal import Context, Decimal
from itertools import compress

_NUMBER = rb"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
NUMBER = re.compile(_NUMBER)
"""A decimal number in ASCII: no nan, no inf, no underscore, no hexadecimal."""

_NUMBERS = re.compile(rb"(?:" + _NUMBER + rb" )*+")
# Doubles decide unless the tolerance is nearer than their rounding; these contexts decide the rest.
# Digits below 1e-3000 are rounded, so that a short token such as 1e-999999 needs no long number.
_READ = Context(prec=2000, Emin=-1000, Emax=400, traps=[])
_EXACT = Context(prec=8000, Emin=-999999, Emax=999999, traps=[])


class Tolerance:
    """Accepts b for the expected a where |a - b| <= max(absolute, relative * |a|)."""

    def __init__(self, absolute: Decimal, relative: Decimal) -> None:
        self._absolute, self._relative = absolute, relative
        self._margins = float(absolute) * (1 - 1e-15), float(relative) * (1 - 1e-15)

    def all_same(self, want: list[bytes], got: list[bytes]) -> bool:
        """Whether each token is met: the same bytes, the same integer, or near enough."""
        pairs = [(a, b) for a, b in zip(want, got, strict=True) if a != b]
        if not pairs:
            return True
        expected, actual = map(list, zip(*pairs, strict=True))
        if not all(_NUMBERS.fullmatch(b" ".join(side) + b" ") for side in (expected, actual)):
            return False
        whole = [_is_whole(a) and _is_whole(b) for a, b in pairs]
        if not any(whole):
            return self._all_close(expected, actual)
        broken = [pair for pair, both in zip(pairs, whole, strict=True) if not both]
        integers = compress(pairs, whole)
        return all(a.lstrip(b"+") == b.lstrip(b"+") for a, b in integers) and self._all_close(
            [a for a, _ in broken], [b for _, b in broken]
        )

    def _all_close(self, want: list[bytes], got: list[bytes]) -> bool:
        close = map(self._surely_close, map(float, want), map(float, got))
        doubtful = [(a, b) for a, b, sure in zip(want, got, close, strict=True) if not sure]
        return all(self._close(a.decode(), b.decode()) for a, b in doubtful)

    def close_values(self, want: int | float, got: int | float) -> bool:
        """The formula for exact integers and the shortest decimals that read as these doubles.

        Two integers are not close: they are equal or they are not.
        """
        if isinstance(want, int) and isinstance(got, int):
            return False
        try:
            one, other = float(want), float(got)
        except OverflowError:
            return False
        if not math.isfinite(one) or not math.isfinite(other):
            return False
        return self._surely_close(one, other) or self._close(repr(want), repr(got))

    def _surely_close(self, a: float, b: float) -> bool:
        size, (absolute, relative) = abs(a), self._margins
        allowed = relative * size
        if allowed < absolute:
            allowed = absolute
        return abs(a - b) < allowed - (size + abs(b)) * 4e-16

    def _close(self, want: str, got: str) -> bool:
        """The formula, exactly; never where a number is beyond the largest double."""
        if math.isinf(float(want)) or math.isinf(float(got)):
            return False
        a, b = _READ.create_decimal(want), _READ.create_decimal(got)
        distance = _EXACT.abs(_EXACT.subtract(a, b))
        if distance <= self._absolute:
            return True
        return distance <= _EXACT.multiply(self._relative, _EXACT.abs(a))


def _is_whole(token: bytes) -> bool:
    return not (b"." in token or b"e" in token or b"E" in token)
