"""The service's own words: jobs and reports as JSON, to and from the judge's types."""

import json
import reprlib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, TestReport, Verdict
from rlef.sandbox.validation import validate
from rlef.serve.errors import RefusedError
from rlef.serve.settings import ServeSettings

Model = TypeVar("Model", bound=BaseModel)
MOST_TESTS = 100_000
MOST_JOBS = 100_000
_MOST_FIELDS = 100
"""Of one object; each that is not known is an error of its own until the first is told."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


class Strict(BaseModel):
    """A part of a request: no unknown field, no text that stands for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > _MOST_FIELDS:
            raise ValueError(f"it has {len(value)} fields; allowed: {', '.join(cls.model_fields)}")
        return value


class TestCase(Strict):
    """What a program reads and what it should print; in function mode JSON texts."""

    __test__ = False  # not a pytest class

    input: str
    output: str


class TestLimits(Strict):
    """Limits of one test; those of ``rlef.sandbox.Limits``."""

    __test__ = False

    cpu_s: float = Field(10.0, gt=0, description="CPU seconds")
    memory_mb: int = Field(1024, gt=0, description="memory in MiB")
    output_kb: int = Field(1024, gt=0, description="largest output in KiB")
    idle_s: float | None = Field(None, gt=0, description="seconds asleep; null: cpu_s + 2")
    wall_s: float | None = Field(None, gt=0, description="wall seconds; null: 10 * cpu_s + 10")


class Job(Strict):
    """A program and its tests; the fields of ``rlef.sandbox.JudgeJob``."""

    source: str
    tests: list[TestCase] = Field(min_length=1, max_length=MOST_TESTS, fail_fast=True)
    prelude: str = Field("", description="Python that runs before the program")
    language: str = Field("python", description="one of those in /v1/info")
    mode: Literal["stdin", "function"] = "stdin"
    entry_point: str | None = Field(None, description="the function, in function mode only")
    limits: TestLimits = TestLimits()
    checker: str = Field("tokens", description="how output is compared; docs/sandbox.md")
    checker_source: str | None = Field(None, description="C++, with checker testlib only")
    stop_at_first_failure: bool = False
    key: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="idempotency key: the same job again under it is not judged twice",
    )


class JudgeRequest(Job):
    """Body of ``/v1/judge``."""

    deadline_s: float | None = Field(None, gt=0, description="seconds until it is worth nothing")


class JudgeManyRequest(Strict):
    """Body of ``/v1/judge_many``."""

    jobs: list[Job] = Field(min_length=1, max_length=MOST_JOBS, fail_fast=True)
    deadline_s: float | None = Field(None, gt=0, description="seconds, of each job")


class TestResult(BaseModel):
    """What one test said; the fields of ``rlef.sandbox.TestReport``."""

    __test__ = False

    verdict: Verdict
    cpu_s: float
    wall_s: float
    memory_mb: float
    stdout: str
    stderr: str
    message: str
    exit_status: int | None
    signal: int | None


class Report(BaseModel):
    """What all tests said; the fields of ``rlef.sandbox.JudgeReport``."""

    verdict: Verdict
    tests: list[TestResult]


class Judged(BaseModel):
    """Answer of ``/v1/judge``. With ``not_judged`` nothing is known of the program."""

    report: Report | None = None
    not_judged: str | None = None


class Line(Judged):
    """A line of the answer of ``/v1/judge_many``."""

    place: int = Field(ge=0, description="of the job among the jobs, from 0")
    error: str | None = Field(None, description="why the service cannot judge this job at all")


class Failure(BaseModel):
    """Why a request was refused, in one line."""

    error: str


class Info(BaseModel):
    """What judges, and within which limits."""

    rlef: str
    python: str
    languages: list[str]
    isolation: dict[str, Any]
    workers: int
    limits: dict[str, float]


def parsed(model: type[Model], value: Any) -> Model:
    """Returns a part of a request.

    Raises:
        RefusedError: 422, with field, value and what is allowed in one line.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RefusedError(422, first_line(error)) from None


def first_line(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"]).lstrip(".")
    given = _SHORT.repr(first["input"])
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if first["type"] == "missing":
        return f"field {where!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"field {where!r} is not known"
    return f"field {where!r} is {given}: {said}" if where else f"the body is {given}: {said}"


def to_job(asked: Job, settings: ServeSettings) -> JudgeJob:
    """Returns the job of a request.

    Raises:
        RefusedError: 422: it cannot be judged, or asks for more than is allowed here.
    """
    limits = asked.limits
    job = JudgeJob(
        source=asked.source,
        tests=tuple(Test(test.input, test.output) for test in asked.tests),
        prelude=asked.prelude,
        language=asked.language,
        mode=asked.mode,
        entry_point=asked.entry_point,
        limits=Limits(
            cpu_s=limits.cpu_s,
            memory_mb=limits.memory_mb,
            output_kb=limits.output_kb,
            idle_s=limits.idle_s,
            wall_s=limits.wall_s,
        ),
        checker=asked.checker,
        checker_source=asked.checker_source,
        stop_at_first_failure=asked.stop_at_first_failure,
    )
    return checked(job, settings)


def checked(job: JudgeJob, settings: ServeSettings) -> JudgeJob:
    """Returns the job, if it may be judged here.

    Raises:
        RefusedError: 422.
    """
    wall_s = 10 * settings.max_seconds + 10  # as where none is named
    most = {
        "cpu_s": settings.max_seconds,
        "memory_mb": settings.max_memory_mb,
        "output_kb": settings.max_output_kb,
        "idle_s": wall_s,
        "wall_s": wall_s,
    }
    for name, largest in most.items():
        value = getattr(job.limits, name)
        if value is not None and value > largest:
            shown = f"{value:g}" if value < 1e100 else "more"  # than a float may hold
            raise RefusedError(
                422, f"field 'limits.{name}' is {shown}; allowed here: up to {largest:g}"
            )
    try:
        validate(job)
    except ValueError as error:
        raise RefusedError(422, str(error)) from None
    return job


def to_json(job: JudgeJob, key: str | None = None) -> dict[str, Any]:
    """Returns a job as ``Job`` reads it."""
    limits = job.limits
    return {
        "source": job.source,
        "tests": [{"input": test.input, "output": test.output} for test in job.tests],
        "prelude": job.prelude,
        "language": job.language,
        "mode": job.mode,
        "entry_point": job.entry_point,
        "limits": {
            "cpu_s": limits.cpu_s,
            "memory_mb": limits.memory_mb,
            "output_kb": limits.output_kb,
            "idle_s": limits.idle_s,
            "wall_s": limits.wall_s,
        },
        "checker": job.checker,
        "checker_source": job.checker_source,
        "stop_at_first_failure": job.stop_at_first_failure,
        "key": key,
    }


def judged(report: JudgeReport) -> dict[str, Any]:
    """Returns a report as ``Judged``: one of the infrastructure is not judged."""
    tests = [
        {
            "verdict": test.verdict.value,
            "cpu_s": test.cpu_s,
            "wall_s": test.wall_s,
            "memory_mb": test.memory_mb,
            "stdout": test.stdout,
            "stderr": test.stderr,
            "message": test.message,
            "exit_status": test.exit_status,
            "signal": test.signal,
        }
        for test in report.tests
    ]
    why = infrastructure(report)
    value = {"report": {"verdict": report.verdict.value, "tests": tests}}
    return value if why is None else value | {"not_judged": why}


def infrastructure(report: JudgeReport) -> str | None:
    """Why nothing is known of the program (verdict IE), else ``None``."""
    if report.verdict is not Verdict.IE:
        return None
    return next(test.message for test in report.tests if test.verdict is Verdict.IE)


def json_bytes(value: Any) -> bytes:
    """JSON in ASCII: half a surrogate pair, which a program may print, has no bytes in UTF-8."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def from_json(value: Mapping[str, Any]) -> JudgeReport:
    """Returns the report of ``judged``.

    Raises:
        ValueError: It is none.
    """
    try:
        tests = tuple(
            TestReport(**{**test, "verdict": Verdict(test["verdict"])}) for test in value["tests"]
        )
        return JudgeReport(verdict=Verdict(value["verdict"]), tests=tests)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no report of a judge: {type(error).__name__}: {error}") from None
