"""Who may ask: token and Host, before anything of a body is read."""

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlef.serve.answers import answered
from rlef.serve.metrics import Metrics
from rlef.serve.network import host_of, is_loopback

OPEN = ("/health", "/ready")
"""For whoever starts and watches the service, without a token."""
_LOGIN = {"WWW-Authenticate": 'Bearer realm="rlef"'}


class Gate:
    """Refuses callers who do not know the token, and pages of other sites; counts answers.

    Without a token the service is for this machine only. A browser on it must not be led here by
    a page of another site, whose host name may be made to mean this machine (DNS rebinding).

    Args:
        app: Answers the rest.
        token: What callers must know; ``None``: nothing, but a Host of this machine.
        metrics: Get the answers.
        paths: That are counted by their names.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, metrics: Metrics, paths: frozenset[str]
    ) -> None:
        self._app = app
        self._token = token
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        counted = path if path in self._paths else "other"

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests[counted, message["status"]] += 1
            await send(message)

        refused = None if path in OPEN else self._refusal(Headers(scope=scope))
        await (refused or self._app)(scope, receive, send_counted)

    def _refusal(self, headers: Headers) -> Response | None:
        if self._token is not None:
            given = token_of(headers.get("authorization", ""))
            if hmac.compare_digest(given.encode(), self._token.encode()):
                return None
            why = "the token is needed, as Authorization: Bearer, or as a password in the URL"
            return answered({"error": why, "detail": why, "message": why}, 401, _LOGIN)
        if not is_loopback(host_name(headers)):
            why = "this host name is not this machine's own; allowed: localhost, 127.0.0.1"
            return answered({"error": why, "detail": why, "message": why}, 403)
        return None


def host_name(headers: Headers) -> str:
    """The name in the header ``Host``; of a client so old that it sends none: this machine."""
    given = headers.get("host")
    return "localhost" if given is None else host_of(given)


def token_of(authorization: str) -> str:
    """The token in a header: of ``Bearer``, or the password of ``Basic``; empty if there is none.

    Clients that take nothing but a URL send ``Basic`` for http://rlef:TOKEN@HOST.
    """
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
