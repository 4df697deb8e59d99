"""``rlef judge``: one program on one problem's tests."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import find_problem, print_json, print_rich

if TYPE_CHECKING:
    from rlef.problems import Problem
    from rlef.sandbox import JudgeReport

EXAMPLES = (
    "Examples: rlef judge try.py --data mini:test --problem NAME · "
    "cat try.py | rlef judge - --data jsonl:mine.jsonl --problem NAME --json"
)
_MESSAGE_LINES = 6


def judge(
    program: Annotated[str, typer.Argument(help='A file, or "-" for standard input.')],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Problems, such as mini:test.")],
    problem: Annotated[str, typer.Option(metavar="NAME", help="Which one of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a program; exit status 0 only if it passes every test."""
    from rlef.environment import final_job
    from rlef.problems import load_problems
    from rlef.sandbox import Sandbox

    source = _read(program)
    chosen = find_problem(load_problems(data), problem, data)
    job = replace(final_job(chosen, source), stop_at_first_failure=False)
    with Sandbox(workers=1) as sandbox:
        report = sandbox.judge_many([job])[0]
    if as_json:
        print_json(_as_json(report, chosen))
    else:
        _print_table(report, chosen)
    raise typer.Exit(0 if report.passed else 1)


def _read(program: str) -> str:
    try:
        return sys.stdin.read() if program == "-" else Path(program).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{program} is not UTF-8: {error}") from None
    except IsADirectoryError:
        raise typer.BadParameter(f"{program} is a folder; allowed: a file or -") from None


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


def _print_table(report: "JudgeReport", problem: "Problem") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("test", "set", "verdict"):
        table.add_column(heading, no_wrap=True)
    table.add_column("cpu s", justify="right", no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("message", overflow="fold")
    for i, (name, test) in enumerate(zip(_sets(problem), report.tests, strict=True), start=1):
        verdict = Text(test.verdict.value, style="green" if test.verdict == "AC" else "red")
        lines = test.message.splitlines()
        shown = lines if len(lines) <= _MESSAGE_LINES else ["...", *lines[-_MESSAGE_LINES:]]
        message = Text("\n".join(shown))
        table.add_row(str(i), name, verdict, f"{test.cpu_s:.3f}", f"{test.memory_mb:.0f}", message)
    print_rich(table)
    passed = sum(test.verdict == "AC" for test in report.tests)
    typer.echo(f"{problem.name}: {report.verdict.value}, {passed} of {len(report.tests)} tests")
