"""``rlef plan --gpus``: who gets which GPUs of a cluster, what fits there, how long it takes."""

import math
from collections.abc import Collection
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import typer

from rlef import extras
from rlef.cli.common import print_json, quiet_transformers, say, show
from rlef.cli.memory_table import gigabytes, memory_table

UPDATE = ("scoring", "policy", "critic", "optimizers")
"""Parts of an update, see ``ClusterPlan.seconds``."""

_SHARES = {"cluster.rollout_actors", "cluster.learner_ranks"}

if TYPE_CHECKING:
    from rlef.train.cluster_plan import ClusterPlanner
    from rlef.train.cluster_types import ClusterPlan, Gpus
    from rlef.train.hardware import Hardware, Workload
    from rlef.train.recipe import TrainConfig


def plan_cluster(
    config: "TrainConfig",
    words: str,
    card: str,
    assumed: str | None,
    *,
    as_json: bool,
    said: Collection[str] = (),
) -> None:
    """Prints the plan of a recipe on a cluster.

    Args:
        config: The recipe.
        words: The cluster, as ``8x80``.
        card: Whose speeds are assumed.
        assumed: What is assumed otherwise, as ``NAME=VALUE,...``.
        as_json: For programs.
        said: Keys of the command. Counts of a recipe alone give way where there are fewer GPUs.
    """
    from rlef.train.cluster_types import ClusterError, Gpus, check_split, without_counts
    from rlef.train.hardware import CARDS, Workload, assume

    if card not in CARDS:
        raise typer.BadParameter(f"--card is {card!r}; allowed: {', '.join(CARDS)}")
    hardware, workload = CARDS[card], Workload()
    try:
        gpus = Gpus.parse(words)
        if assumed is not None:
            hardware, workload = assume(hardware, workload, assumed)
        check_split(config if _SHARES & {*said} else without_counts(config), gpus)
    except ClusterError as error:
        raise typer.BadParameter(str(error)) from None
    except ValueError as error:
        raise typer.BadParameter(f"--assume: {error}") from None
    from rlef.engines.names import check_model

    check_model(config.model.name)
    extras.require("train", "rlef plan")

    from rlef.engines.load import load_config as load_model_config
    from rlef.train.cluster_plan import ClusterPlanner

    quiet_transformers()
    model = load_model_config(config.model.name)
    say("counting what passes of the model take")
    planner = ClusterPlanner(model, gpus, hardware, workload)
    try:
        plan, is_chosen = _planned(planner, config, said, gpus.count)
    except ClusterError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        print_json(_facts(plan, gpus, hardware, workload))
        return
    for line in _lines(config, plan, gpus, hardware, workload, is_chosen):
        show(line)


def _planned(
    planner: "ClusterPlanner", config: "TrainConfig", said: Collection[str], count: int
) -> tuple["ClusterPlan", bool]:
    """A plan for so many GPUs, and whether the planner chose who gets how many.

    Raises:
        ClusterError: There is none.
    """
    from rlef.train.cluster_types import COUNTS, TooFewGpusError

    try:
        plan = planner.plan(config)
    except TooFewGpusError:
        if _SHARES & {*said}:
            raise
        plan = planner.plan(config, keep=COUNTS & {*said})
        say(f"the recipe asks for more than {count} GPUs: they are shared out anew")
        return plan, True
    given = {f"cluster.{name}" for name in config.cluster.model_fields_set}
    return plan, not _SHARES & given


def _facts(
    plan: "ClusterPlan", gpus: "Gpus", hardware: "Hardware", workload: "Workload"
) -> dict[str, object]:
    rank = {phase.name: phase.parts | {"total": phase.total} for phase in plan.rank.phases}
    return {
        "parameters": plan.parameters,
        "gpus": {"nodes": gpus.nodes, "per_node": gpus.per_node, "memory": gpus.memory},
        "split": asdict(plan.split) | {"gpus": plan.split.gpus},
        "fits": plan.fits,
        "rollout_actor": asdict(plan.actor),
        "learner_rank": rank,
        "largest_micro_batch_tokens": plan.rank.micro_batch,
        "busy_ranks": plan.busy_ranks,
        "seconds": plan.seconds,
        "batch_s": plan.batch_s,
        "bottleneck": plan.bottleneck,
        "learner_idle": plan.learner_idle,
        "too_old": plan.too_old,
        "batches": plan.batches,
        "hours": plan.hours,
        "set": list(plan.words),
        "change": list(plan.changes),
        "assumed": {"hardware": asdict(hardware), "workload": asdict(workload)},
    }


def _lines(
    config: "TrainConfig",
    plan: "ClusterPlan",
    gpus: "Gpus",
    hardware: "Hardware",
    workload: "Workload",
    is_chosen: bool,
) -> list[str]:
    split, memory = plan.split, gigabytes(gpus.memory)
    where = f"{gpus.count} GPUs of {memory} GB"
    if gpus.nodes > 1:
        where = f"{gpus.nodes} nodes of {gpus.per_node} GPUs of {memory} GB"
    lines = [
        f"{config.name}: {config.model.name}, {plan.parameters / 1e9:.3g} B parameters, on {where}",
        "",
        f"{_count(split.rollout_actors, 'rollout actor')} of {_count(split.gpus_per_actor, 'GPU')}"
        + (" on the GPUs of " if split.colocate else ", ")
        + f"{_count(split.learner_ranks, 'learner rank')}, {split.judge_cores} cores that judge"
        + _unused(split.gpus, gpus.count, is_chosen),
        "",
        "a GPU of a rollout actor, GB: "
        f"weights {gigabytes(plan.actor.weights)}, keys and values {gigabytes(plan.actor.cache)} "
        f"({plan.actor.cache_tokens:,} tokens for an actor; {plan.actor.rows} episodes at once)",
        "a GPU of a learner rank, GB:",
        *memory_table(plan.rank),
        "",
        *_times(config, plan),
        "",
        *_endings(config, plan),
        "",
        f"assumed of a GPU ({hardware.name}): {_assumed(hardware)}",
        f"assumed of an episode: {_assumed(workload)}",
    ]
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def _unused(used: int, there: int, is_chosen: bool) -> str:
    rest = there - used
    why = ": with more it is no faster" if is_chosen else ""
    return f"; {_count(rest, 'GPU')} left over{why}" if rest else ""


def _times(config: "TrainConfig", plan: "ClusterPlan") -> list[str]:
    seconds = plan.seconds
    learner = " + ".join(f"{part} {seconds[part]:.3g}" for part in UPDATE if seconds[part] > 0)
    beside = config.rollout.max_staleness > 0
    how = "side by side, the slowest counts" if beside else "one after the other"
    return [
        f"seconds of a batch of {config.rollout.batch} rollouts ({how}):",
        f"  sampling {seconds['sampling']:.3g}, judging beside it {seconds['judging']:.3g}",
        f"  update {sum(seconds[part] for part in UPDATE):.3g}: {learner}",
        f"  new weights {seconds['weights']:.3g}",
        f"  together {plan.batch_s:.3g}; slowest: {plan.bottleneck}; the learner waits "
        f"{100 * plan.learner_idle:.0f} % of the time",
        f"{plan.batches:,} batches: {plan.hours:.3g} hours, "
        f"{plan.hours * plan.split.gpus:,.0f} GPU hours, without evaluations",
    ]


def _endings(config: "TrainConfig", plan: "ClusterPlan") -> list[str]:
    lines = []
    if plan.busy_ranks < plan.split.learner_ranks:
        lines.append(
            f"only {plan.busy_ranks} of {plan.split.learner_ranks} ranks get a micro-batch of "
            f"{config.learner.minibatch} rollouts; lower learner.micro_batch_tokens or "
            "cluster.learner_ranks"
        )
    if plan.too_old >= 0.005:
        lines.append(
            f"{100 * plan.too_old:.0f} % of rollouts take longer than rollout.max_staleness "
            f"{config.rollout.max_staleness} lets them, and are dropped: the longest first"
        )
    if plan.bottleneck == "judging":
        others = [plan.seconds["sampling"], sum(plan.seconds[part] for part in UPDATE)]
        beside = max(others) if config.rollout.max_staleness else others[0]
        more = math.ceil(plan.seconds["judging"] / beside * plan.split.judge_cores)
        lines.append(
            f"judging waits for cores: {more} would do; more rollout.judge_workers, or "
            "cluster.judge_actors on other machines"
        )
    if plan.words:
        lines.append(f"to set: {' '.join(plan.words)}")
    if plan.fits:
        return [*lines, "it fits"]
    if not plan.actor_fits:
        lines.append(
            "it does not fit: an engine has no room for a conversation of rollout.max_context "
            f"{config.rollout.max_context:,}; allowed: more rollout.vllm.tensor_parallel_size, a "
            "shorter context"
        )
    if not plan.rank.fits:
        with_them = f"it does with: {' '.join(plan.changes)}" if plan.changes else ""
        lines.append(f"a learner rank does not fit; {with_them or 'allowed: more GPUs'}")
    return lines


def _assumed(part: "Hardware | Workload") -> str:
    values = [(field.name, getattr(part, field.name)) for field in fields(part)]
    return ", ".join(f"{name} {value:.3g}" for name, value in values if name != "name")
