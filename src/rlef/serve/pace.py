"""When a client asks again, and when it gives up."""

import random
import threading
import time
from collections.abc import Callable

from rlef.sandbox import SandboxError
from rlef.serve.endpoint import AgainError, Endpoint

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_SILENT_S = 10.0
"""After so long without an answer it is said what is waited for."""


class Pace:
    """How long to wait before it is tried again, and when to give up.

    Args:
        patience_s: Seconds of silence after which it is given up.
        closed: Ends the waiting.
        tell: Hears of a silence that lasts: (service, what broke, seconds).
    """

    def __init__(
        self,
        patience_s: float,
        closed: threading.Event,
        tell: Callable[[Endpoint, AgainError, float], None],
    ) -> None:
        self.failures = 0
        self._patience_s = patience_s
        self._closed = closed
        self._tell = tell
        self._since: float | None = None
        self._wait_s = _FIRST_WAIT_S

    def answered(self) -> None:
        """The service does answer."""
        self._since = None
        self._wait_s = _FIRST_WAIT_S

    def wait(self, endpoint: Endpoint, error: AgainError) -> None:
        """Waits.

        Raises:
            SandboxError: It has taken too long.
        """
        if error.at_once:
            return
        self.failures += 1
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        silent_s = now - self._since
        if silent_s > self._patience_s:
            raise SandboxError(
                f"the judge at {endpoint.name} has given no answer for {self._patience_s:g} s: "
                f"{error}"
            ) from None
        if silent_s > _SILENT_S:
            self._tell(endpoint, error, silent_s)
        seconds = error.retry_after_s or self._wait_s * random.uniform(0.5, 1.0)
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        self._closed.wait(min(seconds, _LONGEST_WAIT_S))
