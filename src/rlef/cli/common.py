"""What several commands need."""

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rlef.problems import Problem


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


def new_run_path(name: str) -> Path:
    """``runs/NAME-TIME``, a path that does not exist."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path = Path("runs") / stem
    count = 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{stem}-{count}"
    return path


def print_json(value: Mapping[str, object]) -> None:
    """Prints a result for programs, with null for NaN."""
    from rlef.run import json_value

    typer.echo(json.dumps(json_value(value), indent=2))


def print_rich(renderable: object) -> None:
    """Prints a table or text of ``rich`` to stdout, with colour on a terminal only."""
    from rich.console import Console

    Console(highlight=False).print(renderable)


def quiet_transformers() -> None:
    """Turns off the progress bars of loading and saving, which take less than a second."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
