"""How a recipe goes on a cluster: which GPUs sample, which learn, what fits, how long it takes."""

import math
from collections.abc import Collection, Iterator
from dataclasses import replace

from transformers import PreTrainedConfig

from rlef.learner.plan import settled
from rlef.train.cluster_time import Clock, make_clock
from rlef.train.cluster_types import (
    COUNTS,
    Actor,
    ClusterError,
    ClusterPlan,
    Gpus,
    Split,
    TooFewGpusError,
    check_split,
    without_counts,
)
from rlef.train.hardware import Hardware, Workload
from rlef.train.memory import GB, Planner
from rlef.train.recipe import TrainConfig

_PAIRED = {"rollout_actors", "learner_ranks"}
"""Of each as many, where they share GPUs."""
_ROUND = 256
"""Micro-batches are proposed as multiples of this."""
_AS_FAST = 1.02
"""What takes so much more time at most is as good if it takes fewer GPUs."""
_JUDGES_BUSY = 0.7
"""Share of the time that judges are planned to work: programs come in waves."""


class ClusterPlanner:
    """Plans recipes on clusters of one kind of GPU.

    Args:
        model: Settings of the model.
        gpus: The cluster.
        hardware: What is assumed of it.
        workload: What is assumed of rollouts.
    """

    def __init__(
        self, model: PreTrainedConfig, gpus: Gpus, hardware: Hardware, workload: Workload
    ) -> None:
        self._model = model
        self._gpus = gpus
        self._hardware = hardware
        self._workload = workload
        self._planner = Planner(model)

    def plan(self, config: TrainConfig, *, keep: Collection[str] = COUNTS) -> ClusterPlan:
        """Returns the plan of a recipe: as its section ``cluster`` says, or as fast as it goes.

        Args:
            config: The recipe.
            keep: Of its counts those that stand, see ``without_counts``; others are planned.

        Raises:
            ClusterError: See ``check_split``.
        """
        recipe, config = config, without_counts(config, keep)
        check_split(config, self._gpus)
        learner = settled(config.learner, "cuda")
        config = config.model_copy(update={"learner": learner})
        clock = make_clock(config, self._model, self._hardware, self._workload, self._gpus.per_node)
        splits = [s for s in self._splits(config, clock) if s.gpus <= self._gpus.count]
        if not splits:
            each = self._gpus_per_actor(config, clock)
            raise TooFewGpusError(
                f"engines of {each} GPUs and what the recipe's section cluster says do not go on "
                f"{self._gpus.count} GPUs; allowed: fewer actors or ranks, or cluster without them"
            )
        plans = [self._plan(recipe, config, split, clock) for split in splits]
        best = min(plans, key=lambda plan: (not plan.fits, _over(plan), plan.batch_s))
        near = [p for p in plans if p.fits == best.fits and p.batch_s <= _AS_FAST * best.batch_s]
        best = min(near, key=lambda plan: (_over(plan), plan.split.gpus, plan.batch_s))
        if best.rank.fits:
            return best
        planner = self._planner.of_rank(best.split.learner_ranks, samples=best.split.colocate)
        return replace(best, changes=tuple(planner.changes(config, self._gpus.memory)))

    def _splits(self, config: TrainConfig, clock: Clock) -> Iterator[Split]:
        """Yields what may be chosen; one alone where the recipe says all."""
        cluster, count = config.cluster, self._gpus.count
        given = cluster.model_fields_set
        each = self._gpus_per_actor(config, clock)
        if {"rollout_actors", "learner_ranks"} <= given:
            yield self._split(config, cluster.rollout_actors, each, cluster.learner_ranks)
            return
        if each > count:
            raise ClusterError(
                f"an engine needs {each} GPUs, but --gpus has {count}; allowed: more GPUs, or a "
                "smaller model"
            )
        may_share = config.rollout.max_staleness == 0 and cluster.colocate in (
            {True} if "colocate" in given else {True, False}
        )
        if each == 1 and (count == 1 or may_share):  # an engine for each rank
            pairs = min([count, *(getattr(cluster, key) for key in given & _PAIRED)])
            yield self._split(config, pairs, each, pairs, colocate=True)
        if cluster.colocate:
            return
        for ranks in self._ranks(config, each):
            most = (count - ranks) // each
            some = {most, *(most * tenths // 10 for tenths in range(1, 10))}
            if "rollout_actors" in given:
                some = {cluster.rollout_actors}
            for actors in sorted(some):
                if 0 < actors <= most:
                    yield self._split(config, actors, each, ranks)

    def _ranks(self, config: TrainConfig, each: int) -> Iterator[int]:
        """Yields numbers of learner ranks: within a node any, then whole nodes."""
        if "learner_ranks" in config.cluster.model_fields_set:
            yield config.cluster.learner_ranks
            return
        per_node = self._gpus.per_node
        # A rollout is never cut: no more ranks than rollouts of a minibatch.
        count = min(self._gpus.count, config.learner.minibatch + each)
        least = 1 if self._gpus.nodes == 1 else 2  # one that is not sharded is counted apart
        yield from range(least, min(per_node, count - each) + 1)
        yield from range(2 * per_node, count - each + 1, per_node)

    def _split(
        self, config: TrainConfig, actors: int, each: int, ranks: int, *, colocate: bool = False
    ) -> Split:
        judges = config.cluster.judge_actors or actors
        return Split(
            rollout_actors=actors,
            gpus_per_actor=each,
            learner_ranks=ranks,
            colocate=colocate or config.cluster.colocate,
            judge_cores=judges * config.rollout.judge_workers,
        )

    def _gpus_per_actor(self, config: TrainConfig, clock: Clock) -> int:
        """Returns over how many GPUs an engine is cut: as set, or the fewest with some room."""
        vllm = config.rollout.vllm
        if config.rollout.engine != "vllm":
            return 1
        if "tensor_parallel_size" in vllm.model_fields_set:
            given = vllm.tensor_parallel_size
            if not self._may_be_cut(given, clock):
                allowed = [str(n) for n in range(1, 65) if self._may_be_cut(n, clock)]
                raise ClusterError(
                    f"rollout.vllm.tensor_parallel_size is {given}, but the model's heads cannot "
                    f"be shared out so; allowed: {', '.join(allowed)}"
                )
            return given
        weights = clock.operations.policy_weights * clock.width
        share = vllm.gpu_memory_utilization * self._gpus.memory
        sizes = [n for n in range(1, self._gpus.per_node + 1) if self._may_be_cut(n, clock)]
        for each in sizes:
            row = clock.kv_on_gpu(each) * config.rollout.max_context
            # A fifth of its share for rows, or it samples few at once.
            if weights / each + row <= 0.8 * share:
                return each
        return sizes[-1]

    def _may_be_cut(self, gpus: int, clock: Clock) -> bool:
        """Whether vLLM takes so many GPUs for an engine: each has whole heads and columns."""
        settings, few = self._model.get_text_config(), clock.kv_heads
        names = ("num_attention_heads", "intermediate_size", "moe_intermediate_size")
        sizes = [size for name in names if type(size := getattr(settings, name, None)) is int]
        whole = all(size % gpus == 0 for size in sizes)
        return whole and (few % gpus == 0 or gpus % few == 0)

    def _plan(
        self, recipe: TrainConfig, config: TrainConfig, split: Split, clock: Clock
    ) -> ClusterPlan:
        config = _with_enough_micro_batches(config, split, clock)
        planner = self._planner.of_rank(split.learner_ranks, samples=split.colocate)
        if split.colocate:
            config = self._beside_the_learner(config, planner)
        clock = replace(clock, config=config)
        rank = planner.plan(config, self._gpus.memory)
        actor = self._actor(config, split, clock)
        seconds = {
            "sampling": clock.sampling(
                split.rollout_actors, split.gpus_per_actor, max(1, actor.rows)
            ),
            **clock.update(split.learner_ranks),
            "weights": clock.sync(split.learner_ranks, split.gpus, colocate=split.colocate),
        }
        update = sum(seconds[part] for part in UPDATE)
        sampling = seconds["sampling"]
        beside = config.rollout.max_staleness > 0
        split = self._with_judges(config, split, clock, max(sampling, update * beside))
        judging = seconds["judging"] = clock.judging(split.judge_cores)
        if beside:
            sides = {"sampling": sampling + seconds["weights"], "judging": judging}
            sides["learner"] = update + seconds["weights"]
            batch_s = max(sides.values())
            bottleneck = max(sides, key=lambda side: sides[side])
        else:
            batch_s = max(sampling, judging) + update + seconds["weights"]
            sides = {"sampling": sampling, "judging": judging, "learner": update}
            bottleneck = max(sides, key=lambda side: sides[side])
        micro, minibatch = config.learner.micro_batch_tokens, config.learner.minibatch
        each = max(1, int(micro / clock.workload.rollout_tokens))
        return ClusterPlan(
            parameters=rank.parameters,
            split=split,
            actor=actor,
            rank=rank,
            seconds=seconds,
            batch_s=batch_s,
            bottleneck=bottleneck,
            learner_idle=max(0.0, 1 - update / batch_s),
            too_old=_too_old(clock, split, max(1, actor.rows), batch_s) if beside else 0.0,
            batches=config.updates // config.updates_per_batch,
            busy_ranks=min(split.learner_ranks, math.ceil(minibatch / each)),
            words=tuple(_words(recipe, config, split)),
            changes=(),
        )

    def _beside_the_learner(self, config: TrainConfig, planner: Planner) -> TrainConfig:
        """Returns the recipe with vLLM in what the learner leaves, unless it says how much."""
        vllm, memory = config.rollout.vllm, self._gpus.memory
        if config.rollout.engine != "vllm":
            return config
        changes: dict[str, object] = {}
        if "gpu_memory_utilization" not in vllm.model_fields_set:
            sampling = planner.plan(config, memory).phases[0].parts
            others = sum(size for part, size in sampling.items() if part not in SAMPLER)
            share = int(100 * (memory - others) / memory) / 100
            changes["gpu_memory_utilization"] = min(vllm.gpu_memory_utilization, max(0.01, share))
        if "sleep" not in vllm.model_fields_set and not config.rollout.max_staleness:
            changes["sleep"] = True
        rollout = config.rollout.model_copy(update={"vllm": vllm.model_copy(update=changes)})
        return config.model_copy(update={"rollout": rollout})

    def _actor(self, config: TrainConfig, split: Split, clock: Clock) -> Actor:
        rollout, each = config.rollout, split.gpus_per_actor
        weights = -(-clock.operations.policy_weights * clock.width // each)
        if rollout.engine == "vllm":
            memory = int(rollout.vllm.gpu_memory_utilization * self._gpus.memory)
            cache = max(0, memory - weights)
        else:
            memory, weights = self._gpus.memory, 2 * weights
            cache = int(rollout.hf.kv_memory_gb * GB)
        tokens = int(cache / clock.kv_on_gpu(each))
        at_once = rollout.batch * (1 + rollout.max_staleness)
        rows = min(
            rollout.group,
            math.ceil(at_once / split.rollout_actors),
            int(tokens / clock.workload.rollout_tokens),
        )
        if tokens < rollout.max_context:
            rows = 0
        return Actor(weights=weights, cache=cache, memory=memory, cache_tokens=tokens, rows=rows)

    def _with_judges(
        self, config: TrainConfig, split: Split, clock: Clock, batch_s: float
    ) -> Split:
        """Returns the split with as many judging cores as needed, where the recipe names none."""
        if "judge_workers" in config.rollout.model_fields_set or config.cluster.judge_actors:
            return split
        needed = clock.judging(1) / batch_s / _JUDGES_BUSY
        each = max(1, math.ceil(needed / split.rollout_actors))
        return replace(split, judge_cores=each * split.rollout_actors)


SAMPLER = ("sampler's weights", "keys and values", "prompts")
"""Names of what an engine has on a GPU, see ``train.memory``."""
UPDATE = ("scoring", "policy", "critic", "optimizers")
"""Names of the parts of an update."""


def _over(plan: ClusterPlan) -> int:
    return 0 if plan.fits else plan.rank.over


def _with_enough_micro_batches(config: TrainConfig, split: Split, clock: Clock) -> TrainConfig:
    """Returns the recipe with micro-batches for all ranks, unless it sets their size.

    They are dealt out to the ranks, and a rank without one waits for the others.
    """
    learner, tokens = config.learner, clock.workload.rollout_tokens
    each = math.ceil(learner.minibatch / split.learner_ranks)
    most = math.ceil(each * tokens / _ROUND) * _ROUND
    if "micro_batch_tokens" in learner.model_fields_set or most >= learner.micro_batch_tokens:
        return config
    changed = learner.model_copy(update={"micro_batch_tokens": most})
    return config.model_copy(update={"learner": changed})


def _too_old(clock: Clock, split: Split, rows: int, batch_s: float) -> float:
    """Share of rollouts that take longer than the batches they may be behind, and their own."""
    each_s = clock.workload.sampled_tokens * clock.step(rows, split.gpus_per_actor)
    most_s = (1 + clock.config.rollout.max_staleness) * batch_s
    return clock.workload.share_above(most_s / each_s)


def _words(recipe: TrainConfig, config: TrainConfig, split: Split) -> Iterator[str]:
    """Yields the settings that make a recipe what was planned."""
    cluster, rollout, vllm = recipe.cluster, recipe.rollout, config.rollout.vllm
    planned: dict[str, tuple[float, float]] = {
        "cluster.rollout_actors": (cluster.rollout_actors, split.rollout_actors),
        "cluster.learner_ranks": (cluster.learner_ranks, split.learner_ranks),
        "cluster.colocate": (cluster.colocate, split.colocate),
        "learner.micro_batch_tokens": (
            recipe.learner.micro_batch_tokens,
            config.learner.micro_batch_tokens,
        ),
    }
    if split.gpus == 1:
        planned.pop("cluster.colocate")
    elif cluster.address is None:
        yield "cluster.address=auto"
    if rollout.engine == "vllm":
        planned |= {
            "rollout.vllm.tensor_parallel_size": (
                rollout.vllm.tensor_parallel_size,
                split.gpus_per_actor,
            ),
            "rollout.vllm.gpu_memory_utilization": (
                rollout.vllm.gpu_memory_utilization,
                vllm.gpu_memory_utilization,
            ),
            "rollout.vllm.sleep": (rollout.vllm.sleep, vllm.sleep),
        }
    if not config.cluster.judge_actors:
        planned["cluster.judge_actors"] = (cluster.judge_actors, 0)
        each = split.judge_cores // split.rollout_actors
        planned["rollout.judge_workers"] = (rollout.judge_workers, each)
    for key, (now, then) in planned.items():
        if now != then:
            yield f"{key}={str(then).lower() if isinstance(then, bool) else then}"
