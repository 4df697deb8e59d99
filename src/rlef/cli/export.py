"""``rlef export``: a policy as one whole model, adapters added to its weights."""

from pathlib import Path
from typing import Annotated

import typer

from rlef import extras
from rlef.cli.common import examples, quiet_transformers, show

EXAMPLES = examples(
    ("the best policy of a run, else its last", "rlef export runs/one one-model"),
    ("a checkpoint", "rlef export runs/one/checkpoints/best best --dtype float32"),
)


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="A run: its best policy, else its last; or a checkpoint or any other model.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    dtype: Annotated[
        str, typer.Option(metavar="NAME", help="bfloat16 or float32, of the weights.")
    ] = "bfloat16",
) -> None:
    """Write a whole model: for what reads no adapters, or of what several ranks wrote in parts."""
    from rlef.engines.names import check_model, is_sharded
    from rlef.run import check_free_folder, writing

    if dtype not in ("bfloat16", "float32"):
        raise typer.BadParameter(f"--dtype is {dtype!r}; allowed: bfloat16, float32")
    check_free_folder(out)
    name = _policy_of(model)
    in_parts = is_sharded(name)
    if not in_parts:
        check_model(name)
    extras.require("train", "rlef export")

    import torch

    from rlef.engines.load import load_model, load_tokenizer

    quiet_transformers()
    wanted, tokenizer = getattr(torch, dtype), load_tokenizer(name)
    if in_parts:
        from rlef.learner.export import export_sharded

        with writing(out):
            parameters = export_sharded(Path(name), out, wanted)
    else:
        loaded = load_model(name, "cpu", wanted)
        parameters = loaded.num_parameters()
        with writing(out):
            loaded.save_pretrained(out)
    with writing(out):
        tokenizer.save_pretrained(out)
    show(f"{out}: {parameters:,} parameters in {dtype}, of {name}")


def _policy_of(word: str) -> str:
    """The folder of a run's policy, or the word itself.

    Raises:
        RunError: It is a run without a checkpoint.
    """
    from rlef.run import RunError, RunFolder

    run = RunFolder(word)
    if not run.is_run():
        return word
    if (path := run.policy_path()) is None:
        raise RunError(f"{word} has no checkpoint yet; allowed: a run with one, or a model")
    return str(path)
