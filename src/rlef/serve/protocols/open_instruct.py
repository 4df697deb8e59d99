"""open-instruct's ``/test_program`` and ``/test_program_stdio``, as ``CodeVerifier`` calls them.

Sources: allenai/open-instruct, ``open_instruct/code_utils/{api,code_utils,testing_util}.py`` (the
service), ``open_instruct/ground_truth_utils.py`` (the client, which sends one request and counts
any error as no reward, so requests wait for a place in the queue).
"""

import asyncio
import base64
import json
import pickle
import pickletools
import re
import zlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rlef.problems import Test
from rlef.problems.literals import call_input
from rlef.problems.livecodebench import PRELUDE
from rlef.sandbox import JudgeJob, JudgeReport, Limits
from rlef.sandbox.verdicts import as_bytes
from rlef.serve.answers import Desk, Manners, answered
from rlef.serve.errors import NotJudgedError, RefusedError
from rlef.serve.schema import MOST_TESTS, checked, infrastructure, parsed
from rlef.serve.settings import ServeSettings

MANNERS = Manners(error=lambda why: {"detail": why}, busy=503, late=503, unable=500)
_ENTRY_POINT = "rlef_test"
"""Function mode wants a name; no test calls it."""
_MEMORY_MB = 4096
_LEAST_S, _MOST_S, _TIMES = 30.0, 300.0, 10.0
_SHARE = 0.9
"""The client waits for ten time limits, within these bounds; the answer comes before."""


class TestProgram(BaseModel):
    """Body of both; unknown fields are ignored, as there."""

    __test__ = False  # not a pytest class
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    program: str
    tests: Any = Field(
        description="texts of asserts, or {input, output}; also as JSON, or as base64 of zlib of "
        "a pickle of those"
    )
    max_execution_time: float = Field(1.0, gt=0, description="CPU seconds of a test")


class TestProgramResult(BaseModel):
    """Answer of both."""

    __test__ = False

    results: list[int] = Field(description="1: passed, 0: not")
    runtimes: list[float] = Field(description="CPU seconds; -1: not passed")


def routes(desk: Desk) -> list[Route]:
    """The endpoints."""
    service, settings = desk.service, desk.settings

    async def answer(request: Request, asked: TestProgram, job: JudgeJob | None) -> Response:
        if job is None:
            return answered({"results": [], "runtimes": []})
        patience_s = _SHARE * max(_LEAST_S, min(_MOST_S, _TIMES * asked.max_execution_time))
        report = await service.judge(
            job, deadline_s=patience_s, patient=True, gone=request.is_disconnected
        )
        return answered(result(report))

    async def test_program(request: Request, body: Any) -> Response:
        asked = parsed(TestProgram, body)
        return await answer(request, asked, await asyncio.to_thread(assert_job, asked, settings))

    async def test_program_stdio(request: Request, body: Any) -> Response:
        asked = parsed(TestProgram, body)
        return await answer(request, asked, await asyncio.to_thread(stdio_job, asked, settings))

    return [
        Route("/test_program", desk.post(test_program, MANNERS), methods=["POST"]),
        Route("/test_program_stdio", desk.post(test_program_stdio, MANNERS), methods=["POST"]),
    ]


def assert_job(asked: TestProgram, settings: ServeSettings) -> JudgeJob | None:
    """Returns the job that runs each test behind the program; ``None``: no tests.

    A program that ends by itself before its test has run has not passed, whatever its exit status.

    Raises:
        RefusedError: The tests are not texts, or there is too much of something.
    """
    cases = decoded(asked.tests, settings.max_body)
    if not all(isinstance(case, str) for case in cases):
        raise RefusedError(422, "field 'tests' is no list of texts")
    tests = tuple(Test(call_input("None", case), "null") for case in cases)
    job = JudgeJob(
        source=asked.program,
        tests=tests,
        mode="function",
        entry_point=_ENTRY_POINT,
        limits=_limits(asked, settings, 1024),
    )
    return checked(job, settings) if tests else None


def stdio_job(asked: TestProgram, settings: ServeSettings) -> JudgeJob | None:
    """Returns the job that runs the program on each input; ``None``: no tests.

    As there, the rules of LiveCodeBench hold, and its imports stand before the program.

    Raises:
        RefusedError: The tests are not inputs and outputs, or there is too much of something.
    """
    tests = []
    for place, case in enumerate(decoded(asked.tests, settings.max_body)):
        if not isinstance(case, dict) or not {"input", "output"} <= case.keys():
            raise RefusedError(422, f"field 'tests[{place}]' is no object with input and output")
        given, wanted = _text(case["input"]), _text(case["output"])
        if given is None or wanted is None:
            raise RefusedError(422, f"field 'tests[{place}]': input and output must be text")
        tests.append(Test(given, wanted))
    longest = max((len(as_bytes(test.output)) for test in tests), default=0)
    job = JudgeJob(
        source=asked.program,
        prelude=PRELUDE,
        tests=tuple(tests),
        limits=_limits(asked, settings, max(1024, 2 * longest // 1024)),
        checker="compat:lcb",
    )
    return checked(job, settings) if tests else None


def _text(value: Any) -> str | None:
    """A text; lines in a list are joined, as there."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None


def _limits(asked: TestProgram, settings: ServeSettings, output_kb: int) -> Limits:
    seconds = asked.max_execution_time
    return Limits(
        cpu_s=seconds,
        idle_s=seconds,
        memory_mb=min(_MEMORY_MB, settings.max_memory_mb),
        output_kb=min(output_kb, settings.max_output_kb),
    )


def result(report: JudgeReport) -> dict[str, Any]:
    """Returns the answer.

    Raises:
        NotJudgedError: Of a test nothing is known: there is no word for that, so it is an error.
    """
    why = infrastructure(report)
    if why is not None:
        raise NotJudgedError(why)
    passed = [test.verdict == "AC" for test in report.tests]
    seconds = [test.cpu_s for test in report.tests]
    return {
        "results": [int(one) for one in passed],
        "runtimes": [s if one else -1.0 for one, s in zip(passed, seconds, strict=True)],
    }


def decoded(tests: Any, most: int) -> list[Any]:
    """The list of tests in any of the forms that the service of open-instruct takes.

    Args:
        tests: A list, JSON of one, or base64 of zlib of its pickle. What is pickled may be made of
            plain values only: nothing of it is run.
        most: Bytes that it may have when it is unpacked.

    Raises:
        RefusedError: It is none of these.
    """
    if not tests:
        return []
    found = tests
    if isinstance(tests, str):
        try:
            found = json.loads(tests)
        except (ValueError, RecursionError):
            found = _unpickled(tests, most)
    if not isinstance(found, list):
        raise RefusedError(422, "field 'tests' is no list, nor JSON or zlib and pickle of one")
    if len(found) > MOST_TESTS:
        raise RefusedError(422, f"field 'tests' has {len(found)} tests; allowed: {MOST_TESTS}")
    _refuse_longer(found, most)
    return found


def _refuse_longer(tests: list[Any], most: int) -> None:
    """Refuses tests of more text; a pickle may name one text a million times."""
    length = 0
    for case in tests:
        for text in case.values() if isinstance(case, dict) else [case]:
            for line in text if isinstance(text, list) else [text]:
                length += 1 + (len(line) if isinstance(line, str) else 0)
                if length > most:
                    raise RefusedError(413, f"field 'tests' is longer than {most >> 20} MB")


_VALUES = re.compile(
    r"PROTO|FRAME|STOP|MARK|NONE|NEW(TRUE|FALSE)|BININT[12]?|BINFLOAT|(SHORT_)?BINUNICODE8?"
    r"|EMPTY_(LIST|DICT)|APPENDS?|SETITEMS?"
)
_MEMORY = re.compile(r"MEMOIZE|(LONG_)?BIN(PUT|GET)")
"""What pickles of lists, dicts, texts and numbers are made of, from protocol 2 on. Others look
something up, call it, or take as much memory as they like; so does a far place in the memory."""


_MOST_STEPS = 16 * MOST_TESTS
"""Of a pickle: each makes one value at most. A test of three texts has thirteen."""


def _refuse_other_than_values(data: bytes) -> None:
    for count, (code, argument, _) in enumerate(pickletools.genops(data)):
        if count > _MOST_STEPS:
            raise RefusedError(413, f"field 'tests' is a pickle of over {_MOST_STEPS:,} steps")
        is_near = bool(_MEMORY.fullmatch(code.name)) and (argument or 0) <= len(data)
        if not is_near and not _VALUES.fullmatch(code.name):
            raise pickle.UnpicklingError(f"{code.name} makes no plain value")


def _unpickled(text: str, most: int) -> Any:
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text.encode()), most)
        if unpacker.unconsumed_tail:
            raise RefusedError(413, f"field 'tests' is longer than {most >> 20} MB when unpacked")
        _refuse_other_than_values(data)
        return pickle.loads(data)
    except RefusedError:
        raise
    except Exception:  # a pickle raises whatever it leads to
        return None
