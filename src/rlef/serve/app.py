"""The service as a web application."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rlef.serve.answers import Desk, answered
from rlef.serve.gate import Gate
from rlef.serve.openapi import openapi
from rlef.serve.own import HANDLERS, OwnApi
from rlef.serve.protocols import open_instruct, piston, sandbox_fusion
from rlef.serve.service import JudgeService
from rlef.serve.settings import ServeSettings


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
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    paths = frozenset(route.path for route in routes)
    return Gate(app, settings.token, service.metrics, paths)
