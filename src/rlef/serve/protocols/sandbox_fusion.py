"""SandboxFusion's ``/run_code`` and ``/submit``, as verl, its users and the SDK call them.

Sources: bytedance/SandboxFusion, ``sandbox/server/sandbox_api.py``, ``sandbox/runners/base.py``,
``sandbox/utils/testing.py`` (comparison of ``/submit``); verl,
``verl/utils/reward_score/sandbox_fusion/utils.py`` (client: 504 is tried again, any other status
is an error of the test).
"""

import json
import re
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, TestReport, Verdict
from rlef.serve.answers import Desk, Manners, answered
from rlef.serve.errors import NotJudgedError, RefusedError
from rlef.serve.protocols.fusion_compare import same_stdout
from rlef.serve.schema import MOST_TESTS, checked, infrastructure, parsed
from rlef.serve.settings import ServeSettings

_NAMES = {"python": "python", "cpp": "cpp", "rust": "rust", "nodejs": "javascript"}
"""Their names of languages, and ours."""
_CLIENT_PATIENCE_S = 10.0
"""verl waits for both time limits and so much longer."""
_SHARE = 0.8
"""Of that time which the answer may take, so that "try again" still reaches verl."""
_OUTPUT_KB = 4096
_SHOWN = 80
MANNERS = Manners(error=lambda why: {"detail": why}, busy=504, stopping=504, unable=500)


class RunCode(BaseModel):
    """Body of ``/run_code``; unknown fields are ignored, as there."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    code: str
    language: str = Field("python", description="python, cpp, rust or nodejs")
    stdin: str | None = None
    run_timeout: float = Field(10.0, gt=0, description="CPU seconds, and seconds asleep")
    compile_timeout: float = Field(10.0, gt=0, description="ignored: a compiler has 20 s of CPU")
    memory_limit_MB: int = Field(-1, description="0 or less: as much as the service allows")
    files: dict[str, str | None] = Field({}, description="must be empty")
    fetch_files: list[str] = Field([], description="must be empty")


class CommandResult(BaseModel):
    """How a command ended."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeResult(BaseModel):
    """Answer of ``/run_code``."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str
    compile_result: CommandResult | None = None
    run_result: CommandResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}


class SubmitConfig(BaseModel):
    """How ``/submit`` judges; other fields are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    dataset_type: str | None = None
    language: str | None = None
    compile_timeout: float | None = Field(None, gt=0)
    run_timeout: float | None = Field(None, gt=0)
    custom_extract_logic: str | None = Field(None, description="must be null")
    provided_data: dict[str, Any] | list[dict[str, Any]] | None = Field(
        None, description="the problem: {test: [{input: {stdin}, output: {stdout}}]}"
    )
    extra: dict[str, Any] = {}


class StdioTest(BaseModel):
    """A test of a problem."""

    input: dict[str, str]
    output: dict[str, str]


class Submit(BaseModel):
    """Body of ``/submit``."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    id: int | str
    completion: str
    config: SubmitConfig


def routes(desk: Desk) -> list[Route]:
    """The endpoints."""
    service, settings = desk.service, desk.settings

    async def run_code(request: Request, body: Any) -> Response:
        asked = parsed(RunCode, body)
        job = run_job(asked, settings)
        patience_s = _SHARE * (asked.compile_timeout + asked.run_timeout + _CLIENT_PATIENCE_S)
        report = await service.judge(
            job, deadline_s=patience_s, patient=True, gone=request.is_disconnected
        )
        return answered(run_result(report, 0, asked.language))

    async def submit(request: Request, body: Any) -> Response:
        asked = parsed(Submit, body)
        job = submit_job(asked, settings)
        report = await service.judge(job, patient=True, gone=request.is_disconnected)
        return answered(submit_result(asked, job, report))

    return [
        Route("/run_code", desk.post(run_code, MANNERS), methods=["POST"]),
        Route("/submit", desk.post(submit, MANNERS), methods=["POST"]),
    ]


def language_of(name: str) -> str:
    """The judge's name of a language.

    Raises:
        RefusedError: It has none.
    """
    if name not in _NAMES:
        raise RefusedError(
            422, f"language {name[:_SHOWN]!r} is not served; allowed: {', '.join(_NAMES)}"
        )
    return _NAMES[name]


def run_job(asked: RunCode, settings: ServeSettings) -> JudgeJob:
    """Returns the job of ``/run_code``: one test that accepts whatever is printed.

    Raises:
        RefusedError: It asks for what is not served.
    """
    if any(content is not None for content in asked.files.values()) or asked.fetch_files:
        raise RefusedError(
            422, "files and fetch_files are not served: programs here have no folder to write to"
        )
    return _job(
        asked.code,
        asked.language,
        (Test(asked.stdin or "", ""),),
        asked.run_timeout,
        asked.memory_limit_MB,
        settings,
    )


def _job(
    code: str,
    language: str,
    tests: tuple[Test, ...],
    run_timeout: float,
    memory_mb: int,
    settings: ServeSettings,
) -> JudgeJob:
    limits = Limits(
        cpu_s=run_timeout,
        idle_s=run_timeout,
        memory_mb=memory_mb if memory_mb > 0 else settings.max_memory_mb,
        output_kb=min(_OUTPUT_KB, settings.max_output_kb),
    )
    job = JudgeJob(
        source=code, language=language_of(language), tests=tests, limits=limits, checker="any"
    )
    return checked(job, settings)


def run_result(report: JudgeReport, place: int, language: str) -> dict[str, Any]:
    """Returns the answer of ``/run_code`` for a test of a report."""
    test = report.tests[place]
    compiled = LANGUAGES[language_of(language)].compiler is not None
    base: dict[str, Any] = {"message": "", "executor_pod_name": None, "files": {}}
    if test.verdict is Verdict.IE:
        message = {"message": f"not judged: {test.message}"}
        return (
            base | {"status": "SandboxError", "compile_result": None, "run_result": None} | message
        )
    if compiled and test.verdict is Verdict.CE:
        compiling = _command("Finished", 0.0, 1, "", test.message)
        return base | {"status": "Failed", "compile_result": compiling, "run_result": None}
    running = _running(test)
    fine = running["status"] == "Finished" and running["return_code"] == 0
    return base | {
        "status": "Success" if fine else "Failed",
        "compile_result": _command("Finished", 0.0, 0, "", "") if compiled else None,
        "run_result": running,
    }


def _running(test: TestReport) -> dict[str, Any]:
    if test.verdict is Verdict.TLE:
        return _command("TimeLimitExceeded", test.wall_s, None, test.stdout, test.stderr)
    code = test.exit_status if test.signal is None else -test.signal
    stderr = test.stderr
    if test.verdict is Verdict.OLE:  # its output is cut: never a success
        code = code or 1
        stderr = f"{stderr}\n{test.message}".lstrip()
    return _command("Finished", test.wall_s, code, test.stdout, stderr)


def _command(
    status: str, seconds: float, code: int | None, stdout: str, stderr: str
) -> dict[str, Any]:
    return {
        "status": status,
        "execution_time": seconds,
        "return_code": code,
        "stdout": stdout,
        "stderr": stderr,
    }


# --- /submit ---

_FENCED = re.compile(r"```([^\n]*)\n(.*?)\n\s*```", re.DOTALL)
_UNFINISHED = re.compile(r"```([^\n]*)\n(.*)", re.DOTALL)
_OJ = "CommonOJDataset"
_COMPILED_S, _INTERPRETED_S = 10.0, 20.0


def extracted(completion: str, language: str) -> str:
    """The program in an answer: the first fenced block in the language, else the first of all.

    Where no block is finished, the one that is not; where there is none, the whole answer. (There,
    an answer without fences is searched for lines of code.)
    """
    blocks = _FENCED.findall(completion) or _UNFINISHED.findall(completion)
    tags = LANGUAGES[language_of(language)].tags
    for tag, code in blocks:
        if tags.fullmatch(tag.strip().lower()):
            return str(code)
    return str(blocks[0][1]) if blocks else completion


def submit_job(asked: Submit, settings: ServeSettings) -> JudgeJob:
    """Returns the job of ``/submit``.

    Raises:
        RefusedError: It names a data set instead of giving tests, or another kind than stdio.
    """
    config = asked.config
    if config.custom_extract_logic is not None:
        raise RefusedError(422, "custom_extract_logic is not served: it is code of the caller")
    if config.dataset_type not in (None, _OJ):
        kind = config.dataset_type[:_SHOWN]
        raise RefusedError(400, f"dataset_type {kind!r} is not served; allowed: {_OJ}")
    if config.language is None:
        raise RefusedError(400, "config.language is missing")
    if not isinstance(config.provided_data, dict) or "test" not in config.provided_data:
        raise RefusedError(
            400, "data sets are not kept here; allowed: config.provided_data with its tests"
        )
    tests = []
    for place, case in enumerate(_cases(config.provided_data["test"])):
        test = parsed(StdioTest, case)
        if set(test.input) != {"stdin"} or set(test.output) != {"stdout"}:
            raise RefusedError(422, f"test[{place}] uses files; allowed: stdin and stdout only")
        tests.append(Test(test.input["stdin"], test.output["stdout"]))
    language = language_of(config.language)
    default_s = _INTERPRETED_S if LANGUAGES[language].compiler is None else _COMPILED_S
    code = extracted(asked.completion, config.language)
    seconds = config.run_timeout or default_s
    job = _job(code, config.language, tuple(tests), seconds, -1, settings)
    return replace(job, stop_at_first_failure=not config.extra.get("run_all_cases", False))


def _cases(given: Any) -> list[Any]:
    """The tests, which may be given as JSON in a text."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    if not isinstance(given, list):
        raise RefusedError(422, "config.provided_data.test is no list of tests")
    if len(given) > MOST_TESTS:
        raise RefusedError(422, f"there are {len(given)} tests; allowed: {MOST_TESTS}")
    return given


def submit_result(asked: Submit, job: JudgeJob, report: JudgeReport) -> dict[str, Any]:
    """Returns the answer of ``/submit``: the tests up to the first that failed, as there.

    Raises:
        NotJudgedError: Of a test nothing is known.
    """
    why = infrastructure(report)
    if why is not None:
        raise NotJudgedError(why)
    config, results = asked.config, []
    for place, test in enumerate(job.tests):
        result = run_result(report, place, config.language or "python")
        printed = report.tests[place].stdout
        passed = result["status"] == "Success" and same_stdout(test.output, printed)
        info = {"input": {"stdin": test.input}, "output": {"stdout": test.output}}
        results.append({"passed": passed, "exec_info": result, "test_info": info})
        if not passed and not config.extra.get("run_all_cases", False):
            break
    return {
        "id": asked.id,
        "accepted": all(result["passed"] for result in results),
        "extracted_code": job.source,
        "full_code": None,
        "test_code": None,
        "tests": results,
        "extracted_type": None,
        "extra": None,
    }
