"""The options of ``rlef eval`` that say how a chat template is used."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rlef.environment import ChatSettings

_OPTIONS = {"template_arguments": "template-arg", "turns": "turns-as"}
"""Of settings whose option has another name."""


def read_chat_options(
    chat_template: Path | None,
    arguments: Sequence[str],
    system: str | None,
    today: str | None,
    turns_as: str,
) -> "ChatSettings":
    """Returns the settings that the options stand for.

    Args:
        chat_template: ``--chat-template``.
        arguments: All ``--template-arg``.
        system: ``--system``.
        today: ``--today``.
        turns_as: ``--turns-as``.

    Raises:
        BadParameter: One of them is wrong.
        ModelError: The template cannot be read.
    """
    from rlef.config import ConfigError, load_config
    from rlef.engines.names import read_template
    from rlef.environment import ChatSettings

    keys = [argument.partition("=")[0] for argument in arguments]
    for key in keys:
        if keys.count(key) > 1:
            raise typer.BadParameter(f"--template-arg is given twice for {key}; allowed: once")
    for argument in arguments:
        if not argument.partition("=")[0].isidentifier() or "=" not in argument:
            raise typer.BadParameter(
                f"--template-arg: {argument!r}; allowed: KEY=VALUE, such as enable_thinking=false"
            )
    given = {"system": system, "today": today, "turns": turns_as}
    if chat_template is not None:
        read_template(str(chat_template))
        given["chat_template"] = str(chat_template.absolute())  # it goes on from any folder
    words = [f"template_arguments.{argument}" for argument in arguments]
    words += [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    try:
        return load_config(ChatSettings, None, words)
    except ConfigError as error:
        key, what = re.split(r"(?![\w.])", str(error).removeprefix("command line: "), maxsplit=1)
        name = key.partition(".")[0]
        option = _OPTIONS.get(name, name).replace("_", "-")
        raise typer.BadParameter(f"--{option}{what}") from None
