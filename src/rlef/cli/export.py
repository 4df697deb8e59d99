"""``rlef export``: a policy for others, in a folder or on the Hub, with a card and its settings."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from rlef import extras
from rlef.cli.common import examples, quiet_transformers, say, show
from rlef.cli.files import check_not_a_runs_own
from rlef.cli.hub import check_repository, hub_name, upload
from rlef.cli.policies import Policy, find_policy, results_of_policy

EXAMPLES = examples(
    ("the best policy of a run, else its last, with a card", "rlef export runs/one --to one-model"),
    (
        "the policy after 120 updates, to a new private repository of the Hub",
        "rlef export runs/one --checkpoint 120 --to hf://me/one-120",
    ),
    ("adapters as they are", "rlef export runs/one --adapters --to one-adapters"),
)
_DTYPES = ("bfloat16", "float32")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_SYSTEM = re.compile(r"\(os error (\d+)\)")
"""In errors of tokenizers and safetensors, which are none of Python's."""
_TRIES = 5
"""A run that goes on may replace a checkpoint while it is read."""


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="A run: its best policy, else its last; or a checkpoint or any other model.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|hf://OWNER/NAME",
            help="A new folder; or a new repository of the Hub, which is private.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of a run: the policy after so many updates.",
            show_default=False,
        ),
    ] = None,
    adapters: Annotated[
        bool,
        typer.Option("--adapters", help="Adapters alone, as peft has them, not added to weights."),
    ] = False,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="bfloat16 or float32, of weights. Default: bfloat16."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="A repository of the Hub that anyone can read.")
    ] = False,
) -> None:
    """Write a policy: model, tokenizer, a card with its results, and the settings of its run."""
    from rlef.run import RunFolder, check_free_folder

    if dtype is not None and dtype not in _DTYPES:
        raise typer.BadParameter(f"--dtype is {dtype!r}; allowed: {', '.join(_DTYPES)}")
    if dtype is not None and adapters:
        raise typer.BadParameter("--dtype has no meaning with --adapters; leave it out")
    repository = hub_name(to)
    if public and repository is None:
        raise typer.BadParameter("--public has no meaning for a folder; leave it out")
    if repository is None:
        check_free_folder(Path(to))
        check_not_a_runs_own(Path(to))
    policy = find_policy(model, checkpoint)
    _check_policy(policy, adapters=adapters)
    _check_run(policy)
    extras.require("train", "rlef export")
    if repository is not None:
        check_repository(repository)

    quiet_transformers()
    title = repository or str(Path(to).absolute())
    with _draft(None if repository else Path(to)) as draft:
        policy, parameters, kind = _write_whole(
            lambda: find_policy(model, checkpoint), draft, dtype or _DTYPES[0], adapters
        )
        if policy.run is None:
            say("no card: this is no policy of a run")
        else:
            _write_about(policy, policy.run, draft, title, parameters, kind, adapters)
        where = to
        if repository is not None:
            where = _upload(draft, repository, policy, public=public)
    what = "parameters of adapters" if adapters else "parameters"
    show(f"{where}: {parameters:,} {what} in {kind}, of {policy.name}")
    if isinstance(policy.run, RunFolder) and policy.update is not None:
        say(f"after {policy.update} updates" + ("" if policy.is_final else "; not the run's end"))


def _check_policy(policy: Policy, *, adapters: bool) -> None:
    from rlef.engines.adapters import base_model
    from rlef.engines.names import check_model, is_sharded
    from rlef.run import RunError

    in_parts = is_sharded(policy.name)
    if not in_parts:
        check_model(policy.name)
    if adapters and (in_parts or base_model(policy.name) is None):
        raise RunError(f"{policy.name} is a whole model; allowed: leave out --adapters")


def _check_run(policy: Policy) -> None:
    """Reads what the card is made of, before hours of work: it may be damaged, or too old."""
    from rlef.config import load_config
    from rlef.stored import read_options
    from rlef.train.recipe import TrainConfig

    if policy.run is None:
        return
    load_config(TrainConfig, policy.run.config_path, [])
    results_of_policy(policy, read_options(policy.run))
    policy.run.read_inputs()


def _write_whole(
    find: Callable[[], Policy], draft: Path, dtype: str, adapters: bool
) -> tuple[Policy, int, str]:
    """``_write_model`` of a policy that nobody replaces meanwhile, and that policy."""
    for _ in range(_TRIES):
        policy = find()
        before = _identity(policy)
        try:
            parameters, kind = _write_model(policy, draft, dtype, adapters)
        except Exception:
            if before == _identity(policy):
                raise
        else:
            if before == _identity(policy):
                return policy, parameters, kind
        for path in draft.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    raise RuntimeError(
        f"{policy.name} was replaced by its run each time it was read; allowed: a run that has "
        "ended, or one with a higher keep_checkpoints and --checkpoint"
    )


def _write_model(policy: Policy, out: Path, dtype: str, adapters: bool) -> tuple[int, str]:
    """Writes model and tokenizer; returns the number of parameters, and their type."""
    from rlef.engines.load import load_tokenizer
    from rlef.engines.names import is_sharded
    from rlef.run import writing

    tokenizer = load_tokenizer(policy.name)
    with writing(out):
        tokenizer.save_pretrained(out)
    if adapters:
        return _copy_adapters(Path(policy.name), out)

    import torch

    wanted = getattr(torch, dtype)
    if is_sharded(policy.name):
        from rlef.learner.export import export_sharded

        with writing(out):
            return export_sharded(Path(policy.name), out, wanted), dtype
    from rlef.engines.load import load_model

    loaded = load_model(policy.name, "cpu", wanted)
    if wanted is torch.float32:
        _restore_exact(loaded, Path(policy.name))
    with writing(out):
        loaded.save_pretrained(out)
    return int(loaded.num_parameters()), dtype


def _restore_exact(model: Any, folder: Path) -> None:
    """Takes over weights in float32, where a run has written them beside rounded ones."""
    from rlef.engines.load import LOADING_ERRORS
    from rlef.engines.types import ModelError
    from rlef.learner.checkpoint import restore_exact

    try:
        restore_exact(model, folder)
    except LOADING_ERRORS as error:
        raise ModelError(f"{folder}: its weights in float32 cannot be read: {error}") from None


def _copy_adapters(folder: Path, out: Path) -> tuple[int, str]:
    from safetensors import safe_open

    from rlef.run import writing

    with writing(out):
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(folder / name, out / name)
    with safe_open(out / "adapter_model.safetensors", "np") as file:
        slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118
    sizes = [_product(one.get_shape()) for one in slices]
    kinds = {"F32": "float32", "BF16": "bfloat16"}
    return sum(sizes), kinds.get(slices[0].get_dtype(), "float32") if slices else "float32"


def _product(shape: Any) -> int:
    size = 1
    for length in shape:
        size *= int(length)
    return size


def _write_about(
    policy: Policy,
    run: Any,
    out: Path,
    title: str,
    parameters: int,
    dtype: str,
    adapters: bool,
) -> None:
    """Writes the card, and the files of the run that say how the policy came to be."""
    from rlef.report.card import SETTINGS, CardFacts, model_card
    from rlef.run import writing
    from rlef.stored import read_options, read_summary

    config = read_options(run)
    summary = read_summary(run) if policy.is_final else None
    card = model_card(
        CardFacts(
            name=title.rpartition("/")[2] or "model",
            config=config,
            update=policy.update,
            parameters=parameters,
            dtype=dtype,
            is_adapter=adapters,
            is_finished=policy.is_final,
            results=results_of_policy(policy, config),
            inputs=run.read_inputs(),
            wall_s=None if summary is None else float(summary["wall_s"]),
        )
    )
    settings = out / SETTINGS
    with writing(out):
        (out / "README.md").write_text(card, encoding="utf-8")
        settings.parent.mkdir()
        shutil.copyfile(run.config_path, settings)
        if summary is not None:
            shutil.copyfile(run.summary_path, settings.with_name(run.summary_path.name))


def _upload(draft: Path, repository: str, policy: Policy, *, public: bool) -> str:
    kept = draft.with_name(f"{draft.name}-kept")
    try:
        message = f"{Path(policy.name).name} by rlef export"
        return upload(draft, repository, public=public, message=message)
    except RuntimeError as error:
        draft.rename(kept)
        draft.mkdir()
        raise RuntimeError(f"{error}; what was to go there is in {kept}") from None


def _identity(policy: Policy) -> tuple[int, int] | None:
    """What changes where a folder is replaced by another one of its name."""
    try:
        stat = os.stat(policy.name)
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


@contextmanager
def _draft(out: Path | None) -> Iterator[Path]:
    """A folder to write to, which becomes ``out`` in the end: whole, or not at all.

    Args:
        out: New, or empty; ``None``: the draft is dropped.
    """
    from rlef.run import writing
    from rlef.run.files import open_to_others

    if out is None:
        draft = Path(tempfile.mkdtemp(prefix="rlef-export-"))
    else:
        with writing(out):
            out.absolute().parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".rlef-", dir=out.absolute().parent))
    try:
        yield draft
        if out is not None:
            with writing(out):
                mask = os.umask(0)
                os.umask(mask)
                draft.chmod(0o777 & ~mask)
                open_to_others(draft)
                _publish(draft, out)
    except Exception as error:
        if (number := _number(error)) not in _FULL:
            raise
        raise OSError(number, os.strerror(number), str(out or draft)) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _number(error: Exception) -> int:
    """The system's number of an error, 0 if it has none."""
    cause = error.__cause__ or error
    found = _OF_SYSTEM.search(str(error))
    if isinstance(cause, OSError) and cause.errno is not None:
        return cause.errno
    return int(found[1]) if found else 0


def _publish(draft: Path, out: Path) -> None:
    if not out.exists():
        draft.rename(out)
        return
    for path in draft.iterdir():
        shutil.move(path, out / path.name)
