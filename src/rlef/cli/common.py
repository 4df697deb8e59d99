"""What several commands need."""

import difflib
import itertools
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.text import printable

if TYPE_CHECKING:
    from rlef.evaluation.specs import MetricSpec
    from rlef.problems import Problem
    from rlef.run import RunFolder


def say(text: str) -> None:
    """Prints a line for the user to stderr."""
    typer.echo(printable(text), err=True)


def show(text: str) -> None:
    """Prints a part of the result to stdout."""
    with stdout_named():
        typer.echo(printable(text))


@contextmanager
def stdout_named() -> Iterator[None]:
    """Gives errors of writing to stdout its name: a full disk, a closed file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or "standard output") from None


JudgeUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Judge at this rlef serve; its token: RLEF_JUDGE_TOKEN. Default: judge here.",
        show_default=False,
    ),
]
"""The option of commands that judge."""

Data = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="Problems, such as mini:test.", show_default=False),
]
"""The option of commands that take problems or something in their place."""


def examples(*parts: tuple[str, ...]) -> str:
    """The end of a command's help: what its words may be, each under what they are for.

    Args:
        parts: What for, then one command or more.
    """
    lines = [line for what, *words in parts for line in (f"  # {what}", *(f"  {w}" for w in words))]
    return "\n".join(["\b", "Examples:", *lines])  # \b: its lines stay as they are


def recipes(incomplete: str) -> list[str]:
    """The shipped recipes, for a shell that completes words."""
    from rlef.config import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def is_evaluation(run: "RunFolder") -> bool:
    """Whether the folder was begun by ``rlef eval``.

    Raises:
        RunDamagedError: Its config cannot be read.
    """
    from rlef import stored

    return run.is_run() and stored.is_evaluation(stored.read_options(run))


@contextmanager
def dropped_if_unused(run: "RunFolder", *, is_new: bool) -> Iterator[None]:
    """Removes a new run folder again if the words turn out wrong before anything is in it."""
    from rlef.cli.errors import explain

    try:
        yield
    except Exception as error:
        if is_new and explain(error)[1] == 2:
            run.discard_if_untouched()
        raise


INTERRUPTED, TERMINATED = 130, 143
"""Exit statuses after Ctrl-C and SIGTERM: 128 and the signal's number, as shells have it."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM, as Slurm and Kubernetes send it, stop a command as Ctrl-C does.

    The exit status is then 143 where Ctrl-C has 130. A SIGTERM that is ignored stays so.
    """
    came = False

    def stop(*_: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; what follows is SIGKILL
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except SystemExit as end:
        if came and end.code == INTERRUPTED:
            raise SystemExit(TERMINATED) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def find_problem(problems: "Sequence[Problem]", name: str, spec: str) -> "Problem":
    """The problem of this name.

    Raises:
        ProblemError: There is none.
    """
    from rlef.problems import ProblemError

    by_name = {problem.name: problem for problem in problems}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.4)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ProblemError(
        f"no problem {name!r} in {spec!r}{hint}; "
        f"allowed: one of its {len(by_name)}, see: rlef data show {spec}"
    )


def check_judge_url(urls: str | None) -> None:
    """Raises BadParameter unless it may be the address of a judge."""
    if urls is None:
        return
    from rlef.serve.endpoint import check_urls

    try:
        check_urls(urls)
    except ValueError as error:
        raise typer.BadParameter(f"--judge-url: {error}") from None


def recipe_and_words(
    recipe: str, words: "Sequence[str] | None", *, default: str
) -> tuple[str, list[str]]:
    """Takes a setting that stands where a recipe may for what it is."""
    if "=" in recipe and not Path(recipe).exists():
        return default, [recipe, *(words or [])]
    return recipe, list(words or [])


def metric_specs(metrics: str) -> "tuple[MetricSpec, ...]":
    """Metrics by their names; BadParameter where a name is of none."""
    from rlef.evaluation.specs import parse_metrics

    try:
        return parse_metrics(metrics)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


NEW_RUN = Path("runs", ".new")
"""Stands for a run that has no name yet, to see whether it can be made."""


def new_run(name: str, config: str, within: str = "") -> "RunFolder":
    """Makes a run in ``runs/NAME-TIME``, or in a folder of that, where no other command makes one.

    Args:
        name: Of the recipe, or what else the run is.
        config: YAML text.
        within: The folder of it; ``""``: none.
    """
    from rlef.run import RunFolder

    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    runs = Path("runs")
    made = [] if runs.exists() else [runs]
    for again in itertools.chain([""], (f"-{count}" for count in itertools.count(2))):
        folder = runs / f"{stem}{again}"
        with suppress(FileExistsError):
            if not os.path.lexists(folder):
                folder.mkdir(parents=True)
                return RunFolder.create(folder / within, config, made=[folder, *made])
    raise AssertionError("unreachable")


def json_text(value: Mapping[str, object]) -> str:
    """A result for programs, in ASCII, with null for NaN."""
    from rlef.run import json_value

    return json.dumps(json_value(value), indent=2)


def print_json(value: Mapping[str, object]) -> None:
    """Prints a result for programs."""
    with stdout_named():
        typer.echo(json_text(value))


def print_rich(renderable: object) -> None:
    """Prints a table or text of ``rich`` to stdout, with colour on a terminal only.

    What looks like markup is text. What is no terminal has no width, unless ``COLUMNS`` says one.
    """
    from rich.console import Console
    from rich.segment import Segment, Segments

    from rlef.report.fitted import output_width

    console = Console(width=output_width(), highlight=False, markup=False, emoji=False)
    segments = console.render(renderable)  # type: ignore[arg-type]
    shown = [s if s.control else Segment(printable(s.text), s.style) for s in segments]
    with stdout_named():
        console.print(Segments(shown), end="", crop=False)


def quiet_transformers() -> None:
    """Turns off the progress bars of loading and saving, which take less than a second."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
