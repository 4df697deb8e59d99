"""The viewer as a web application: answers of the API, and the built front end."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from rlef.view.answers import Answers, as_json, unknown
from rlef.view.errors import ViewError
from rlef.view.folders import Folders
from rlef.view.guard import Guard
from rlef.view.live import Watch
from rlef.view.page import STATIC as STATIC
from rlef.view.problems import ProblemBook
from rlef.view.runs import Library

_STILL_HERE = ": still here\n\n"
"""A comment among events: nothing is new."""


def make_app(
    folders: Folders,
    cache: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
) -> ASGIApp:
    """Returns the viewer.

    Args:
        folders: What is shown.
        cache: Folder of the cache.
        host: The address that it listens at.
        port: Its port.
        token: What readers must know; ``None``: nothing.
    """
    api = _Api(folders, cache)
    routes = api.routes()
    routes.append(Route("/api/live", api.live))
    routes.append(Route("/api/{rest:path}", _unknown))
    routes.append(Route("/{path:path}", _static))
    return Guard(Starlette(routes=routes), host, port, token)


class _Api:
    """Answers of the API, each worked out in a thread of its own."""

    def __init__(self, folders: Folders, cache: Path) -> None:
        library = Library(folders, cache)
        self._answers = Answers(library, ProblemBook(cache))
        self._watch = Watch(library)

    def routes(self) -> list[Route]:
        """A route for each name."""
        names = self._answers.names
        return [Route(f"/api/{name}", self._answer(name)) for name in names]

    def _answer(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            words, ids = dict(request.query_params), request.query_params.getlist("id")
            try:
                return _response(
                    await run_in_threadpool(lambda: as_json(self._answers.ask(name, words, ids)))
                )
            except ViewError as error:
                return _response(as_json({"error": str(error)}), error.status)
            except (
                Exception
            ) as error:  # the outermost frame: a reader gets one line, whatever broke
                if os.environ.get("RLEF_TRACEBACK") == "1":
                    raise
                what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                return _response(as_json({"error": f"{what} (RLEF_TRACEBACK=1 shows where)"}), 500)

        return answer

    async def live(self, request: Request) -> Response:
        """Server-sent events: which runs have changed."""

        async def events() -> AsyncIterator[str]:
            yield _STILL_HERE
            async for event in news:
                if await request.is_disconnected():
                    return
                yield _STILL_HERE if event is None else f"data: {as_json(event)}\n\n"

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=headers)
        news = self._watch.events()
        await anext(news)  # what changes behind the answer's first byte is news
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


async def _unknown(request: Request) -> Response:
    error = unknown()
    return _response(as_json({"error": str(error)}), error.status)


async def _static(request: Request) -> Response:
    """A file of the front end."""
    name = request.path_params["path"] or "index.html"
    path = await asyncio.to_thread(_static_file, name)
    if path is None:
        return _response(as_json({"error": f"there is no {name[:80]}"}), 404)
    kept = "max-age=31536000, immutable" if name.startswith("assets/") else "no-cache"
    return FileResponse(path, headers={"Cache-Control": kept})


def _static_file(name: str) -> Path | None:
    if "\0" in name:
        return None
    try:
        path = (STATIC / name).resolve()
        return path if path.is_file() and path.is_relative_to(STATIC.resolve()) else None
    except OSError:  # no file has so long a name
        return None


def _response(text: str, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(text, status, headers, media_type="application/json")
