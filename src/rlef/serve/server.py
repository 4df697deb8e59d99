"""Serves the judge until it is stopped."""

import asyncio
import contextlib
import resource
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import Config

from rlef.sandbox import Sandbox
from rlef.serve.app import make_app
from rlef.serve.service import JudgeService
from rlef.serve.settings import ServeSettings

HEADERS_S = 20.0
"""Time in which a request must begin on a connection, and its headers be there."""
MOST_HEADERS = 64 << 10
"""Bytes that have come without an end of the headers."""
KEEP_ALIVE_S = 120
UNREAD_MS = 60_000
"""Time in which a caller must take something of its answer."""
_FILES_PER_CONNECTION = 2
"""Of the limit of open files, which is raised if it may be."""


def serve(
    listening: socket.socket,
    settings: ServeSettings,
    ready: Callable[[JudgeService], None],
) -> int:
    """Answers requests until a signal; programs that run then are judged to their end.

    Args:
        listening: A socket of ``listen``; closed at the end.
        settings: The limits.
        ready: Called once programs are judged.

    Returns:
        Number of the signal.

    Raises:
        SandboxError: This machine cannot judge.
    """
    _raise_file_limit(_FILES_PER_CONNECTION * settings.max_connections)
    with listening, Sandbox(workers=settings.workers) as sandbox:
        service = JudgeService(sandbox, settings)
        server = Server(service, settings, ready)
        server.run(sockets=[listening])
        if server.failure is not None:
            raise server.failure
        return server.ended_by


class Server(uvicorn.Server):
    """uvicorn's server, which warms the judge up, and ends in two steps.

    The first signal: new programs are refused with 503, and ``/ready`` says so, until those that
    it has are judged or their time of grace is over. The second: it ends at once.

    Attributes:
        ended_by: number of the signal.
        failure: what kept the judge from starting.
    """

    def __init__(
        self,
        service: JudgeService,
        settings: ServeSettings,
        ready: Callable[[JudgeService], None],
    ) -> None:
        super().__init__(_config(service, settings))
        self.ended_by = 0
        self.failure: Exception | None = None
        self._service = service
        self._grace_s = settings.grace_s
        self._ready = ready
        self._stop_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, so that ``/health`` answers, then starts the judge."""
        await super().startup(sockets)
        self._warming = asyncio.create_task(self._warm_up())

    async def _warm_up(self) -> None:
        try:
            await self._service.warm_up()
            self._ready(self._service)
        except Exception as error:  # told by whoever called
            self.failure = error
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes a signal."""
        if self.ended_by:
            self.force_exit = self.should_exit = True
            return
        self.ended_by = sig
        self._stop_at = time.monotonic() + self._grace_s
        self._service.stop()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end."""
        done = self._service.idle or time.monotonic() > self._stop_at
        return await super().on_tick(counter) or bool(self.ended_by and done)


class _Impatient:
    """A connection on which requests must come in time; before uvicorn's protocol in a class."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    _patience: asyncio.TimerHandle | None = None
    _headers: int | None = None
    """Bytes of a request whose headers have no end yet; ``None``: there is no such one."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        found = transport.get_extra_info("socket")
        if found is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):  # no TCP
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is None or self.cycle.response_complete:
            if self._patience is None:
                self._wait()
        else:
            self._stop_waiting()
        if self._headers is not None:
            self._headers += len(data)
            if self._headers > MOST_HEADERS:
                self.transport.abort()

    def on_message_begin(self) -> None:  # called by httptools; h11 has a limit of its own
        self._headers = 0
        super().on_message_begin()  # type: ignore[misc]

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers is not None:  # else it stands behind the body, where nobody reads it
            super().on_header(name, value)  # type: ignore[misc]

    def on_headers_complete(self) -> None:
        self._headers = None
        super().on_headers_complete()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)  # type: ignore[misc]

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEADERS_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _config(service: JudgeService, settings: ServeSettings) -> Config:
    config = Config(
        make_app(service, settings),
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        backlog=min(settings.max_connections, 1024),
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
    )
    config.load()
    base = config.http_protocol_class
    config.http_protocol_class = type("Protocol", (_Impatient, base), {})
    return config


def _raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else sys.maxsize
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted + 256, most), hard))
