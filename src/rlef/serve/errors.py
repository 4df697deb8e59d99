"""Why a program was not judged, or a request not taken."""

from collections.abc import Mapping


class NotJudgedError(Exception):
    """Nothing is known of the program; the text says why."""


class BusyError(Exception):
    """The queue is full.

    Attributes:
        retry_after_s: When it is worth asking again, in whole seconds.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the queue is full")
        self.retry_after_s = retry_after_s


class StoppingError(Exception):
    """The service ends and takes no more."""


class RefusedError(Exception):
    """A request that cannot be taken as it is.

    Attributes:
        status: HTTP status.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = dict(headers or {})
