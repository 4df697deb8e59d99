"""The service as a web application."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rlef.serve.answers import Desk, answered
from rlef.serve.gate import Gate
from rlef.serve.openapi import openapi
from rlef.serve.own import OwnApi
from rlef.serve.protocols import open_instruct, piston, sandbox_fusion
from rlef.serve.service import JudgeService
from rlef.serve.settings import ServeSettings

_SHOWN = 80
Answer = Callable[[Request], Awaitable[ASGIApp]]


def make_app(service: JudgeService, settings: ServeSettings) -> ASGIApp:
    """Returns the web application.

    Args:
        service: Judges.
        settings: Its limits, and the token that callers must know.
    """
    desk = Desk(service, settings)
    schema = openapi(settings)

    async def answer_schema(request: Request) -> Response:
        return answered(schema)

    routes = [
        *OwnApi(desk).routes(),
        *sandbox_fusion.routes(desk),
        *open_instruct.routes(desk),
        *piston.routes(desk),
        Route("/openapi.json", answer_schema),
    ]
    paths = frozenset(route.path for route in routes)
    return Gate(_Paths(routes), settings.token, service.metrics, paths)


class _Paths:
    """Finds the endpoint of a path.

    All paths are fixed and endpoints answer their own errors, so Starlette's router and middleware
    would only take time.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._answers: dict[str, dict[str, Answer]] = {}
        for route in routes:
            methods = self._answers.setdefault(route.path, {})
            methods.update(dict.fromkeys(route.methods or (), route.endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        methods = self._answers.get(scope["path"])
        if methods is None:
            response: ASGIApp = _failure(f"there is no {scope['path'][:_SHOWN]}", 404)
        elif scope["method"] not in methods:
            allowed = {"Allow": ", ".join(sorted(methods))}
            response = _failure(f"allowed here: {allowed['Allow']}", 405, allowed)
        else:
            response = await methods[scope["method"]](request)
        await response(scope, receive, send)


def _failure(why: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """In the words of all protocols: it is not known which one is meant."""
    return answered({"error": why, "detail": why, "message": why}, status, headers)
