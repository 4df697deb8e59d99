"""Integers of many digits: CPython refuses to read or write them as text, data sets hold them."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_DIGITS = 100_000
"""Digits of an integer in a data set. Reading takes time that grows with the square: 0.1 s here,
ten seconds for a million, and a file may hold many."""


class _LimitOfDigits:
    """The interpreter's limit, which belongs to the whole process: raised while anyone needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

    def raise_(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = sys.get_int_max_str_digits()
                if 0 < self._before < MOST_DIGITS:
                    sys.set_int_max_str_digits(MOST_DIGITS)
            self._users += 1

    def restore(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.set_int_max_str_digits(self._before)


_LIMIT = _LimitOfDigits()


@contextmanager
def long_integers() -> Iterator[None]:
    """Lets integers of up to ``MOST_DIGITS`` digits be read and written inside the block.

    A higher limit that the user has set is kept.
    """
    _LIMIT.raise_()
    try:
        yield
    finally:
        _LIMIT.restore()
