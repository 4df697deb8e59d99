"""Where a run samples, judges and learns: on a cluster, with no model in this process."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rlef.config import ConfigError
from rlef.engines import PolicyEngine
from rlef.engines.check import check_vocabulary
from rlef.engines.load import load_chat, resolve_device
from rlef.environment import ChatFormat
from rlef.learner.ranks import open_ranks
from rlef.learner.service import Learner
from rlef.run import RunFolder
from rlef.sandbox import JudgePool
from rlef.serve import open_judge
from rlef.serve.settings import TOKEN_VARIABLE
from rlef.train.place import (
    PAPER,
    Place,
    Variant,
    load_policy,
    local_learner,
    own_engine,
    settle_precision,
)
from rlef.train.recipe import RolloutConfig, TrainConfig


@contextmanager
def on_cluster(
    config: TrainConfig,
    run: RunFolder,
    chat: ChatFormat,
    say: Callable[[str], None],
    variant: Variant = PAPER,
) -> Iterator[Place]:
    """Makes the actors of a recipe.

    Args:
        config: The recipe; ``cluster.address`` is set.
        run: Its folder, which must be there on the learner's machines too.
        chat: The model's chat format.
        say: Hears of it.
        variant: Must be the paper's.

    Raises:
        ConfigError: There is no such cluster, or it has too little.
        ModelError, ValueError: The recipe cannot be run, or there is no such device here.
    """
    if variant is not PAPER:
        raise ConfigError(
            f"cluster.address is {config.cluster.address!r}, but a study runs in one process; "
            "allowed: null"
        )
    if config.cluster.address == "local":
        resolve_device(config.device)  # before Ray starts, which takes long
    from rlef.distributed.session import open_session

    with open_session(config.cluster, partial(_needs, config)) as session:
        yield from _place(config, run, say, session)


def _place(
    config: TrainConfig, run: RunFolder, say: Callable[[str], None], session: Any
) -> Iterator[Place]:
    from rlef.distributed.actors import LearnerActor, RolloutActor
    from rlef.distributed.fleet import Fleet
    from rlef.distributed.judges import JudgeActor, RemoteJudges
    from rlef.distributed.learner import RayLearner
    from rlef.distributed.rollouts import RayRollouts

    rollout, cluster = config.rollout, config.cluster
    timeout_s, path = cluster.timeout_s, run.path.absolute()  # actors work in other folders
    with ExitStack() as stack:
        learner = RayLearner(
            lambda rank: session.learner_actor(rank, LearnerActor),
            lambda *where: partial(_make_learner, config, path, *where),
            cluster.learner_ranks,
            timeout_s=timeout_s,
            say=say,
        )
        stack.callback(learner.close)
        where = config.judge.url, rollout.judge_workers, os.environ.get(TOKEN_VARIABLE)
        open_judges: Callable[[], JudgePool] = partial(open_judge, *where)
        own = open_judge(*where)
        stack.callback(own.close)
        judges: JudgePool = own
        if cluster.judge_actors:
            actors = [
                session.judge_actor(slot, JudgeActor, rollout.judge_workers)
                for slot in range(cluster.judge_actors)
            ]
            open_judges = partial(RemoteJudges, actors, timeout_s)
            judges = open_judges()
        fleet = Fleet(
            lambda slot: session.rollout_actor(slot, RolloutActor),
            (partial(_open_engine, config, path), open_judges),
            cluster.rollout_actors,
            checkpoint_names=rollout.engine == "vllm",
            native=_native(rollout),
            timeout_s=timeout_s,
            say=say,
        )
        stack.callback(fleet.close)
        learner.wait_until_ready()
        fleet.wait_until_ready()
        open_rollouts = partial(
            RayRollouts,
            fleet,
            together=rollout.group if rollout.engine == "hf" else 1,
            most=3 * rollout.group,
        )
        yield Place(
            judges=judges,
            open_rollouts=open_rollouts,
            open_training=open_rollouts,
            learner=learner,
            parameters=learner.parameters,
        )


def _needs(config: TrainConfig, has_gpus: bool) -> Any:
    """Returns what each actor asks of its machine."""
    from rlef.distributed.session import Needs

    rollout, cluster = config.rollout, config.cluster
    judging = float(rollout.judge_workers)
    is_elsewhere = cluster.judge_actors > 0 or config.judge.url is not None
    gpus = {}
    if config.device.startswith("cuda") or (has_gpus and config.device == "auto"):
        gpus = {"GPU": 0.5 if cluster.colocate else 1.0}
    engine = {name: n * rollout.vllm.tensor_parallel_size for name, n in gpus.items()}
    return Needs(
        rollout={"CPU": 1.0 if is_elsewhere else 1.0 + judging, **engine},
        judge={"CPU": judging},
        learner={"CPU": 1.0, **gpus},
    )


def _native(rollout: RolloutConfig) -> tuple[str, int] | None:
    """Returns the backend of vLLM's that weights come by, if they do, and its GPUs."""
    if rollout.engine != "vllm" or rollout.vllm.transfer == "buckets":
        return None
    return rollout.vllm.transfer, rollout.vllm.tensor_parallel_size


def _make_learner(
    config: TrainConfig, run_path: Path, rank: int, size: int, address: str
) -> tuple[Learner, int]:
    """Makes the learner of a recipe, or one of its ranks; called in its process."""
    notices: list[str] = []
    config = settle_precision(config, RunFolder.open(run_path), notices.append)
    chat = load_chat(config.model.name, config.model)
    if size == 1:
        policy = load_policy(config, chat)
        parameters = policy.num_parameters()
        return local_learner(config, policy, chat, notices=notices), parameters
    from rlef.learner.sharding import load_on_ranks

    # the driver, which waits for timeout_s, is to be the first who finds that a rank hangs
    wait_s, device = config.cluster.timeout_s + 60, resolve_device(config.device)
    ranks = open_ranks(rank, size, address, timeout_s=wait_s, device=device)
    policy = load_on_ranks(config.model.name, config.learner, ranks)
    check_vocabulary(policy, chat, config.model.name)
    parameters = policy.num_parameters()
    return local_learner(config, policy, chat, ranks=ranks, notices=notices), parameters


def _open_engine(config: TrainConfig, run_path: Path) -> tuple[PolicyEngine, ChatFormat]:
    """Makes an engine of a recipe; called in its process."""
    config = settle_precision(config, RunFolder.open(run_path), lambda _: None)
    chat = load_chat(config.model.name, config.model)
    return own_engine(config, chat), chat
