"""``rlef warmstart``: makes the mini model from nothing."""

from pathlib import Path
from typing import Annotated

import typer

from rlef.cli.common import examples

EXAMPLES = examples(
    ("as the model that comes with rlef was made", "rlef warmstart models/mini"),
    ("a quick trial", "rlef warmstart models/small parts=2 problems_per_topic=300"),
    ("then train it", "rlef train mini model=models/mini"),
)


def warmstart(
    out: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="New; gets the model and its tokenizer.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as lr=1e-3."),
    ] = None,
) -> None:
    """Make the mini model from nothing: supervised training on the mini problems."""
    from rlef import extras
    from rlef.cli.common import quiet_transformers, say, show
    from rlef.config import load_config
    from rlef.run import check_free_folder
    from rlef.train.warmstart_config import WarmstartConfig

    config = load_config(WarmstartConfig, None, overrides or [])
    check_free_folder(out)
    extras.require("train", "rlef warmstart")

    from rlef.train.warmstart import run_warmstart

    quiet_transformers()
    run_warmstart(config, out, say)
    show(f"model: {out}")
