"""``rlef warmstart``: makes the mini model from nothing."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = (
    "Examples: rlef warmstart models/mini · "
    "rlef warmstart models/small parts=2 problems_per_topic=300 (a quick trial) · "
    "then: rlef train mini model=models/mini"
)


def warmstart(
    out: Annotated[Path, typer.Argument(help="Folder that gets the model and its tokenizer.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as lr=1e-3."),
    ] = None,
) -> None:
    """Make the mini model from nothing: supervised training on the mini problems."""
    from rlef.cli.common import quiet_transformers
    from rlef.config import load_config
    from rlef.train.warmstart import WarmstartConfig, run_warmstart

    config = load_config(WarmstartConfig, None, overrides or [])
    if out.is_file():
        raise typer.BadParameter(f"{out} is a file; allowed: a folder")
    quiet_transformers()
    run_warmstart(config, out, lambda line: typer.echo(line, err=True))
    typer.echo(f"model: {out}")
