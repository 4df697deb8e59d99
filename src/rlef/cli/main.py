"""The command ``rlef``: exit status 0 fine, 1 the work failed, 2 the words are wrong."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from rlef import __version__
from rlef.cli import bench, data, env, evaluate, judge, recipe, report, study, train, warmstart

app = typer.Typer(
    name="rlef",
    help="Train and evaluate code language models that learn from execution feedback.",
    epilog="Begin with: rlef train mini",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("judge", epilog=judge.EXAMPLES)(judge.judge)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("study", epilog=study.EXAMPLES)(study.study)
app.command("warmstart", epilog=warmstart.EXAMPLES)(warmstart.warmstart)
app.command("env")(env.env)
app.add_typer(data.app, name="data")
app.add_typer(recipe.app, name="recipe")
app.add_typer(bench.app, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlef {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits.

    Args:
        args: The words after ``rlef``; by default those of the process.
    """
    try:
        typer.main.get_command(app).main(args=args, prog_name="rlef")
    except Exception as error:  # the outermost frame: a user gets one line, whatever broke
        if os.environ.get("RLEF_TRACEBACK") == "1":
            raise
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    from rlef.config import ConfigError
    from rlef.engines.types import ModelError
    from rlef.problems import ProblemError
    from rlef.run import RunError

    if isinstance(error, FileNotFoundError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    elif isinstance(error, ValueError | OSError | RuntimeError | ArithmeticError) and str(error):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error} (RLEF_TRACEBACK=1 shows where)"
    typer.echo(f"rlef: {' '.join(message.split())}", err=True)
    words = (ConfigError, ModelError, ProblemError, RunError, FileNotFoundError)
    sys.exit(2 if isinstance(error, words) else 1)


if __name__ == "__main__":
    main()
