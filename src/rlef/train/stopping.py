"""SIGTERM, by which Slurm and Kubernetes ask a run to stop: heard where stopping does no harm."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Terminated(KeyboardInterrupt):
    """The process was asked to stop."""


class Stopping:
    """Within it SIGTERM raises ``Terminated`` in the main thread: at once, or after ``held``.

    Attributes:
        asked: whether SIGTERM came. Ray makes any interruption of its calls a KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.asked = False
        self._held = 0
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
        if self.asked and kind is not None and issubclass(kind, KeyboardInterrupt):
            raise Terminated from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it nothing is raised: what is done is done to its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self.asked and not self._held:
            raise Terminated

    def _hear(self, _: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if not self._held and not again:
            raise Terminated
