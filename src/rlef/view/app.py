"""The viewer as a web application: answers of the API, and the built front end."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from rlef.view.comparing import compared
from rlef.view.episode import episode, text_of
from rlef.view.episodes import Episodes, integer
from rlef.view.errors import ViewError, missing
from rlef.view.folders import Folders
from rlef.view.guard import Guard
from rlef.view.live import Watch
from rlef.view.numbers import problem_rates, transitions, verdict_mix
from rlef.view.overview import Overview, metrics_after
from rlef.view.problems import ProblemBook
from rlef.view.runs import Library, Run, Stage
from rlef.view.tokens import TokenTexts

STATIC = Path(__file__).parent / "static"
"""The built front end."""


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
    routes = [Route(f"/api/{name}", _answer(work)) for name, work in api.answers().items()]
    routes.append(Route("/api/live", api.live))
    routes.append(Route("/api/{rest:path}", _unknown))
    routes.append(Route("/{path:path}", _static))
    return Guard(Starlette(routes=routes), host, port, token)


class _Api:
    """Answers of the API; each takes the request's words, and works in a thread of its own."""

    def __init__(self, folders: Folders, cache: Path) -> None:
        self._library = Library(folders, cache)
        self._overview = Overview(self._library)
        self._episodes = Episodes()
        self._book = ProblemBook(cache)
        self._texts = TokenTexts()
        self._watch = Watch(self._library)

    def answers(self) -> dict[str, Callable[[Request], Any]]:
        """By the last part of the path."""
        return {
            "runs": lambda request: {"runs": self._overview.runs()},
            "run": self._run,
            "metrics": self._metrics,
            "settings": lambda request: {"keys": self._overview.settings(self._runs(request))},
            "transitions": self._transitions,
            "verdicts": self._verdicts,
            "problems": self._problems,
            "episodes": self._list,
            "episode": self._episode,
            "text": self._text,
            "compare": lambda request: compared(self._runs(request)),
        }

    def _run(self, request: Request) -> Any:
        run_id = _word(request, "id")
        found = self._library.folders.find(run_id)
        if found.kind == "study":
            return self._overview.study(found)
        run = self._library.of(found)
        self._book.prepare(run)
        return self._overview.run(run)

    def _metrics(self, request: Request) -> Any:
        run = self._library.run(_word(request, "id"))
        after = max(0, integer(request.query_params, "after", 0))
        return metrics_after(run.metrics, after)

    def _transitions(self, request: Request) -> Any:
        run, stage = self._stage(request)
        words = request.query_params
        first, last = (
            integer(words, name, 0) if words.get(name) else None for name in ("from", "to")
        )
        return transitions(run.database, stage.outcomes(), first, last)

    def _verdicts(self, request: Request) -> Any:
        run = self._library.run(_word(request, "id"))
        if "train" not in run.stage_names():
            return {"batches": [], "series": {}}
        return verdict_mix(run.database, run.stage("train").outcomes())

    def _problems(self, request: Request) -> Any:
        run, stage = self._stage(request)
        other = request.query_params.get("other")
        there = run.stage(other).outcomes() if other else None
        limit = run.turn_limit(stage.name, run.options())
        return {"rows": problem_rates(run.database, stage.outcomes(), limit, there)}

    def _list(self, request: Request) -> Any:
        run, stage = self._stage(request)
        return self._episodes.page(run, stage, dict(request.query_params))

    def _episode(self, request: Request) -> Any:
        run, stage = self._stage(request)
        row = integer(request.query_params, "row", 0)
        return episode(run, stage, row, self._book, self._texts)

    def _text(self, request: Request) -> Any:
        run, stage = self._stage(request)
        words = request.query_params
        row, turn = integer(words, "row", 0), integer(words, "turn", 1) - 1
        field = _word(request, "field")
        return {"text": text_of(run, stage, row, turn, field, self._book, self._texts)}

    def _runs(self, request: Request) -> list[Run]:
        ids = request.query_params.getlist("id")
        if not ids:
            raise ViewError(400, "id is missing")
        return [self._library.run(run_id) for run_id in ids]

    def _stage(self, request: Request) -> tuple[Run, Stage]:
        run = self._library.run(_word(request, "id"))
        return run, run.stage(_word(request, "stage"))

    async def live(self, request: Request) -> Response:
        """Server-sent events: which runs have changed."""

        async def events() -> AsyncIterator[str]:
            async for event in self._watch.events():
                if await request.is_disconnected():
                    return
                yield ": still here\n\n" if event is None else f"data: {_json(event)}\n\n"

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=headers)
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def _answer(work: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return _response(await run_in_threadpool(lambda: _json(work(request))))
        except ViewError as error:
            return _response(_json({"error": str(error)}), error.status)
        except Exception as error:  # the outermost frame: a reader gets one line, whatever broke
            if os.environ.get("RLEF_TRACEBACK") == "1":
                raise
            what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return _response(_json({"error": f"{what} (RLEF_TRACEBACK=1 shows where)"}), 500)

    return answer


async def _unknown(request: Request) -> Response:
    error = missing("such answer")
    return _response(_json({"error": str(error)}), error.status)


async def _static(request: Request) -> Response:
    """A file of the front end."""
    name = request.path_params["path"] or "index.html"
    path = await asyncio.to_thread(_static_file, name)
    if path is None:
        return _response(_json({"error": f"there is no {name[:80]}"}), 404)
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


def _json(value: Any) -> str:
    # in ASCII: a lone surrogate of a model's output has no bytes in UTF-8
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=str)


def _response(text: str, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(text, status, headers, media_type="application/json")


def _word(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise ViewError(400, f"{name} is missing")
    return str(value)
