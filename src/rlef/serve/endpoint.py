"""One service as its client sees it: connections that are kept, answers by status."""

import http.client
import json
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from rlef.sandbox import SandboxError
from rlef.serve.settings import check_token

_ALLOWED = "allowed: such as http://HOST:8410"
_REFUSED = (400, 413, 415, 422)
_NOT_OURS = (200, 301, 302, 303, 307, 308, 404, 405)
"""With what else than an answer of ours: whatever is there, it is no ``rlef serve``."""
_SHOWN = 300
_CONNECT_S = 10.0
_DOWN_S = 5.0
_SILENCE = {
    **{"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3},  # seconds, seconds, times
    **{"TCP_USER_TIMEOUT": 60_000},  # milliseconds
}
"""A machine that is gone without a word is noticed after a minute, not after the longest answer."""


class AgainError(Exception):
    """Something broke on the way; what was asked for may be asked again.

    Attributes:
        retry_after_s: When, as the service says; 0: it does not.
        at_once: Whether a kept connection had ended, which says nothing of the service.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0, *, at_once: bool = False) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.at_once = at_once


class TooLongError(SandboxError):
    """The service takes no request so long."""


def check_urls(urls: str) -> list[str]:
    """Returns the addresses in a text that has commas between them.

    Raises:
        ValueError: One is none, or there is none.
    """
    found = [url.strip() for url in urls.split(",") if url.strip()]
    if not found:
        raise ValueError(f"the judge's URL is empty; {_ALLOWED}")
    for url in found:
        if not _is_url(url):
            shown = re.sub(r"//.*@", "//...@", url)  # may have a password
            raise ValueError(f"the judge's URL is {shown!r}; {_ALLOWED}")
        check_token(unquote(urlsplit(url).password or ""))
    return found


def _is_url(url: str) -> bool:
    """Whether it is the address of a service: no query, nothing that a request cannot carry."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        has_port
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.path.isascii()
        and not re.search(r"[\x00-\x20\x7f?#]", url)
    )


class Endpoint:
    """A service. Its methods may be called from several threads at once.

    Args:
        url: Its address, of ``check_urls``; a password in it is the token.
        token: What it wants to hear otherwise; ``None``: nothing.
        timeout_s: Time in which it must send something.

    Attributes:
        name: its address without a password.

    Raises:
        ValueError: No header can carry the token.
    """

    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        port, hostname = parts.port, parts.hostname or ""
        host = f"[{hostname}]" if ":" in hostname else hostname
        self.name = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}".rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = hostname, port
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        token = unquote(parts.password) if parts.password else token
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {check_token(token)}"
        self._closed = False
        self._down_until = 0.0
        self.forget()

    @property
    def is_down(self) -> bool:
        """Whether no connection could be made a moment ago."""
        return time.monotonic() < self._down_until

    def forget(self) -> None:
        """Leaves all connections to the process that this one was forked from."""
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._all: set[http.client.HTTPConnection] = set()

    def close(self) -> None:
        """Ends all connections; whoever waits for an answer gets an error."""
        with self._lock:
            self._closed = True
            connections, self._all = list(self._all), set()
            self._idle.clear()
        for connection in connections:
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def get(self, path: str) -> Any:
        """Asks for something.

        Raises:
            AgainError, SandboxError: See ``post``.
        """
        return self._exchange("GET", path, None)

    def post(self, path: str, body: bytes) -> Any:
        """Sends a request and returns the JSON of its answer; also that of "not judged".

        Raises:
            AgainError: It may be sent again.
            SandboxError: The service refuses, cannot do it, or takes less than is asked for.
        """
        return self._exchange("POST", path, body)

    def lines(self, path: str, body: bytes) -> Iterator[Any]:
        """Sends a request and yields the JSON of each line of its answer as it comes.

        Raises:
            AgainError, SandboxError: See ``post``; lines may have come by then.
        """
        connection, response = self._begin("POST", path, body)
        whole = False
        try:
            if response.status != 200:
                self._refuse(response)
            while line := response.readline():
                yield json.loads(line)
            if not response.isclosed():  # its last chunk has not come
                raise AgainError("the answer broke off")
            whole = True
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise AgainError(f"the answer broke off: {_said(error)}") from None
        finally:
            self._end(connection, keep=whole and not response.will_close)

    def _exchange(self, method: str, path: str, body: bytes | None) -> Any:
        connection, response = self._begin(method, path, body)
        whole = False
        try:
            data = response.read()
            whole = True
        except (OSError, http.client.HTTPException) as error:
            raise AgainError(f"the answer broke off: {_said(error)}") from None
        finally:
            self._end(connection, keep=whole and not response.will_close)
        value = _json(data)
        if response.status == 200 and isinstance(value, dict):
            return value
        if response.status == 504 and isinstance(value, dict) and "not_judged" in value:
            return value
        self._raise(response, data)

    def _begin(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Sends a request, and takes the head of its answer."""
        connection, is_kept = self._connection()
        try:
            if not is_kept:
                self._connect(connection)
            connection.request(method, self._prefix + path, body, self._headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._end(connection, keep=False)
            ended = isinstance(error, ConnectionError | http.client.RemoteDisconnected)
            raise AgainError(_said(error), at_once=is_kept and ended) from None
        except BaseException:
            self._end(connection, keep=False)
            raise

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except OSError:
            self._down_until = time.monotonic() + _DOWN_S
            raise
        self._down_until = 0.0
        connection.sock.settimeout(self._timeout_s)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _SILENCE.items():
            if hasattr(socket, name):
                connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self._closed:
            raise AgainError("the judge is closed")

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the judge is closed")
            if self._idle:
                return self._idle.pop(), True
            made: http.client.HTTPConnection
            if self._tls is not None:
                made = http.client.HTTPSConnection(
                    self._host, self._port, timeout=_CONNECT_S, context=self._tls
                )
            else:
                made = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
            self._all.add(made)
            return made, False

    def _end(self, connection: http.client.HTTPConnection, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed:
                self._idle.append(connection)
                return
            self._all.discard(connection)
        connection.close()

    def _refuse(self, response: http.client.HTTPResponse) -> None:
        self._raise(response, response.read())

    def _raise(self, response: http.client.HTTPResponse, data: bytes) -> None:
        """Raises what a status means."""
        value, status = _json(data), response.status
        why = value.get("error") if isinstance(value, dict) else None
        why = str(why or data[:_SHOWN].decode("utf-8", "replace") or response.reason)
        if status in _REFUSED:
            kind = TooLongError if status == 413 else SandboxError
            raise kind(f"the judge at {self.name} does not take the job: {why}")
        if status == 501:
            raise SandboxError(why)
        if status in (401, 403):
            raise SandboxError(
                f"the judge at {self.name} refuses: {why}; the token can stand in RLEF_JUDGE_TOKEN"
            )
        if status in _NOT_OURS:
            raise SandboxError(f"there is no rlef serve at {self.name}: {why}")
        after = response.getheader("Retry-After", "")
        seconds = float(after) if after.isdecimal() else 0.0
        raise AgainError(f"status {status}: {why}", seconds if math.isfinite(seconds) else 0.0)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _said(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return words.removesuffix(".").lower() if isinstance(error, OSError) else words
