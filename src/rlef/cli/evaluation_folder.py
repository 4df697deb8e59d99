"""The folder of an evaluation, and what is printed when it is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rlef.cli.common import (
    INTERRUPTED,
    NEW_RUN,
    dropped_if_unused,
    is_evaluation,
    new_run,
    print_json,
    print_rich,
    say,
    show,
)
from rlef.cli.display import Display, Loudness

if TYPE_CHECKING:
    from rlef.run import RunFolder


_LATER = {"missing_failed"}
"""Options that configs of before do not say; such an evaluation goes on with any value."""


def check_folder(path: Path | None) -> None:
    """Raises RunError unless an evaluation can begin or go on there; ``None``: in ``runs/``."""
    from rlef.run import RunError, RunFolder, check_free_folder

    if path is None:
        check_free_folder(NEW_RUN)
        return
    run = RunFolder(path)
    if not run.is_run():
        check_free_folder(path)
    elif not is_evaluation(run):
        raise RunError(
            f"{path} is no evaluation: its config.yaml is that of a training, or of something "
            "else; allowed: an evaluation's folder, or a new or an empty one"
        )


@contextmanager
def open_or_create(path: Path | None, options: dict[str, object]) -> "Iterator[RunFolder]":
    """The folder, locked, new or begun with the same options; a new one goes if it cannot begin.

    Args:
        path: ``None``: a new one in ``runs/``.
        options: What its config is to say; of files on this disk it says their absolute paths.

    Raises:
        RunError: It was begun with other options, or is no evaluation.
        RunBusyError: Another process is at it.
    """
    from rlef.config import dump_values
    from rlef.run import RunFolder

    options = _from_anywhere(options)
    text = dump_values(options)
    if path is None:
        run, is_new = new_run("eval", text), True
    else:
        check_folder(path)
        is_new = not RunFolder(path).is_run()
        run = RunFolder.create(path, text) if is_new else RunFolder.open(path)
    with dropped_if_unused(run, is_new=is_new), run.lock():
        if not is_new:
            _go_on(run, options)
        yield run


def _go_on(run: "RunFolder", options: dict[str, object]) -> None:
    from rlef.config import dump_values
    from rlef.run import RunError
    from rlef.stored import read_options

    begun = read_options(run)
    same = _from_anywhere(begun)
    for key in _LATER & options.keys():
        same.setdefault(key, options[key])
    if same == options:
        if begun != options:
            run.write_config(dump_values(options))
        return
    if run.is_untouched() and run.read_config() == dump_values(begun):
        run.write_config(dump_values(options))
        return
    changed = [key for key in {**options, **same} if same.get(key) != options.get(key)]
    raise RunError(
        f"{run.path} was begun with other values of {', '.join(changed)}; "
        "allowed: the same words again, or another --out"
    )


def _from_anywhere(options: dict[str, object]) -> dict[str, object]:
    """The options with absolute paths, which mean the same from any folder."""
    from rlef.problems.load import absolute_spec, local_path

    data = str(options["data"])
    place = local_path(data)
    if place is not None:
        data = absolute_spec(data).replace(str(place.absolute()), _absolute(place), 1)
    found = {**options, "data": data}
    for key, suffix in (("samples_file", ""), ("prompts", ".txt")):
        name = options.get(key)
        if isinstance(name, str) and name.endswith(suffix) and Path(name).exists():
            found[key] = _absolute(Path(name))
    return found


def _absolute(path: Path) -> str:
    """One path for a file wherever it is named from; a link stays a link, as its name counts."""
    return str(path.parent.resolve() / path.name)


@contextmanager
def resumable(run: "RunFolder", display: Display) -> Iterator[None]:
    """Ends the process with one line at Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        display.close()
        say(f"\nstopped; go on with the same words and: --out {run.path}")
        raise typer.Exit(INTERRUPTED) from None


def print_result(
    result: dict[str, object],
    run: "RunFolder",
    samples: int | None,
    as_json: bool,
    loudness: Loudness,
) -> None:
    """Prints what an evaluation came to.

    Args:
        result: As in ``summary.json``.
        run: Its folder.
        samples: Episodes per problem; ``None``: samples of a file were judged.
        as_json: Whether to print JSON.
        loudness: How much.
    """
    from rlef.report import evaluation_last_line, evaluation_screen

    if as_json:
        print_json(result)
        return
    if loudness is Loudness.QUIET:
        show(evaluation_last_line(result, run.path))
        return
    print_rich(evaluation_screen(result, run.path, is_judged=samples is None))
