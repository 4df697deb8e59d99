"""A chat server on loopback that behaves as a test tells it to."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What a server sends back.

    Attributes:
        body: JSON value, or the text as it is sent.
        cut: close the connection after so many bytes of the answer.
        hold: wait for this before the answer.
    """

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hold: threading.Event | None = None


def answer(text: str | None, finish: str = "stop", usage: bool = True) -> Reply:
    message = {"role": "assistant", "content": text}
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return Reply(body=body)


def failure(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    error = {"message": message, "type": "t", "param": None, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body={"error": error}, headers=named)


Behaviour = Callable[[dict[str, Any], int], Reply]
"""(the request, how many chat requests came before) -> the reply."""


class ChatServer(ThreadingHTTPServer):
    """Remembers the requests; ``models`` answers ``GET /v1/models``."""

    daemon_threads = True

    def __init__(self, behaviour: Behaviour, models: Reply | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.models = models or Reply(body={"object": "list", "data": [{"id": "m"}]})
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send(self.server.models)

    def do_POST(self) -> None:
        server = self.server
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            before = len(server.requests)
            server.requests.append(request)
            server.keys.append(self.headers.get("authorization"))
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            if self.path != "/v1/chat/completions":
                self.send(failure(404, "Not Found"))
            else:
                self.send(server.behaviour(request, before))
        finally:
            with server.lock:
                server.now -= 1

    def send(self, reply: Reply) -> None:
        if reply.hold is not None:
            reply.hold.wait(20)
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        data = text.encode()
        self.send_response(reply.status)
        headers = {"content-type": "application/json", "content-length": str(len(data))}
        for name, value in (headers | reply.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data if reply.cut is None else data[: reply.cut])
        if reply.cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(behaviour: Behaviour, models: Reply | None = None) -> Iterator[ChatServer]:
    server = ChatServer(behaviour, models)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
