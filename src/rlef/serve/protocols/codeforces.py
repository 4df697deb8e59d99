"""The package for Codeforces that open-r1 has for Piston: a program, its input, a checker, 1 or 0.

Source: guipenedo/piston, ``packages/codeforces/1.0.0/run``, a shell script that runs the program on
``input.txt`` and compares with ``correct_output.txt`` by ``diff -b`` or by ``checker.py``; what it
prints is what open-r1 reads.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, TestReport, Verdict
from rlef.serve.errors import NotJudgedError, RefusedError
from rlef.serve.schema import checked, infrastructure
from rlef.serve.settings import ServeSettings

Judge = Callable[[JudgeJob], Awaitable[JudgeReport]]
_FILES = frozenset({"input.txt", "correct_output.txt", "grader_config", "checker.py"})
_CONFIG = re.compile(r"^(TIME_LIMIT|MEMORY_LIMIT|INPUT_MODE)=(.*)$", re.M)
_LIMITS = {"TIME_LIMIT": 10.0, "MEMORY_LIMIT": 1024.0}
_CHECKER_S, _CHECKER_MB, _CHECKER_KB = 10.0, 1024, 1024
_OUTPUT_KB = 16 * 1024
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE | re.ASCII)
_BLANKS = re.compile(r"[ \t\n\r\v\f]+")
_RIGHT = ("1", "100")
_NAMES = ("input.txt", "correct_output.txt", "output.txt")
_FILES_IN_MEMORY = """\
def _rlef_files():
    import builtins, io, json, os, sys
    texts = dict(zip({names!r}, json.load(sys.stdin)))
    really = builtins.open
    def open_text(file, mode="r", *rest, **words):
        if file not in texts:
            return really(file, mode, *rest, **words)
        return io.BytesIO(texts[file].encode()) if "b" in mode else io.StringIO(texts[file])
    builtins.open = open_text
    sys.argv = ["checker.py", *texts]
_rlef_files()
"""
"""What a checker needs of a folder: it opens the three files that its arguments name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """What a program's output is compared with.

    Attributes:
        given: what the program reads.
        expected: the expected output; ``None``: the output itself is the answer.
        checker: Python that is called with the names of input, expected output and output.
        cpu_s: the program's limit, as its message names it.
        memory_mb: the same.
    """

    given: str
    expected: str | None
    checker: str | None
    cpu_s: float
    memory_mb: float


def asks(language: str, files: Mapping[str, str]) -> bool:
    """Whether a request is one for this package."""
    return "input.txt" in files and files.keys() <= _FILES


def job(
    program: str, language: str, files: Mapping[str, str], settings: ServeSettings
) -> tuple[JudgeJob, Grading]:
    """Returns the job that runs the program, and how its output is graded.

    Raises:
        RefusedError: It asks for what is not served.
    """
    config = dict(_CONFIG.findall(files.get("grader_config", "")))
    if config.get("INPUT_MODE", "stdio").strip() == "file":
        raise RefusedError(400, "INPUT_MODE=file is not served: programs have no folder")
    numbers = {}
    for name, default in _LIMITS.items():
        try:
            numbers[name] = float(config.get(name, "").strip() or default)
        except ValueError:
            raise RefusedError(400, f"grader_config: {name} is no number") from None
        if not numbers[name] > 0:
            raise RefusedError(400, f"grader_config: {name} is {numbers[name]:g}; allowed: above 0")
    grading = Grading(
        given=_unix_lines(files["input.txt"]),
        expected=files.get("correct_output.txt"),
        checker=files.get("checker.py"),
        cpu_s=numbers["TIME_LIMIT"],
        memory_mb=numbers["MEMORY_LIMIT"],
    )
    limits = Limits(
        cpu_s=grading.cpu_s,
        memory_mb=max(1, round(grading.memory_mb)) if grading.memory_mb < 1e9 else 1 << 30,
        output_kb=min(_OUTPUT_KB, settings.max_output_kb),
    )
    run = JudgeJob(
        source=program,
        language=language,
        tests=(Test(grading.given, ""),),
        limits=limits,
        checker="any",
    )
    return checked(run, settings), grading


async def graded(
    grading: Grading, test: TestReport, judge: Judge, settings: ServeSettings
) -> tuple[str, str, int]:
    """Returns what the package prints, what it says on stderr, and its exit status.

    Args:
        grading: Of ``job``.
        test: What became of the program.
        judge: Runs the checker.
        settings: Its limits.

    Raises:
        NotJudgedError: Nothing is known of the checker's run.
    """
    if test.verdict is Verdict.TLE:
        return "0\n", f"Time limit exceeded ({grading.cpu_s:g}s)\n", 0
    if test.verdict is Verdict.MLE:
        return "0\n", f"Memory limit exceeded ({grading.memory_mb:g}MB)\n", 0
    if test.verdict is not Verdict.AC:
        return "0\n", f"Runtime error: {test.message}\n", 0
    printed = _without_empty_lines(test.stdout)
    if grading.expected is None:
        return printed, "", 0
    expected = _without_empty_lines(_unix_lines(grading.expected))
    if grading.checker is None:
        is_right, how = _normal(expected) == _normal(printed), "diff"
    else:
        is_right, how = await _checked(grading, expected, printed, judge, settings), "checker"
    word = "is" if is_right else "isn't"
    return ("1\n" if is_right else "0\n"), f"Output {word} correct ({how})\n", 0


async def _checked(
    grading: Grading, expected: str, printed: str, judge: Judge, settings: ServeSettings
) -> bool:
    """Runs the checker in a jail; one that fails says no, as there."""
    assert grading.checker is not None
    texts = json.dumps([grading.given, expected, printed])
    run = JudgeJob(
        source=grading.checker,
        prelude=_FILES_IN_MEMORY.format(names=_NAMES),
        tests=(Test(texts, ""),),
        limits=Limits(
            cpu_s=min(_CHECKER_S, settings.max_seconds),
            memory_mb=min(_CHECKER_MB, settings.max_memory_mb),
            output_kb=min(_CHECKER_KB, settings.max_output_kb),
        ),
        checker="any",
    )
    report = await judge(checked(run, settings))
    why = infrastructure(report)
    if why is not None:
        raise NotJudgedError(why)
    test = report.tests[0]
    return test.verdict is Verdict.AC and "".join(test.stdout.split()) in _RIGHT


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _without_empty_lines(text: str) -> str:
    return "".join(f"{line}\n" for line in text.split("\n") if line)


def _normal(text: str) -> str:
    """All on one line, with single spaces, and YES and NO in upper case."""
    shouted = _YES_NO.sub(lambda word: word[0].upper(), text)
    return _BLANKS.sub(" ", shouted).strip(" ")
