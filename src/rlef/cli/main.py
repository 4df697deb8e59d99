"""The command ``rlef``: exit status 0 fine, 1 the work failed, 2 the words are wrong.

Stopped by Ctrl-C: 130; by SIGTERM: 143.
"""

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from rlef import __version__
from rlef.cli import (
    bench,
    compare,
    data,
    env,
    evaluate,
    export,
    judge,
    plan,
    recipe,
    report,
    rollouts,
    runs,
    serve,
    show,
    study,
    train,
    view,
    warmstart,
)
from rlef.cli.common import INTERRUPTED, examples, say, stdout_named, stopped_by_sigterm
from rlef.cli.common import show as print_line
from rlef.text import PLAIN

_UsageError: Any = typer.BadParameter.__mro__[1]
"""The parent of all errors of words; typer does not name it."""


class _Commands(typer.core.TyperGroup):
    """All commands; those that keep nothing when they are stopped need not say so themselves."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("\nstopped; nothing of this call is kept")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="rlef",
    cls=_Commands,
    help="Train and evaluate code language models that learn from execution feedback.",
    epilog=examples(
        ("a model learns in half an hour on two cores", "rlef train mini"),
        ("what a command takes", "rlef eval --help"),
        ("let this shell complete rlef's words", "rlef --install-completion"),
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("plan", epilog=plan.EXAMPLES)(plan.plan)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("rollouts", epilog=rollouts.EXAMPLES)(rollouts.rollouts)
app.command("judge", epilog=judge.EXAMPLES)(judge.judge)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("view", epilog=view.EXAMPLES)(view.view)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("runs", epilog=runs.EXAMPLES)(runs.runs)
app.command("show", epilog=show.EXAMPLES)(show.show_run)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("study", epilog=study.EXAMPLES)(study.study)
app.command("warmstart", epilog=warmstart.EXAMPLES)(warmstart.warmstart)
app.command("env", epilog=env.EXAMPLES)(env.env)
app.add_typer(data.app, name="data")
app.add_typer(recipe.app, name="recipe")
app.add_typer(bench.app, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(f"rlef {__version__}")
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
    with stopped_by_sigterm():
        sys.exit(_run(sys.argv[1:] if args is None else args))


def _run(words: list[str]) -> int:
    """Runs a command and returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no character may end the work
            stream.reconfigure(errors=PLAIN)
    try:
        _refuse_empty(words)
        code = typer.main.get_command(app).main(args=words, prog_name="rlef", standalone_mode=False)
        if sys.stdout is not None:
            with stdout_named():
                sys.stdout.flush()
    except typer.Abort:
        return INTERRUPTED
    except _UsageError as error:
        return _wrong_words(error)
    except Exception as error:  # the outermost frame: a user gets one line, whatever broke
        if os.environ.get("RLEF_TRACEBACK") == "1":
            raise
        return _failed(error)
    return code if isinstance(code, int) else 0


def _refuse_empty(words: Sequence[str]) -> None:
    """An empty word is a variable of the shell that is not set."""
    for before, word in zip(["rlef", *words], words, strict=False):
        if not word.strip() or re.fullmatch(r"--[a-z-]+=\s*", word):
            place = word.rstrip("= ") or before
            raise typer.BadParameter(f"an empty word at {place}; allowed: a value")


def _wrong_words(error: Any) -> int:
    """One line, with the command that helps; or that help, for a command without words."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        message = error.format_message().removeprefix("Invalid value: ").removesuffix(".")
        hint = f"; see: {error.ctx.command_path} --help" if error.ctx else ""
        say(f"rlef: {' '.join(message.split())}{hint}")
    return int(error.exit_code)


def _failed(error: Exception) -> int:
    from rlef.cli.errors import explain

    message, code = explain(error)
    if isinstance(error, OSError) and error.filename == "standard output":
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what waits to be written never can be
    say(f"rlef: {message}")
    return code


if __name__ == "__main__":
    main()
