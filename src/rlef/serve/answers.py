"""From requests to work to answers: bodies within bounds, and every way to fail as one line."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rlef.sandbox import SandboxError
from rlef.serve.errors import (
    BusyError,
    NotJudgedError,
    RefusedError,
    StoppingError,
)
from rlef.serve.schema import json_bytes
from rlef.serve.service import JudgeService
from rlef.serve.settings import ServeSettings

_RETRY_S = 5
_MOST_SHOWN = 1000
_GONE = 499
"""What nobody reads: the status of requests whose caller has gone away, as nginx counts them."""
Work = Callable[[Request, Any], Awaitable[Response]]
"""(request, JSON of its body) -> answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a protocol says that something went wrong.

    Attributes:
        error: makes the body of a refusal.
        busy: status when the queue is full: one after which its clients try again.
        stopping: status while the service ends.
        late: status when the deadline has passed.
        unable: status where this machine cannot judge what is asked for.
        invalid: status where the request is wrong; ``None``: as it comes, mostly 422.
    """

    error: Callable[[str], Any]
    busy: int = 429
    stopping: int = 503
    late: int = 504
    unable: int = 501
    invalid: int | None = None


class Desk:
    """Takes requests of one service, and holds no more of them than fits.

    Args:
        service: Judges.
        settings: Its limits.

    Attributes:
        held: bytes of the requests that have not been answered.
    """

    def __init__(self, service: JudgeService, settings: ServeSettings) -> None:
        self.service = service
        self.settings = settings
        self.held = 0

    def post(self, work: Work, manners: Manners) -> Callable[[Request], Awaitable[ASGIApp]]:
        """Returns the endpoint that does some work with the JSON of a body."""

        async def answer(request: Request) -> ASGIApp:
            with ExitStack() as until_done:
                hold = _Hold(self)
                until_done.callback(hold.release)
                try:
                    if self.service.stopping:
                        raise StoppingError("the service is stopping")
                    response = await work(request, parse_json(await self._body(request, hold)))
                except Exception as error:  # the outermost frame
                    return failed(error, manners)
                except asyncio.CancelledError:
                    if not self.service.stopping:
                        raise
                    return failed(StoppingError("the service has stopped"), manners)
                if isinstance(response, StreamingResponse):  # its work has only begun
                    return _sent_within(response, until_done.pop_all())
                return response

        return answer

    async def _body(self, request: Request, hold: "_Hold") -> bytes:
        """Reads a body.

        Raises:
            BusyError: There is no room for it.
            RefusedError: It is not JSON by its name, too long, or takes too long.
            ClientDisconnect: Whoever asked is gone.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError(415, f"content-type is {kind[:80]!r}; allowed: application/json")
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":
            raise RefusedError(415, f"content-encoding is {coding[:80]!r}; allowed: none")
        most = self.settings.max_body
        too_long = RefusedError(413, f"the body is longer than {self.settings.max_body_mb:g} MB")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise too_long
        data = bytearray()
        try:
            async with asyncio.timeout(self.settings.body_s):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > most:
                        raise too_long
                    hold.add(len(chunk))
        except TimeoutError:
            seconds = self.settings.body_s
            raise RefusedError(408, f"the body did not arrive in {seconds:g} s") from None
        return bytes(data)


class _Hold:
    """What a request takes of the memory that all of them have."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._bytes = 0

    def add(self, count: int) -> None:
        """Takes more; raises BusyError if there is none."""
        if self._desk.held + count > self._desk.settings.max_held:
            raise BusyError(_RETRY_S)
        self._desk.held += count
        self._bytes += count

    def release(self) -> None:
        """Gives all of it back."""
        self._desk.held -= self._bytes
        self._bytes = 0


def _sent_within(response: Response, until_done: ExitStack) -> ASGIApp:
    async def send_all(scope: Scope, receive: Receive, send: Send) -> None:
        with until_done:
            await response(scope, receive, send)

    return send_all


def parse_json(data: bytes) -> Any:
    """Reads JSON; also with halves of surrogate pairs, which programs of models may have.

    Raises:
        RefusedError: 400 or 422, in one line.
    """
    try:
        return json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise RefusedError(400, "the body is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"the body is not UTF-8: {error.reason}") from None
    except ValueError as error:
        raise RefusedError(400, f"the body is not JSON: {str(error)[:200]}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def failed(error: Exception, manners: Manners) -> Response:
    """Returns the answer where work failed.

    Raises:
        Exception: It is a fault of ours, and ``RLEF_TRACEBACK=1``.
    """
    match error:
        case RefusedError():
            status = error.status
            status = manners.invalid or status if status in (400, 422) else status
            return answered(manners.error(_shown(str(error))), status, error.headers)
        case BusyError():
            wait = {"Retry-After": str(error.retry_after_s)}
            return answered(manners.error(str(error)), manners.busy, wait)
        case StoppingError():
            wait = {"Retry-After": str(_RETRY_S), "Connection": "close"}
            return answered(manners.error(str(error)), manners.stopping, wait)
        case NotJudgedError():
            return answered(manners.error(f"not judged: {error}"), manners.late)
        case SandboxError():
            return answered(manners.error(str(error)), manners.unable)
        case ClientDisconnect():
            return answered(manners.error("the body did not arrive"), _GONE)
    if os.environ.get("RLEF_TRACEBACK") == "1":
        raise error
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return answered(manners.error(f"{what} (RLEF_TRACEBACK=1 shows where)"), 500)


def _shown(line: str) -> str:
    """The line, without the middle of a name that is longer than any."""
    half = _MOST_SHOWN // 2
    return line if len(line) <= _MOST_SHOWN else f"{line[:half]} ... {line[-half:]}"


def answered(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns an answer in JSON."""
    return Response(json_bytes(value), status, headers, media_type="application/json")
