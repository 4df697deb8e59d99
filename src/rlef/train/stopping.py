"""SIGTERM, by which Slurm and Kubernetes ask a run to stop: heard where stopping does no harm."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class Stopping:
    """Within it SIGTERM interrupts the main thread as Ctrl-C does: at once, or after ``held``.

    Whoever handled it before is called then, as ``rlef`` does to know its exit status; so are they
    who ignore it.

    Attributes:
        asked: whether SIGTERM came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._held = 0
        self._before: Any = None

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread() and before != signal.SIG_IGN:
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None and signal.getsignal(signal.SIGTERM) == self._hear:
            signal.signal(signal.SIGTERM, self._before)
        self._before = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it nothing is raised: what is done is done to its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self.heed()

    def heed(self) -> None:
        """Stops where SIGTERM came and something was held: an error may have come between."""
        if self.asked and not self._held:
            self._stop()

    def _hear(self, *_: object) -> None:
        again, self.asked = self.asked, True
        if not self._held and not again:
            self._stop()

    def _stop(self) -> None:
        if callable(self._before):
            self._before(signal.SIGTERM, None)
        raise KeyboardInterrupt
