"""``rlef data``: look at problems, check and repair them."""

from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli import data_check
from rlef.cli.common import examples, find_problem, say
from rlef.cli.common import show as print_text

if TYPE_CHECKING:
    from rlef.problems import Problem

EXAMPLES = examples(
    ("two problems with their public tests", "rlef data show mini:test --limit 2"),
    ("one by its name", "rlef data show jsonl:mine.jsonl --problem NAME"),
)

app = typer.Typer(
    help="Look at problems and check them.", no_args_is_help=True, rich_markup_mode=None
)
app.command("check", epilog=data_check.EXAMPLES)(data_check.check)


@app.callback()
def _group() -> None:
    pass


@app.command("show", epilog=EXAMPLES)
def show(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="Problems, such as mini:test or jsonl:mine.jsonl.")
    ],
    problem: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this problem.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Only the first so many.")] = 1,
) -> None:
    """Print problems with their public tests."""
    from rlef.problems import load_problems

    problems = load_problems(spec)
    chosen = problems[:limit] if problem is None else [find_problem(problems, problem, spec)]
    for one in chosen:
        print_text(_as_text(one))
    say(f"{len(chosen)} of {len(problems)} problems in {spec}")


def _as_text(problem: "Problem") -> str:
    facts = [f"mode {problem.mode}", f"checker {problem.checker}"]
    if problem.entry_point is not None:
        facts.append(f"function {problem.entry_point}")
    if problem.cpu_s is not None:
        facts.append(f"{problem.cpu_s:g} s")
    if problem.memory_mb is not None:
        facts.append(f"{problem.memory_mb} MB")
    facts.append(f"{len(problem.public_tests)} public, {len(problem.private_tests)} private tests")
    if problem.family is not None:
        facts.append(f"family {problem.family}")
    if problem.hidden_detail is not None:
        facts.append(f"hidden detail: {problem.hidden_detail}")
    parts = [f"=== {problem.name}", " · ".join(facts), "", problem.statement.rstrip(), ""]
    for i, test in enumerate(problem.public_tests, start=1):
        parts += [f"--- public test {i}: input", test.input.rstrip("\n")]
        parts += [f"--- public test {i}: output", test.output.rstrip("\n")]
    return "\n".join([*parts, ""])
