"""Writes docs/commands.md: every command with its arguments, options and examples, from its help.

usage: python dev/commands_page.py
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from rlef.cli.main import app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
_HEAD = """\
# Commands

<!-- Written by dev/commands_page.py from the help of the commands; do not edit. -->

The same stands in the terminal: `rlef --help`, `rlef train --help`. Exit status: 0 fine, 1 the work
failed, 2 the words are wrong, 130 stopped by Ctrl-C, 143 by SIGTERM. `RLEF_TRACEBACK=1` shows where
an error came from. `rlef --version` prints the version.

`rlef --install-completion` lets bash, zsh or fish complete commands, options, recipes and files; it
adds a line to the shell's own settings. `rlef --show-completion` prints what it would add.

What is not installed is said in a line, with the command that installs it. Where no extra is named,
`pip install rlef` alone is enough.

| command | | needs |
|---|---|---|
"""
_EXTRAS = {
    "train": "`[train]`",
    "eval": "`[train]`; nothing with `--engine openai` or `--samples-file`",
    "plan": "`[train]`",
    "export": "`[train]`",
    "study": "`[train]`",
    "warmstart": "`[train]`",
    "view": "`[view]`",
    "serve": "`[serve]`",
    "bench serve": "`[serve]`",
    "bench train": "`[train]`",
    "bench scale": "`[train]`",
}
"""Of the commands that need one: the extra."""
_OF_ALL = ("help", "install_completion", "show_completion")


def page() -> str:
    """The whole page."""
    found = [*commands()]
    rows = [
        f"| [`rlef {name}`](#rlef-{name.replace(' ', '-')}) | {_first_sentence(command)} "
        f"| {_EXTRAS.get(name, '')} |"
        for name, command in found
    ]
    sections = [line for name, command in found for line in _section(name, command)]
    return _HEAD + "\n".join([*rows, "", *sections]).rstrip() + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words behind ``rlef``."""
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())
        else:
            yield name, command


def examples(command: Any) -> str:
    """The examples of a command, a line each, with a comment above."""
    text = inspect.cleandoc(command.epilog or "").removeprefix("\b\n")
    title, _, lines = text.partition("\n")
    if title != "Examples:":
        raise ValueError(f"{command.name} has no examples")
    return inspect.cleandoc(lines)


def _section(name: str, command: Any) -> Iterator[str]:
    yield f"## rlef {name}\n"
    yield f"{_help(command)}\n"
    context = command.make_context(f"rlef {name}", [], resilient_parsing=True)
    yield f"```\n{' '.join([f'rlef {name}', *command.collect_usage_pieces(context)])}\n```\n"
    yield "| | takes | default | meaning |\n|---|---|---|---|"
    for one in command.params:
        if one.name not in _OF_ALL:
            yield _row(one)
    yield f"\n```bash\n{examples(command)}\n```\n"


def _row(one: Any) -> str:
    is_option = one.param_type_name == "option"
    is_flag = is_option and one.is_flag
    names = [*one.opts, *one.secondary_opts] if is_option else [one.metavar]
    takes = f"`{one.metavar}`" if is_option and not is_flag else ""
    default = "" if one.default is None or is_flag else f"`{one.default}`"
    cells = [", ".join(f"`{name}`" for name in names), takes, default, one.help or ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _help(command: Any) -> str:
    return " ".join(inspect.cleandoc(command.help or "").split())


def _first_sentence(command: Any) -> str:
    return _help(command).split(". ")[0].rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
