"""``rlef report``: the page and the table of a run."""

import errno
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
)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The page to write; by default RUN/report.html.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the page of a training and print its table; of an evaluation, print its tables."""
    from rlef.cli.files import check_new_files
    from rlef.run import RunFolder

    check_new_files(out)
    folder = RunFolder(run)
    if not folder.is_run():
        _refuse_study(run)
        RunFolder.open(run)  # says what it is
    if is_evaluation(folder):
        _evaluation(folder, out)
    else:
        _training(folder, out)


def _training(run: "RunFolder", out: Path | None) -> None:
    from rlef.report import summary_table
    from rlef.stored import read_summary

    summary = read_summary(run)
    page, failed = written_page(run, out)
    if summary is None:
        say(f"not finished; go on with: rlef train {shlex.quote(str(run.path))}")
    else:
        print_rich(summary_table(summary))
    if failed is not None:
        raise failed
    show(str(page))


def written_page(run: "RunFolder", out: Path | None = None) -> tuple[Path, RuntimeError | None]:
    """Writes the page of a training.

    Returns:
        Its path, and the error to raise, once the rest is shown, if it may not be written there.
    """
    from rlef.report import write_report

    path = out or run.report_path
    try:
        return write_report(run, out), None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        again = f"rlef report {shlex.quote(str(run.path))} --out FILE"
        reason = f"{path}: {error.strerror}; to write the page elsewhere: {again}"
        return path, RuntimeError(reason)


def _evaluation(run: "RunFolder", out: Path | None) -> None:
    from rlef.report import evaluation_screen
    from rlef.stored import EPISODES, read_options, read_summary

    if out is not None:
        raise typer.BadParameter(
            f"{run.path} is an evaluation, which has no page; allowed: no --out"
        )
    options, summary = read_options(run), read_summary(run)
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


def _refuse_study(path: Path) -> None:
    """Raises RunError for the folder of a study or of several seeds, which holds runs."""
    from rlef.run import RunError

    if (path / "study.html").is_file():
        raise RunError(f"{path} is a study; its page is {path / 'study.html'}")
    runs = sorted(config.parent for config in path.glob("*/config.yaml"))
    if runs:
        raise RunError(f"{path} holds runs; allowed: one of them, such as {runs[0]}")
