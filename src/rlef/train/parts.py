"""What a run is made of: problems, model, sampler and learner, put together as the recipe says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import PreTrainedModel

from rlef.engines import HFEngine, PolicyEngine, SamplingParams
from rlef.engines.check import check_engine, check_vocabulary
from rlef.engines.context import check_context
from rlef.engines.load import load_chat, load_config, load_model, resolve_device
from rlef.environment import ChatFormat, Prompts
from rlef.evaluation.episodes import with_public_tests
from rlef.learner.checkpoint import saved_precision
from rlef.learner.frozen import loading_dtype
from rlef.learner.precision import resolve_precision
from rlef.learner.service import Learner
from rlef.learner.update import LocalLearner
from rlef.problems import Problem, load_problems
from rlef.rollout import EpisodeSettings, LocalRollouts, Rollout
from rlef.run import RunFolder
from rlef.sandbox import Limits, Sandbox
from rlef.train.checkpoints import reading
from rlef.train.controls import Controls, build_controls
from rlef.train.idle import check_room
from rlef.train.recipe import TrainConfig


class Progress(Protocol):
    """What the loop tells of itself."""

    def message(self, text: str) -> None:
        """Takes a line of text."""
        ...

    def update(self, metrics: Mapping[str, object]) -> None:
        """Takes the metrics of a batch of rollouts and its updates."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A run, ready to train.

    Attributes:
        config: the recipe.
        run: its folder.
        display: shows progress.
        sandbox: judges programs.
        train_problems: with public and private tests, as are the others.
        valid_problems: none where the recipe names none.
        test_problems: those that the recipe asks for.
        chat: the model's chat format.
        controls: feedback in training and evaluation.
        episodes: settings of training episodes.
        engine: samples the policy; evaluations share it with training.
        rollouts: runs training episodes.
        learner: learns from them.
        parameters: of the policy, without adapters.
        variant: what stands in place of the paper's parts.
    """

    config: TrainConfig
    run: RunFolder
    display: Progress
    sandbox: Sandbox
    train_problems: Sequence[Problem]
    valid_problems: Sequence[Problem]
    test_problems: Sequence[Problem]
    chat: ChatFormat
    controls: Controls
    episodes: EpisodeSettings
    engine: PolicyEngine
    rollouts: LocalRollouts
    learner: Learner
    parameters: int
    variant: "Variant"

    def describe(self) -> None:
        """Says what is about to run."""
        config = self.config
        self.display.message(
            f"{config.name}: {config.model.name}, {self.parameters / 1e6:.2f} M parameters, "
            f"{len(self.train_problems)} training and {len(self.test_problems)} test problems, "
            f"{config.updates // config.updates_per_batch} batches of {config.rollout.batch} "
            f"rollouts; run folder {self.run.path}"
        )
        if self.chat.notice is not None:
            self.display.message(self.chat.notice)
        for line in self.learner.notices():
            self.display.message(line)


def local_learner(
    config: TrainConfig,
    model: PreTrainedModel,
    chat: ChatFormat,
    kind: type[LocalLearner] = LocalLearner,
) -> Learner:
    """Returns the learner of a model, as the recipe says.

    Args:
        config: The recipe.
        model: The policy's first weights; see ``LocalLearner``.
        chat: Its chat format, whose tokenizer is saved beside the model.
        kind: Of learner.
    """
    return kind(
        model,
        config.learner,
        config.seed,
        tokenizer=chat.tokenizer,
        temperature=config.rollout.temperature,
        total_updates=config.updates,
        save_dtype=config.checkpoint_dtype,
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


_PAPER = Variant()


@contextmanager
def build_parts(
    config: TrainConfig, run: RunFolder, display: Progress, variant: Variant = _PAPER
) -> Iterator[Parts]:
    """Loads and checks everything: what is wrong comes to light before anything is sampled.

    Args:
        config: The recipe.
        run: Its folder.
        display: Hears of it.
        variant: What stands in place of the paper's parts.

    Raises:
        ModelError, TemplateError, ProblemError, ValueError: The recipe cannot be run.
        NothingToLearn: No prompt has room for an answer.
    """
    problems = _load_problems(config, display)
    prompts = Prompts.load(config.rollout.prompts)
    max_context = config.rollout.max_context
    name = config.model.name
    check_context(load_config(name), max_context, name, "rollout.max_context")
    chat = load_chat(name, config.model)
    for key, found in problems.items():
        check_room(config, key, found, prompts, chat, display.message)
    device = resolve_device(config.device)
    settled = _with_settled_precision(config, run, device, display)
    policy = load_model(name, device, loading_dtype(settled.learner, device))
    check_vocabulary(policy, chat, name)
    parameters = policy.num_parameters()
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(workers=config.rollout.judge_workers))
        engine = variant.engine(config, chat, _open_engine(settled, chat, policy))
        stack.callback(engine.close)
        controls = build_controls(
            config, problems["data.train"], problems["data.test"], sandbox, prompts, limits(config)
        )
        episodes = EpisodeSettings(
            sampling=SamplingParams(
                temperature=config.rollout.temperature,
                max_new_tokens=config.rollout.max_new_tokens,
            ),
            max_turns=config.rollout.turn_limit,
            max_context=max_context,
            min_new_tokens=config.rollout.min_new_tokens,
            prompts=prompts,
            feedback=controls.training,
            rewards=config.reward,
            limits=limits(config),
            random_feedback=controls.training_pool,
        )
        sampler = variant.sampler(config, chat, engine)
        yield Parts(
            config=config,
            run=run,
            display=display,
            sandbox=sandbox,
            train_problems=problems["data.train"],
            valid_problems=problems.get("data.valid", []),
            test_problems=problems["data.test"],
            chat=chat,
            controls=controls,
            episodes=episodes,
            engine=engine,
            rollouts=stack.enter_context(LocalRollouts(sampler, chat, sandbox, episodes)),
            learner=variant.learner(settled, policy, chat),
            parameters=parameters,
            variant=variant,
        )


def limits(config: TrainConfig) -> Limits:
    """Returns the limits of a test where its problem names none."""
    return Limits(cpu_s=config.rollout.cpu_s, memory_mb=config.rollout.memory_mb)


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
    dtype: torch.dtype = torch.float32,
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
        from rlef.engines.vllm import VLLMEngine

        return VLLMEngine(
            config.model.name,
            stop_token_ids=chat.stop_token_ids,
            dtype=precision,
            max_context=rollout.max_context,
            concurrency=rollout.group,
            seed=config.seed % 2**31,
            settings=rollout.vllm,
        )
    if rollout.max_staleness or precision == "bfloat16":
        return hf_engine(config, chat, config.model.name, rollout.max_context)
    return _hf_engine(config, chat, policy, rollout.max_context)


def _with_settled_precision(
    config: TrainConfig, run: RunFolder, device: torch.device, display: Progress
) -> TrainConfig:
    """Returns the recipe with ``precision: auto`` as it came out where the run began."""
    settings, last = config.learner, run.latest_checkpoint()
    if settings.precision != "auto" or last is None:
        return config
    with reading(last.path):
        precision = saved_precision(last.path)
    here = resolve_precision("auto", device)
    if precision == here:
        return config
    display.message(
        f"learner.precision auto was {precision} where this run began and would be {here} here; it "
        f"goes on in {precision}"
    )
    learner = settings.model_copy(update={"precision": precision})
    return config.model_copy(update={"learner": learner})


def _load_problems(config: TrainConfig, display: Progress) -> dict[str, list[Problem]]:
    """Returns the problems of each key of the recipe."""
    found = {"data.train": load_problems(config.data.train)}
    test = load_problems(config.data.test)[: config.eval.problems]
    found["data.test"] = test
    if config.data.valid is not None:
        found["data.valid"] = load_problems(config.data.valid)
    return {key: with_public_tests(some, display.message) for key, some in found.items()}
