"""``rlef report``: the page and the table of a run."""

import errno
import importlib.util
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import examples, is_evaluation, print_rich, say, show

if TYPE_CHECKING:
    from rlef.run import RunFolder

EXAMPLES = examples(
    ("the table of a run, and its page in runs/one/report.html", "rlef report runs/one"),
    ("the page somewhere else", "rlef report runs/one --out one.html"),
    ("the page of a study", "rlef report runs/study"),
)
_NEEDED = "duckdb"


class NoDatabaseError(RuntimeError):
    """The page needs a package that is not installed. One line: which, and what to do."""


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a training, an evaluation or a study."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The page to write; by default RUN/report.html.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the page of a run, one file that can be mailed, and print its tables."""
    from rlef.cli.files import check_new_files, is_stream
    from rlef.run import RunFolder
    from rlef.stored import read_metrics, read_summary

    check_new_files(out)
    folder, failed = RunFolder(run), None
    if folder.is_run():
        read_metrics(folder)  # names the line that is damaged, before anything is written
        summary = read_summary(folder)
        page, failed = written_page(run, out)
        if not is_stream(out):
            (_show_evaluation if is_evaluation(folder) else _show_training)(folder, summary)
    elif (run / "study.json").is_file():
        page, failed = written_page(run, out)
    else:
        _refuse_runs(run)
        RunFolder.open(run)  # says what it is
    if failed is not None:
        raise failed
    if not is_stream(out):
        show(str(page))


def written_page(folder: Path, out: Path | None = None) -> tuple[Path, RuntimeError | None]:
    """Writes the page of a run or a study.

    Returns:
        Its path, and the error to raise, once the rest is shown, if it cannot be written there.
    """
    from rlef.run import RunWriteError

    path = out or folder / "report.html"
    if importlib.util.find_spec(_NEEDED) is None:
        again = shlex.join(["rlef", "report", str(folder)])
        reason = f"{path} is not written: it needs {_NEEDED}; pip install {_NEEDED}, then: {again}"
        return path, NoDatabaseError(reason)
    from rlef.cli.files import write_new_file
    from rlef.view.cache import default_folder
    from rlef.view.page import page_of, write_report
    from rlef.view.snapshot import Bounds

    if out is not None:
        page = page_of(folder, default_folder(), Bounds())
        write_new_file(out, page.encode("utf-8", "replace").decode())
        return out, None
    try:
        return write_report(folder, cache=default_folder()), None
    except RunWriteError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _REFUSALS:
            raise
        again = f"rlef report {shlex.quote(str(folder))} --out FILE"
        reason = f"{path}: {cause.strerror}; to write the page elsewhere: {again}"
        return path, RuntimeError(reason)


_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)


def _show_training(run: "RunFolder", summary: "dict[str, object] | None") -> None:
    from rlef.report import summary_table

    if summary is None:
        say(f"not finished; go on with: rlef train {shlex.quote(str(run.path))}")
    else:
        print_rich(summary_table(summary))


def _show_evaluation(run: "RunFolder", summary: "dict[str, object] | None") -> None:
    from rlef.report import evaluation_screen
    from rlef.stored import EPISODES, read_options

    options = read_options(run)
    if summary is not None:
        print_rich(evaluation_screen(summary, run.path, is_judged="samples_file" in options))
        return
    words = ["rlef", "eval", *([options["model"]] if options.get("model") else [])]
    if options.get("samples_file"):
        words += ["--samples-file", options["samples_file"]]
    words += ["--data", options["data"]]
    again = f"{shlex.join(words)} ... --out {shlex.quote(str(run.path))}"
    count = len(run.read_rollouts(EPISODES))
    say(f"an evaluation, not finished: {count} episodes so far; the same words go on: {again}")


def _refuse_runs(path: Path) -> None:
    """Raises RunError for a folder that is no run and no study, but holds runs."""
    from rlef.run import RunError

    runs = sorted(config.parent for config in path.glob("*/config.yaml"))
    if runs:
        raise RunError(f"{path} holds runs; allowed: one of them, such as {runs[0]}")
