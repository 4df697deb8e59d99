"""Piston's ``/api/v2/execute`` and ``/api/v2/runtimes``, as open-r1 calls them.

Sources: engineer-man/piston, ``api/src/api/v2.js``, ``api/src/job.js``; huggingface/open-r1,
``utils/competitive_programming/{piston_client,cf_scoring}.py``; guipenedo/piston,
``packages/codeforces/1.0.0`` (what open-r1 needs for Codeforces, see ``codeforces.py``).
"""

import platform
import signal
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, TestReport, Verdict
from rlef.serve.answers import Desk, Manners, answered
from rlef.serve.errors import NotJudgedError, RefusedError
from rlef.serve.protocols import codeforces
from rlef.serve.schema import checked, infrastructure, parsed
from rlef.serve.settings import ServeSettings

MANNERS = Manners(error=lambda why: {"message": why}, late=503, unable=500, invalid=400)
_OUTPUT_KB = 4096
_RUN_MS = 3000.0
_PATIENCE_S = 30.0
"""Time over that of the program: open-r1 waits so long for the next byte."""
_SHOWN = 80


class File(BaseModel):
    """A file of a request."""

    model_config = ConfigDict(frozen=True)

    name: str | None = None
    content: str
    encoding: str | None = Field(None, description="utf8")


class Execute(BaseModel):
    """Body of ``/api/v2/execute``; unknown fields are ignored, as there."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    language: str
    version: str = Field(description="* or that of /api/v2/runtimes, or its beginning")
    files: list[File] = Field(min_length=1, description="the program; nothing else")
    stdin: str | None = None
    args: list[str] | None = Field(None, description="must be empty")
    run_timeout: float | None = Field(_RUN_MS, ge=0, description="milliseconds asleep; 0: 3000")
    run_cpu_time: float | None = Field(None, ge=0, description="milliseconds; 0: as run_timeout")
    run_memory_limit: float | None = Field(
        None, description="bytes; 0 or less: what the service allows"
    )


class Stage(BaseModel):
    """How compiling, or the program, ended."""

    stdout: str
    stderr: str
    output: str
    code: int | None
    signal: str | None
    message: str | None = None
    status: str | None = None
    cpu_time: float | None = Field(None, description="milliseconds")
    wall_time: float | None = Field(None, description="milliseconds")
    memory: float | None = Field(None, description="bytes")


class Executed(BaseModel):
    """Answer of ``/api/v2/execute``."""

    run: Stage
    compile: Stage | None = None
    language: str
    version: str


class Runtime(BaseModel):
    """A language of ``/api/v2/runtimes``."""

    language: str
    version: str
    aliases: list[str]
    runtime: str | None = None


_OURS = {"python": "python", "c++": "cpp", "rust": "rust", "javascript": "javascript"}
"""Piston's names, and the judge's."""
_ALIASES = {
    "python": ["py", "py3", "python3", "cf_python3", "Python 3"],
    "c++": ["cpp", "g++", "c++17", "cf_c++17", "C++17 (GCC 7-32)", "C++17 (GCC 9-64)"],
    "rust": ["rs"],
    "javascript": ["node-javascript", "node-js", "js"],
}
_VERSIONS = {"c++": "17.0.0", "python": platform.python_version()}


def routes(desk: Desk) -> list[Route]:
    """The endpoints."""
    service, settings = desk.service, desk.settings

    async def execute(request: Request, body: Any) -> Response:
        asked = parsed(Execute, body)
        language = runtime_of(asked, served(service.languages))
        job, grading = execute_job(asked, language, settings)
        seconds = job.limits.cpu_s + _PATIENCE_S
        judge = partial(service.judge, deadline_s=seconds, gone=request.is_disconnected)
        with service.held():
            return answered(await graded(job, language, grading, judge))

    async def graded(
        job: JudgeJob, language: Runtime, grading: codeforces.Grading | None, judge: Any
    ) -> dict[str, Any]:
        report = await judge(job)
        why = infrastructure(report)
        if why is not None:
            raise NotJudgedError(why)
        test = report.tests[0]
        value = executed(test, language)
        if grading is not None:
            checks = partial(judge, patient=True, begun=True)
            grade = await codeforces.graded(grading, test, checks, settings)
            value["run"] = _stage(*grade, test) if test.verdict is not Verdict.CE else value["run"]
            value.setdefault("compile", _stage("", "", 0, test))
        return value

    async def runtimes(request: Request) -> Response:
        return answered([one.model_dump(exclude_none=True) for one in served(service.languages)])

    return [
        Route("/api/v2/execute", desk.post(execute, MANNERS), methods=["POST"]),
        Route("/api/v2/runtimes", runtimes),
    ]


def served(languages: Collection[str]) -> list[Runtime]:
    """The languages, in Piston's words."""
    return [
        Runtime(
            language=theirs,
            version=_VERSIONS.get(theirs, "1.0.0"),
            aliases=_ALIASES[theirs],
            runtime="gcc" if theirs == "c++" else None,
        )
        for theirs, ours in _OURS.items()
        if ours in languages
    ]


def runtime_of(asked: Execute, runtimes: Sequence[Runtime]) -> Runtime:
    """The one of some runtimes that a request names.

    Raises:
        RefusedError: There is none.
    """
    for one in runtimes:
        names = (one.language, *one.aliases)
        wanted = asked.version.lstrip("^~>=v").removesuffix(".x").removesuffix(".*")
        fits = wanted in ("*", "") or f"{one.version}.".startswith(f"{wanted}.")
        if asked.language in names and fits:
            return one
    what = f"{asked.language[:_SHOWN]}-{asked.version[:_SHOWN]}"
    raise RefusedError(400, f"{what} runtime is unknown; allowed: those of /api/v2/runtimes")


def execute_job(
    asked: Execute, runtime: Runtime, settings: ServeSettings
) -> tuple[JudgeJob, "codeforces.Grading | None"]:
    """Returns the job of ``/api/v2/execute``, and how its output is graded, if it is.

    Raises:
        RefusedError: It asks for what is not served.
    """
    if asked.args:
        raise RefusedError(400, "args are not served: programs here have none")
    if any(file.encoding not in (None, "utf8") for file in asked.files):
        raise RefusedError(400, "an encoding other than utf8 is not served")
    language = _OURS[runtime.language]
    files = {file.name or "": file.content for file in asked.files[1:]}
    if codeforces.asks(asked.language, files):
        return codeforces.job(asked.files[0].content, language, files, settings)
    if files:
        raise RefusedError(400, "more than one file is not served: programs have no folder")
    milliseconds = [ms for ms in (asked.run_timeout, asked.run_cpu_time) if ms] or [_RUN_MS]
    if max(milliseconds) > 1000 * settings.max_seconds:
        raise RefusedError(
            400,
            f"run_timeout cannot exceed the configured limit of {1000 * settings.max_seconds:g}",
        )
    memory = asked.run_memory_limit or 0
    limits = Limits(
        cpu_s=min(milliseconds) / 1000,
        idle_s=max(milliseconds) / 1000,
        memory_mb=max(1, int(memory) >> 20) if memory > 0 else settings.max_memory_mb,
        output_kb=min(_OUTPUT_KB, settings.max_output_kb),
    )
    given = asked.stdin or ""
    given = given if given.endswith("\n") else f"{given}\n"
    job = JudgeJob(
        source=asked.files[0].content,
        language=language,
        tests=(Test(given, ""),),
        limits=limits,
        checker="any",
    )
    return checked(job, settings), None


def executed(test: TestReport, runtime: Runtime) -> dict[str, Any]:
    """Returns the answer of ``/api/v2/execute``."""
    compiled = LANGUAGES[_OURS[runtime.language]].compiler is not None
    base = {"language": runtime.language, "version": runtime.version}
    if compiled and test.verdict is Verdict.CE:
        stage = _stage("", test.message, 1, None, message="", status="RE")
        return base | {"compile": stage, "run": stage}
    if test.verdict is Verdict.TLE:
        words = {"message": "Time limit exceeded", "status": "TO", "ended_by": "SIGKILL"}
    elif test.verdict is Verdict.OLE:
        words = {"message": "stdout length exceeded", "status": "OL", "ended_by": "SIGKILL"}
    elif test.signal is not None:
        name = _signal_name(test.signal)
        words = {"message": f"Caught fatal signal {test.signal}", "status": "SG", "ended_by": name}
    elif test.exit_status:
        words = {"message": f"Exited with error status {test.exit_status}", "status": "RE"}
    else:
        words = {}
    run = _stage(test.stdout, test.stderr, test.exit_status, test, **words)
    return base | {"run": run} | ({"compile": _stage("", "", 0, None)} if compiled else {})


def _stage(
    stdout: str,
    stderr: str,
    code: int | None,
    test: TestReport | None,
    *,
    message: str | None = None,
    status: str | None = None,
    ended_by: str | None = None,
) -> dict[str, Any]:
    return {
        "stdout": stdout,
        "stderr": stderr,
        "output": stdout + stderr,
        "code": code if ended_by is None else None,
        "signal": ended_by,
        "message": message,
        "status": status,
        "cpu_time": None if test is None else 1000 * test.cpu_s,
        "wall_time": None if test is None else 1000 * test.wall_s,
        "memory": None if test is None else test.memory_mb * (1 << 20),
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
