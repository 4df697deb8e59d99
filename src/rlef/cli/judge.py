"""``rlef judge``: one program on one problem's tests."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import (
    Data,
    JudgeUrl,
    check_judge_url,
    examples,
    find_problem,
    print_json,
    print_rich,
    say,
    show,
)

if TYPE_CHECKING:
    from rlef.problems import Problem
    from rlef.sandbox import JudgeJob, JudgePool, JudgeReport, TestReport

EXAMPLES = examples(
    ("on all tests of a problem", "rlef judge try.py --data mini:test --problem NAME"),
    (
        "from standard input, for a program to read",
        "cat try.py | rlef judge - --data jsonl:mine.jsonl --problem NAME --json",
    ),
    ("against two files", "rlef judge try.cpp --input in.txt --expected out.txt"),
)
_MESSAGE_LINES = 6
_SILENT_S = 3.0
"""Time after which a test that still runs is named."""


def judge(
    program: Annotated[
        str, typer.Argument(metavar="PROGRAM", help='A file, or "-" for standard input.')
    ],
    data: Data = None,
    problem: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which one of them.", show_default=False)
    ] = None,
    given: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="In place of a problem: what the program reads.",
            show_default=False,
        ),
    ] = None,
    expected: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What it should print then.", show_default=False),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Such as cpp; by default that of the file's name (.cpp, .rs), else the problem's.",
            show_default=False,
        ),
    ] = None,
    judge_url: JudgeUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a program; exit status 0 only if it passes every test."""
    from rlef.languages import LANGUAGES

    if language is not None and language not in LANGUAGES:
        raise typer.BadParameter(f"language is {language!r}; allowed: {', '.join(LANGUAGES)}")
    check_judge_url(judge_url)
    if [program, str(given), str(expected)].count("-") > 1:
        raise typer.BadParameter("- is given twice, and stdin is read once; allowed: one -")
    source = _read(program)
    chosen = _problem(data, problem, given, expected)
    chosen = _in_language(chosen, language, program)

    from rlef.environment import final_job
    from rlef.serve import open_judge

    job = replace(final_job(chosen, source), stop_at_first_failure=False)
    with open_judge(judge_url, 1) as sandbox:
        report = _run(sandbox, job)
    if as_json:
        print_json(_as_json(report, chosen))
    else:
        _print(report, chosen)
    raise typer.Exit(0 if report.passed else 1)


def _problem(
    data: str | None, name: str | None, given: Path | None, expected: Path | None
) -> "Problem":
    """The problem that is named, or one of a single test in two files."""
    from rlef.problems import Problem, Test, load_problems

    if data is not None and name is not None and given is None and expected is None:
        return find_problem(load_problems(data), name, data)
    if given is not None and expected is not None and data is None and name is None:
        test = Test(_read(str(given)), _read(str(expected)))
        return Problem(name=given.name, statement="", public_tests=(test,), private_tests=())
    raise typer.BadParameter(
        "give --data SPEC and --problem NAME, or --input FILE and --expected FILE"
    )


def _in_language(problem: "Problem", language: str | None, program: str) -> "Problem":
    """The problem in the language that is asked for, or that the program's name tells."""
    from rlef.languages import LANGUAGES
    from rlef.problems.programs import in_language

    suffix = Path(program).suffix.lower()
    named = (one.name for one in LANGUAGES.values() if suffix in one.suffixes)
    wanted = language or next(named, problem.language)
    if wanted == problem.language:
        return problem
    own, other = LANGUAGES[problem.language].title, LANGUAGES[wanted].title
    if problem.mode == "function":
        raise typer.BadParameter(
            f"{problem.name} calls a function in {own}, but {program} is {other}; "
            f"allowed: --language {problem.language}, or a program in {own}"
        )
    if language is None and problem.statement:
        say(
            f"judged as {other}, by its name; {problem.name} is a problem in {own} "
            f"(--language {problem.language} judges it so)"
        )
    return in_language(problem, wanted)


def _run(sandbox: "JudgePool", job: "JudgeJob") -> "JudgeReport":
    """Judges test by test, so that a slow one can be named; none after one that cannot compile."""
    from rlef.sandbox.verdicts import summed

    reports: list[TestReport] = []
    for number, test in enumerate(job.tests, start=1):
        with _named(f"test {number} of {len(job.tests)} runs, for at most {job.limits.cpu_s:g} s"):
            [report] = sandbox.judge_many([replace(job, tests=(test,))])[0].tests
        reports.append(report)
        if report.verdict == "CE":
            reports += [report] * (len(job.tests) - number)
            break
    return summed(reports)


@contextmanager
def _named(text: str) -> Iterator[None]:
    """Says what takes so long."""
    timer = threading.Timer(_SILENT_S, say, [text])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode("utf-8")  # as it is: "\r" may be a part of a test
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not UTF-8: {error}") from None
    except IsADirectoryError:
        raise typer.BadParameter(f"{path} is a folder; allowed: a file or -") from None


def _sets(problem: "Problem") -> list[str]:
    return ["public"] * len(problem.public_tests) + ["private"] * len(problem.private_tests)


def _as_json(report: "JudgeReport", problem: "Problem") -> dict[str, object]:
    tests = [
        {
            "set": name,
            "verdict": test.verdict.value,
            "cpu_s": test.cpu_s,
            "wall_s": test.wall_s,
            "memory_mb": test.memory_mb,
            "message": test.message,
        }
        for name, test in zip(_sets(problem), report.tests, strict=True)
    ]
    return {"problem": problem.name, "verdict": report.verdict.value, "tests": tests}


def _print(report: "JudgeReport", problem: "Problem") -> None:
    """A line per test and its message below: one that does not compile says so once."""
    from rich.text import Text

    show(f"{'test':>4}  {'set':<7}  verdict  {'cpu s':>7}  {'MB':>5}")
    said = ""
    for i, (name, test) in enumerate(zip(_sets(problem), report.tests, strict=True), start=1):
        style = "green" if test.verdict == "AC" else "red"
        verdict = (f"{test.verdict.value:<7}", style)
        numbers = f"  {test.cpu_s:7.3f}  {test.memory_mb:5.0f}"
        print_rich(Text.assemble(f"{i:>4}  {name:<7}  ", verdict, numbers))
        if test.verdict == "CE" and test.message == said:
            continue
        said = test.message
        lines = test.message.splitlines()
        for line in lines if len(lines) <= _MESSAGE_LINES else ["...", *lines[-_MESSAGE_LINES:]]:
            show(f"      {line}")
    passed = sum(test.verdict == "AC" for test in report.tests)
    show(f"{problem.name}: {report.verdict.value}, {passed} of {len(report.tests)} tests")
