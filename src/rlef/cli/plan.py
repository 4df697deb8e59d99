"""``rlef plan``: what a recipe takes of a GPU's memory, before anything is loaded."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlef import extras
from rlef.cli.common import examples, print_json, quiet_transformers, recipes, show
from rlef.cli.memory_table import gigabytes, memory_table
from rlef.cli.plan_cluster import plan_cluster

if TYPE_CHECKING:
    from rlef.train.memory import MemoryPlan
    from rlef.train.recipe import TrainConfig

EXAMPLES = examples(
    (
        "does it fit a GPU of 24 GB with adapters, and what to change if not",
        "rlef plan my.yaml learner.lora.rank=16 --gpu-memory 24",
    ),
    (
        "36 nodes of 8 GPUs of 80 GB: who samples, who learns, how long a batch takes",
        "rlef plan paper-8b --gpus 36x8x80",
    ),
)


def plan(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A YAML file, or a shipped recipe's name (rlef recipe ls).",
            autocompletion=recipes,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as learner.lora.rank=16."),
    ] = None,
    gpu_memory: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1e6,
            metavar="GB",
            help="Of the card, as its name says it. Default: what is here.",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="[NODES x] GPUS x GB",
            help="A cluster, such as 8x80 or 36x8x80: who gets which GPUs, and how long it takes.",
            show_default=False,
        ),
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of --gpus, for speeds: a100, h100, h200. Default: h100.",
            show_default=False,
        ),
    ] = None,
    assume: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Replace what --gpus takes for granted, such as answer_tokens=800.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what fits into a GPU's memory or on a cluster, and what to change if it does not."""
    if "=" in recipe and not Path(recipe).exists():
        raise typer.BadParameter(f"{recipe!r} is a setting; allowed: a recipe before it")
    from rlef.config import load_config, sources
    from rlef.config.types import COMMAND_LINE
    from rlef.engines.names import check_model
    from rlef.train.recipe import TrainConfig

    config = load_config(TrainConfig, recipe, overrides or [])
    if gpus is not None:
        if gpu_memory is not None:
            raise typer.BadParameter("--gpus and --gpu-memory both say what there is; allowed: one")
        places = sources(TrainConfig, recipe, overrides or [])
        said = [key for key, _, source in places if source == COMMAND_LINE]
        plan_cluster(config, gpus, card or "h100", assume, as_json=as_json, said=said)
        return
    if card is not None or assume is not None:
        word = "--assume" if card is None else "--card"
        raise typer.BadParameter(f"{word} is of --gpus, which is not given; leave it out")
    check_model(config.model.name)
    extras.require("train", "rlef plan")
    memory = _memory_here(config) if gpu_memory is None else round(gpu_memory * 10**9)

    from rlef.engines.context import check_context
    from rlef.engines.load import load_config as load_model_config
    from rlef.train.memory import Planner

    quiet_transformers()
    model = load_model_config(config.model.name)
    check_context(model, config.rollout.max_context, config.model.name, "rollout.max_context")
    config = _with_settled_turns(config)
    planner = Planner(model)
    found = planner.plan(config, memory)
    changes = [] if found.fits else planner.changes(config, memory)
    if as_json:
        print_json(_facts(config, found, changes))
        return
    for line in _lines(config, found, changes):
        show(line)


def _with_settled_turns(config: "TrainConfig") -> "TrainConfig":
    """Returns the recipe with ``turns: auto`` as it comes out, if the tokenizer is there."""
    from rlef.engines.load import load_chat
    from rlef.engines.types import ModelError
    from rlef.environment import TemplateError

    if config.model.turns != "auto":
        return config
    try:
        turns = load_chat(config.model.name, config.model).turns
    except (ModelError, TemplateError):  # a plan needs no tokenizer
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"turns": turns})})


def _memory_here(config: "TrainConfig") -> int:
    if config.device == "cpu":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import torch

    if not torch.cuda.is_available():
        raise typer.BadParameter(
            "torch sees no GPU here; allowed: the size of one, such as --gpu-memory 80"
        )
    return int(torch.cuda.get_device_properties(0).total_memory)


def _facts(config: "TrainConfig", plan: "MemoryPlan", changes: list[str]) -> dict[str, Any]:
    context = config.rollout.max_context
    tokens = plan.kv_room // plan.kv_token if plan.kv_token else None
    return {
        "model": config.model.name,
        "parameters": plan.parameters,
        "memory": plan.memory,
        "fits": plan.fits,
        "phases": {phase.name: phase.parts | {"total": phase.total} for phase in plan.phases},
        "largest_micro_batch_tokens": plan.micro_batch,
        "kv_room": plan.kv_room,
        "kv_room_tokens": tokens,
        "kv_room_rows": None if tokens is None else tokens // context,
        "host": plan.host,
        "change": changes,
    }


def _lines(config: "TrainConfig", plan: "MemoryPlan", changes: list[str]) -> list[str]:
    where = "this machine" if config.device == "cpu" else "a GPU"
    lines = [
        f"{config.name}: {config.model.name}, {plan.parameters / 1e9:.3g} B parameters, "
        f"on {where} of {gigabytes(plan.memory)} GB",
        "",
        *memory_table(plan),
        "",
        _micro_batch_line(config, plan),
        _cache_line(config, plan),
    ]
    if plan.host:
        lines.append(f"in host memory meanwhile: {gigabytes(plan.host)} GB")
    if plan.fits:
        lines.append("it fits")
    elif changes:
        lines.append(f"it does not fit; it does with: {' '.join(changes)}")
    else:
        lines.append(
            "it does not fit, whatever is set; allowed: a smaller model, a shorter "
            "rollout.max_context, or more memory"
        )
    return lines


def _micro_batch_line(config: "TrainConfig", plan: "MemoryPlan") -> str:
    now = config.learner.micro_batch_tokens
    if plan.micro_batch is None:
        return (
            "activations: not counted, as this model cannot run without values; "
            "begin with a small learner.micro_batch_tokens"
        )
    if plan.micro_batch == 0:
        from rlef.train.memory import longest_rollout

        longest = longest_rollout(config, critic=True)
        return f"largest micro-batch: none; a rollout, never cut, has up to {longest:,} tokens"
    return (
        f"largest micro-batch: {plan.micro_batch:,} tokens (learner.micro_batch_tokens is {now:,})"
    )


def _cache_line(config: "TrainConfig", plan: "MemoryPlan") -> str:
    if plan.kv_token is None:
        return "keys and values: not counted, as this model cannot run without values"
    tokens = plan.kv_room // plan.kv_token
    context = config.rollout.max_context
    line = f"keys and values: room for {tokens:,} tokens, {tokens // context:,} rows of {context:,}"
    if plan.kv_missing:
        line += f"; as set not for one row, which takes {gigabytes(plan.kv_least)} GB"
    if config.rollout.engine == "hf":
        line += f" (rollout.hf.kv_memory_gb up to {plan.kv_room / 1e9:.1f})"
    return line
