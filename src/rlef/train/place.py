"""Where a run samples, judges and learns, and what it makes there: here, all in this process."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from rlef.engines import HFEngine, PolicyEngine
from rlef.engines.check import check_engine, check_vocabulary
from rlef.engines.load import load_model, resolve_device
from rlef.environment import ChatFormat
from rlef.learner.checkpoint import saved_precision
from rlef.learner.frozen import loading_dtype
from rlef.learner.precision import resolve_precision
from rlef.learner.ranks import Ranks
from rlef.learner.service import Learner
from rlef.learner.update import LocalLearner
from rlef.rollout import EpisodeSettings, LocalRollouts, Rollout, Rollouts
from rlef.run import RunFolder
from rlef.sandbox import JudgePool
from rlef.serve import open_judge
from rlef.train.checkpoints import reading
from rlef.train.recipe import TrainConfig

_ALONE = Ranks()
OpenRollouts = Callable[[EpisodeSettings], AbstractContextManager[Rollouts]]
"""Begins to run episodes of some settings; they end with its context."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run samples, judges and learns.

    Attributes:
        judges: judges programs.
        open_rollouts: runs episodes of evaluations.
        open_training: runs those that are learnt from.
        learner: learns from them.
        parameters: of the policy, without adapters.
    """

    judges: JudgePool
    open_rollouts: OpenRollouts
    open_training: OpenRollouts
    learner: Learner
    parameters: int


def local_learner(
    config: TrainConfig,
    model: PreTrainedModel,
    chat: ChatFormat,
    kind: type[LocalLearner] = LocalLearner,
    ranks: Ranks = _ALONE,
    notices: Sequence[str] = (),
) -> Learner:
    """Returns the learner of a model, as the recipe says.

    Args:
        config: The recipe.
        model: The policy's first weights; see ``LocalLearner``.
        chat: Its chat format, whose tokenizer is saved beside the model.
        kind: Of learner.
        ranks: Where it runs.
        notices: Lines that its own begin with.
    """
    return kind(
        model,
        config.learner,
        config.seed,
        tokenizer=chat.tokenizer,
        temperature=config.rollout.temperature,
        total_updates=config.updates,
        save_dtype=config.checkpoint_dtype,
        keep_scores=config.rollout.keep_scores,
        ranks=ranks,
        notices=notices,
    )


def _as_it_is(_config: TrainConfig, _chat: ChatFormat, engine: PolicyEngine) -> PolicyEngine:
    return engine


def _whole(rollout: Rollout) -> Rollout:
    return rollout


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What stands in place of the paper's parts: a study's arms have some.

    Attributes:
        learner: makes the learner of a model.
        engine: what samples, in training and evaluation, made of the recipe's engine.
        sampler: what samples in training, made of that.
        adjust: what is learnt of a rollout.
        why_idle: what it means that the policy learns nothing; ``None``: see ``IdleWatch``.
    """

    learner: Callable[[TrainConfig, PreTrainedModel, ChatFormat], Learner] = local_learner
    engine: Callable[[TrainConfig, ChatFormat, PolicyEngine], PolicyEngine] = _as_it_is
    sampler: Callable[[TrainConfig, ChatFormat, PolicyEngine], PolicyEngine] = _as_it_is
    adjust: Callable[[Rollout], Rollout] = _whole
    why_idle: str | None = None


PAPER = Variant()


@contextmanager
def here(
    config: TrainConfig,
    run: RunFolder,
    chat: ChatFormat,
    say: Callable[[str], None],
    variant: Variant = PAPER,
) -> Iterator[Place]:
    """Loads the model into this process, to sample from and to learn.

    Args:
        config: The recipe.
        run: Its folder.
        chat: The model's chat format.
        say: Hears of it.
        variant: What stands in place of the paper's parts.

    Raises:
        ModelError, ValueError: The recipe cannot be run.
    """
    settled = settle_precision(config, run, say)
    with ExitStack() as stack:
        sandbox = open_judge(config.judge.url, config.rollout.judge_workers)
        stack.callback(sandbox.close)
        policy = load_policy(settled, chat)
        parameters = policy.num_parameters()
        engine = variant.engine(settled, chat, _open_engine(settled, chat, policy))
        stack.callback(engine.close)
        sampler = variant.sampler(settled, chat, engine)
        if sampler is not engine:
            stack.callback(sampler.close)
        yield Place(
            judges=sandbox,
            open_rollouts=lambda settings: LocalRollouts(engine, chat, sandbox, settings),
            open_training=lambda settings: LocalRollouts(sampler, chat, sandbox, settings),
            learner=variant.learner(settled, policy, chat),
            parameters=parameters,
        )


def load_policy(config: TrainConfig, chat: ChatFormat) -> PreTrainedModel:
    """Loads the model that is to learn, on its device.

    Args:
        config: The recipe, with a settled precision.
        chat: The model's chat format.

    Raises:
        ModelError: It cannot be loaded, or does not fit its tokenizer.
    """
    device = resolve_device(config.device)
    policy = load_model(config.model.name, device, loading_dtype(config.learner, device))
    check_vocabulary(policy, chat, config.model.name)
    return policy


def hf_engine(
    config: TrainConfig, chat: ChatFormat, model: str, max_context: int | None
) -> HFEngine:
    """Returns an engine with weights of its own, in the dtype that the learner computes in.

    Args:
        config: The recipe.
        chat: The chat format of the model's tokenizer.
        model: ``mini``, a folder or a hub id.
        max_context: See ``HFEngine``.
    """
    device = resolve_device(config.device)
    dtype = getattr(torch, resolve_precision(config.learner.precision, device))
    return _hf_engine(config, chat, load_model(model, device), max_context, dtype)


def _hf_engine(
    config: TrainConfig,
    chat: ChatFormat,
    model: PreTrainedModel,
    max_context: int | None,
    dtype: torch.dtype,
) -> HFEngine:
    engine = HFEngine(
        model,
        stop_token_ids=chat.stop_token_ids,
        max_context=max_context,
        max_batch=config.rollout.group,
        dtype=dtype,
        settings=config.rollout.hf,
    )
    check_engine(engine, config.model.name)
    return engine


def _open_engine(config: TrainConfig, chat: ChatFormat, policy: PreTrainedModel) -> PolicyEngine:
    """Returns the engine that samples the policy; ``hf`` on the learner's own module where it may.

    Side by side with the learner it needs weights that stay as they are meanwhile, and where the
    learner computes in bfloat16, weights that are rounded once.
    """
    rollout = config.rollout
    precision = resolve_precision(config.learner.precision, policy.device)
    if rollout.engine == "vllm":
        return own_engine(config, chat)
    if rollout.max_staleness or precision == "bfloat16":
        policy = copy.deepcopy(policy)
    return _hf_engine(config, chat, policy, rollout.max_context, getattr(torch, precision))


def own_engine(config: TrainConfig, chat: ChatFormat) -> PolicyEngine:
    """Returns an engine of the recipe's kind with weights of its own."""
    rollout, name = config.rollout, config.model.name
    if rollout.engine == "hf":
        return hf_engine(config, chat, name, rollout.max_context)
    from rlef.engines.vllm import VLLMEngine

    return VLLMEngine(
        name,
        stop_token_ids=chat.stop_token_ids,
        dtype=resolve_precision(config.learner.precision, resolve_device(config.device)),
        max_context=rollout.max_context,
        concurrency=rollout.group,
        seed=config.seed % 2**31,
        settings=rollout.vllm,
    )


def settle_precision(
    config: TrainConfig, run: RunFolder, say: Callable[[str], None]
) -> TrainConfig:
    """Returns the recipe with ``precision: auto`` as it came out where the run began."""
    settings, last = config.learner, run.latest_checkpoint()
    if settings.precision != "auto" or last is None:
        return config
    with reading(last.path):
        precision = saved_precision(last.path)
    here = resolve_precision("auto", resolve_device(config.device))
    if precision == here:
        return config
    say(
        f"learner.precision auto was {precision} where this run began and would be {here} here; it "
        f"goes on in {precision}"
    )
    learner = settings.model_copy(update={"precision": precision})
    return config.model_copy(update={"learner": learner})
