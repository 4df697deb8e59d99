"""Who may ask: checks of Host, Origin and token, and the headers of every answer.

A page of another site must not read what is shown here. Its requests have its own Origin; one whose
name was made to lead here (DNS rebinding) has that name as Host.
"""

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response

from rlef.serve.network import LOOPBACK, host_of, is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "rlef-view"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what does not come from the viewer's own pages.

    Args:
        app: Answers the rest.
        host: The address that it listens at.
        port: Its port: cookies are shared by all ports of a host.
        token: What readers must know; ``None``: nothing.
    """

    def __init__(self, app: "ASGIApp", host: str, port: int, token: str | None) -> None:
        self._app = app
        self._hosts = set(_names(host))
        self._any_address = not is_loopback(host)
        self._cookie = f"{_COOKIE}-{port}"
        self._token = token

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refusal(scope)
        await (refused or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: "Scope") -> Response | None:
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return _refused(405, "nothing can be changed here; allowed: GET")
        host = host_of(headers.get("host", ""))
        if not self._knows(host):
            return _refused(403, "this host name is not the viewer's")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != headers.get("host"):
            return _refused(403, "requests of other sites are refused")
        is_page = headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_page:
            return _refused(403, "requests of other sites are refused")
        return None if self._token is None else self._without_token(scope, headers, self._token)

    def _knows(self, host: str) -> bool:
        if host in self._hosts:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True  # an address is no name that could be made to lead elsewhere

    def _without_token(self, scope: "Scope", headers: Headers, token: str) -> Response | None:
        words = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in words if name == "token"), None)
        if given is not None and hmac.compare_digest(given.encode(), token.encode()):
            rest = urlencode([(name, value) for name, value in words if name != "token"])
            path = "/" + scope["path"].lstrip("/\\")  # never "//host"
            answer = RedirectResponse(path + ("?" + rest if rest else ""), 303)
            answer.set_cookie(
                self._cookie, token, httponly=True, samesite="strict", path="/", max_age=None
            )
            return answer
        if hmac.compare_digest(_cookie(headers, self._cookie).encode(), token.encode()):
            return None
        return _refused(401, "the link with the token is needed; rlef view printed it")


def _names(host: str) -> Iterable[str]:
    yield from LOOPBACK
    yield host.lower()
    if not is_loopback(host):
        yield socket.gethostname().lower()
        yield socket.getfqdn().lower()


def _netloc(origin: str) -> str:
    """Name and port in a header ``Origin``."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
