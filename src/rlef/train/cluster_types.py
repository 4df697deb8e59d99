"""GPUs of a cluster, who has which of them, and what a plan says of that. Needs no torch."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlef.train.memory import MemoryPlan
    from rlef.train.recipe import TrainConfig

_GB = 10**9

_GPUS = re.compile(r"(?:(\d{1,6})x)?(\d{1,6})x(\d{1,6}(?:\.\d{1,3})?)")


class ClusterError(ValueError):
    """A recipe and a cluster do not go together. One line: why, and what is allowed."""


class TooFewGpusError(ClusterError):
    """What a recipe says of actors and ranks does not go on the GPUs that there are."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of a cluster: ``nodes`` times ``per_node``, of ``memory`` bytes each."""

    nodes: int
    per_node: int
    memory: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.nodes * self.per_node

    @classmethod
    def parse(cls, words: str) -> "Gpus":
        """Reads ``8x80`` (a node of 8 GPUs of 80 GB) or ``36x8x80`` (36 such nodes).

        Raises:
            ClusterError: It says something else.
        """
        found = _GPUS.fullmatch(words)
        nodes, per_node, gigabytes = found.groups() if found else ("0", "0", "0")
        gpus = cls(int(nodes or 1), int(per_node), round(float(gigabytes) * _GB))
        if not gpus.count or not gpus.memory:
            raise ClusterError(
                f"--gpus is {words!r}; allowed: GPUs x GB of each, such as 8x80, or "
                "nodes x GPUs x GB, such as 36x8x80, all of them above 0"
            )
        return gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Who has which GPUs.

    Attributes:
        rollout_actors: engines.
        gpus_per_actor: over which the layers of an engine are cut.
        learner_ranks: GPUs over which the learner is sharded.
        colocate: engines are on the learner's GPUs.
        judge_cores: of all judges together.
    """

    rollout_actors: int
    gpus_per_actor: int
    learner_ranks: int
    colocate: bool
    judge_cores: int

    @property
    def gpus(self) -> int:
        """How many are needed."""
        sampling = self.rollout_actors * self.gpus_per_actor
        return max(sampling, self.learner_ranks) if self.colocate else sampling + self.learner_ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """What is on a GPU of a rollout actor.

    Attributes:
        weights: bytes of the engine's weights, twice where it takes new ones whole.
        cache: bytes of its keys and values.
        memory: bytes that they may have.
        cache_tokens: tokens of keys and values of the whole actor.
        rows: episodes that it samples at once.
    """

    weights: int
    cache: int
    memory: int
    cache_tokens: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """How a recipe goes on a cluster.

    Attributes:
        parameters: of the model.
        split: who has which GPUs.
        actor: a GPU that samples.
        rank: a GPU that learns.
        seconds: of a batch by part: ``sampling``, ``judging``, those of the update, ``weights``.
        batch_s: seconds from a batch to the next.
        bottleneck: the part that a batch waits for most.
        learner_idle: share of the time that the learner waits.
        too_old: share of rollouts that take longer than ``rollout.max_staleness`` lets them, and
            are dropped; 0 in turns.
        batches: of the run.
        busy_ranks: learner ranks that get a micro-batch of a minibatch.
        words: settings that the recipe does not have yet.
        changes: settings with which a rank fits that does not, see ``Planner.changes``.
    """

    parameters: int
    split: Split
    actor: Actor
    rank: "MemoryPlan"
    seconds: dict[str, float]
    batch_s: float
    bottleneck: str
    learner_idle: float
    too_old: float
    batches: int
    busy_ranks: int
    words: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def actor_fits(self) -> bool:
        """Whether an engine has its weights and at least one row."""
        return self.actor.weights + self.actor.cache <= self.actor.memory and self.actor.rows > 0

    @property
    def fits(self) -> bool:
        """Whether both kinds of GPUs have what they need."""
        return self.actor_fits and self.rank.fits

    @property
    def hours(self) -> float:
        """Of the run, without evaluations, checkpoints and the start."""
        return self.batches * self.batch_s / 3600


COUNTS = frozenset(
    {
        *("cluster.rollout_actors", "cluster.learner_ranks"),
        *("cluster.judge_actors", "rollout.judge_workers"),
    }
)
"""How many actors, ranks and judging cores there are."""


def without_counts(config: "TrainConfig", keep: Collection[str] = ()) -> "TrainConfig":
    """Returns a recipe that says nothing of ``COUNTS``, but for those to keep."""
    cluster, rollout = config.cluster, config.rollout
    gone = [key.partition(".")[2] for key in COUNTS - {*keep}]
    free = {key: getattr(cluster, key) for key in cluster.model_fields_set.difference(gone)}
    words = {key: getattr(rollout, key) for key in rollout.model_fields_set.difference(gone)}
    update = {"cluster": type(cluster)(**free), "rollout": type(rollout)(**words)}
    return config.model_copy(update=update)


def check_split(config: "TrainConfig", gpus: Gpus) -> None:
    """Looks whether a cluster has the GPUs that a recipe's section ``cluster`` asks for.

    Raises:
        ClusterError: It has fewer, or the recipe asks for none.
    """
    cluster, rollout = config.cluster, config.rollout
    if config.device == "cpu":
        raise ClusterError("device is cpu, but --gpus plans GPUs; allowed: device=cuda or auto")
    each = rollout.vllm.tensor_parallel_size if rollout.engine == "vllm" else 1
    if each > gpus.per_node:
        raise ClusterError(
            f"rollout.vllm.tensor_parallel_size is {each}, but --gpus has nodes of "
            f"{gpus.per_node}; allowed: up to {gpus.per_node}"
        )
    actors = cluster.rollout_actors if "rollout_actors" in cluster.model_fields_set else 1
    ranks = cluster.learner_ranks if "learner_ranks" in cluster.model_fields_set else 1
    sampling = actors * each
    wanted = max(sampling, ranks) if cluster.colocate or gpus.count == 1 else sampling + ranks
    if wanted <= gpus.count:
        return
    if not cluster.colocate and each + 1 > gpus.count > 1:
        raise ClusterError(
            f"an engine has {each} GPUs (rollout.vllm.tensor_parallel_size), and --gpus has "
            f"{gpus.count}: none is left to learn; allowed: {each + 1} or more, or a smaller size"
        )
    fewer = max(1, min(gpus.count - each, gpus.count * ranks // wanted))
    others = max(1, (gpus.count - fewer) // each)
    if cluster.colocate:
        fewer = others = gpus.count // each
    raise TooFewGpusError(
        f"the recipe asks for {wanted} GPUs (cluster.rollout_actors={actors} of {each} each, "
        f"cluster.learner_ranks={ranks}), but --gpus has {gpus.count}; allowed: up to those, such "
        f"as cluster.rollout_actors={others} cluster.learner_ranks={fewer}"
    )
