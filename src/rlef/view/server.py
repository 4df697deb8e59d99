"""Serves the viewer until it is stopped."""

import socket
from collections.abc import Callable
from pathlib import Path

from rlef.view.app import make_app
from rlef.view.cache import drop_old
from rlef.view.folders import Folders


def serve(
    listening: socket.socket,
    folders: Folders,
    cache: Path,
    *,
    host: str,
    token: str | None,
    ready: Callable[[], None],
) -> None:
    """Answers requests until Ctrl-C.

    Args:
        listening: Of ``listen``; closed at the end.
        folders: What is shown.
        cache: Folder of the cache.
        host: As ``listen`` got it.
        token: What readers must know; ``None``: nothing.
        ready: Called once requests are answered.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    drop_old(cache)
    port = listening.getsockname()[1]
    app = make_app(folders, cache, host=host, port=port, token=token)
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, timeout_graceful_shutdown=1, lifespan="off"
    )
    with listening:
        Server(config).run(sockets=[listening])
