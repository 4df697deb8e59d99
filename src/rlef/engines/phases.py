"""Which phase of its work a thread is in, so that one that hangs can be named."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from rlef.engines.types import EngineError

_T = TypeVar("_T")


class Phases:
    """Of a thread that works, for another that waits for it.

    Args:
        who: Works, as an error names it.
        timeout_s: A phase that takes longer hangs.
    """

    def __init__(self, who: str, timeout_s: float) -> None:
        self._who, self._timeout_s = who, timeout_s
        self._now: tuple[str, float] | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase of the thread that works."""
        self._now = name, time.monotonic()
        try:
            yield
        finally:
            self._now = None

    def wait(self, work: "Future[_T]") -> _T:
        """Returns the result of work, however long it takes in all.

        Raises:
            EngineError: The phase that runs now takes too long.
        """
        while True:
            now = self._now
            ends = time.monotonic() + self._timeout_s if now is None else now[1] + self._timeout_s
            try:
                return work.result(max(ends - time.monotonic(), 0.01))
            except TimeoutError:
                if work.done():
                    raise
            if now is not None and self._now is now:
                raise EngineError(
                    f"{self._who} hangs: {now[0]} has taken more than {self._timeout_s:g} s"
                )
