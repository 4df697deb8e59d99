"""How long an engine has worked."""

import threading
import time


class BusyClock:
    """Adds up the seconds in which one block or more under ``with`` runs, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._since = 0.0
        self._total = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._running:
                self._since = time.perf_counter()
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._total += time.perf_counter() - self._since

    @property
    def seconds(self) -> float:
        """So far, what runs now included."""
        with self._lock:
            now = time.perf_counter() - self._since if self._running else 0.0
            return self._total + now
