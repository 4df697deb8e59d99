"""The schema of all that the service answers, as OpenAPI 3.1."""

from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rlef import __version__
from rlef.serve import schema
from rlef.serve.protocols import open_instruct, piston, sandbox_fusion
from rlef.serve.settings import ServeSettings


class Detail(BaseModel):
    """Why a request was refused, as SandboxFusion and open-instruct say it."""

    detail: str


class Message(BaseModel):
    """Why a request was refused, as Piston says it."""

    message: str


class Status(BaseModel):
    """How the service is."""

    status: str


class _Endpoint(NamedTuple):
    path: str
    method: str
    about: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    failure: type[BaseModel] = schema.Failure
    failures: tuple[int, ...] = (401, 403)
    media: str = "application/json"
    is_list: bool = False


_POSTED = (400, 401, 403, 408, 413, 415, 422, 429, 500, 501, 503, 504)
_ENDPOINTS = (
    _Endpoint(
        *("/v1/judge", "post", "Judge one program.", schema.Judged, schema.JudgeRequest),
        failures=_POSTED,
    ),
    _Endpoint(
        "/v1/judge_many",
        "post",
        "Judge many programs: a line of JSON for each, as it comes.",
        schema.Line,
        schema.JudgeManyRequest,
        failures=_POSTED,
        media="application/x-ndjson",
    ),
    _Endpoint("/v1/info", "get", "What judges, and within which limits.", schema.Info),
    _Endpoint("/health", "get", "Whether the service is alive.", Status, failures=()),
    _Endpoint("/ready", "get", "Whether it judges.", Status, failures=(503,)),
    _Endpoint("/metrics", "get", "Counters for Prometheus.", None, media="text/plain"),
    _Endpoint(
        "/run_code",
        "post",
        "SandboxFusion: run a program.",
        sandbox_fusion.RunCodeResult,
        sandbox_fusion.RunCode,
        Detail,
        _POSTED,
    ),
    _Endpoint(
        "/submit",
        "post",
        "SandboxFusion: judge an answer on the tests that come with it.",
        None,
        sandbox_fusion.Submit,
        Detail,
        _POSTED,
    ),
    _Endpoint(
        "/test_program",
        "post",
        "open-instruct: asserts.",
        open_instruct.TestProgramResult,
        open_instruct.TestProgram,
        Detail,
        _POSTED,
    ),
    _Endpoint(
        "/test_program_stdio",
        "post",
        "open-instruct: inputs and outputs.",
        open_instruct.TestProgramResult,
        open_instruct.TestProgram,
        Detail,
        _POSTED,
    ),
    _Endpoint(
        "/api/v2/execute",
        "post",
        "Piston: run a program.",
        piston.Executed,
        piston.Execute,
        Message,
        _POSTED,
    ),
    _Endpoint("/api/v2/runtimes", "get", "Piston: languages.", piston.Runtime, is_list=True),
)
_REFS = "#/components/schemas/{model}"


def openapi(settings: ServeSettings) -> dict[str, Any]:
    """Returns the schema.

    Args:
        settings: Whether a token is needed.
    """
    models = {
        *((one.answer, "serialization") for one in _ENDPOINTS if one.answer),
        *((one.body, "validation") for one in _ENDPOINTS if one.body),
        *((one.failure, "serialization") for one in _ENDPOINTS),
    }
    ordered = sorted(models, key=lambda pair: pair[0].__name__)
    names, definitions = models_json_schema(ordered, ref_template=_REFS)  # type: ignore[arg-type]
    paths: dict[str, Any] = {}
    for one in _ENDPOINTS:
        paths.setdefault(one.path, {})[one.method] = _operation(one, names)
    value: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "rlef serve", "version": __version__},
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }
    if settings.token is not None:
        value["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        value["security"] = [{"token": []}]
    return value


def _operation(one: _Endpoint, names: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if one.answer is not None:
        answer = names[one.answer, "serialization"]
    elif one.media == "text/plain":
        answer = {"type": "string"}
    if one.is_list:
        answer = {"type": "array", "items": answer}
    failure = {"schema": names[one.failure, "serialization"]}
    responses: dict[str, Any] = {
        "200": {"description": "the answer", "content": {one.media: {"schema": answer}}}
    }
    for status in one.failures:
        about = {"description": "why not", "content": {"application/json": failure}}
        responses[str(status)] = about
    if one.answer is schema.Judged:
        content = {"application/json": {"schema": answer}}
        responses["504"] = {"description": "not judged in time", "content": content}
    operation: dict[str, Any] = {"summary": one.about, "responses": responses}
    if one.body is not None:
        content = {"application/json": {"schema": names[one.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
