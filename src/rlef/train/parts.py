"""What a run is made of: problems, model, sampler and learner, put together as the recipe says."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from rlef.engines import SamplingParams
from rlef.engines.context import check_context
from rlef.engines.load import load_chat, load_config
from rlef.environment import ChatFormat, Prompts
from rlef.evaluation.episodes import with_public_tests
from rlef.learner.service import Learner
from rlef.problems import Problem, load_problems
from rlef.rollout import EpisodeSettings, Rollouts
from rlef.run import RunFolder
from rlef.sandbox import Limits
from rlef.train.cluster import on_cluster
from rlef.train.controls import Controls, build_controls
from rlef.train.idle import check_room
from rlef.train.inputs import keep_inputs
from rlef.train.place import PAPER, OpenRollouts, Variant, here
from rlef.train.private import PrivateTokens
from rlef.train.progress import Progress
from rlef.train.recipe import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A run, ready to train.

    Attributes:
        config: the recipe.
        run: its folder.
        display: shows progress.
        train_problems: with public and private tests, as are the others.
        valid_problems: none where the recipe names none.
        test_problems: those that the recipe asks for.
        chat: the model's chat format.
        controls: feedback in training and evaluation.
        episodes: settings of training episodes.
        open_rollouts: runs other episodes, with the same engines.
        rollouts: runs training episodes.
        learner: learns from them.
        parameters: of the policy, without adapters.
        variant: what stands in place of the paper's parts.
        private: what the critic alone sees, if it does.
    """

    config: TrainConfig
    run: RunFolder
    display: Progress
    train_problems: Sequence[Problem]
    valid_problems: Sequence[Problem]
    test_problems: Sequence[Problem]
    chat: ChatFormat
    controls: Controls
    episodes: EpisodeSettings
    open_rollouts: OpenRollouts
    rollouts: Rollouts
    learner: Learner
    parameters: int
    variant: Variant
    private: PrivateTokens | None = None

    @cached_property
    def by_name(self) -> Mapping[str, Problem]:
        """The training problems by their names."""
        return {problem.name: problem for problem in self.train_problems}

    def describe(self) -> None:
        """Says what is about to run."""
        config = self.config
        self.display.message(
            f"{config.name}: {config.model.name}, {self.parameters / 1e6:.2f} M parameters, "
            f"{len(self.train_problems)} training and {len(self.test_problems)} test problems"
        )
        self.display.message(
            f"{config.updates // config.updates_per_batch} batches of {config.rollout.batch} "
            f"rollouts; run folder {self.run.path}"
        )
        if self.chat.notice is not None:
            self.display.message(self.chat.notice)
        for line in self.learner.notices():
            self.display.message(line)


@contextmanager
def build_parts(
    config: TrainConfig, run: RunFolder, display: Progress, variant: Variant = PAPER
) -> Iterator[Parts]:
    """Loads and checks everything: what is wrong comes to light before anything is sampled.

    Args:
        config: The recipe.
        run: Its folder.
        display: Hears of it.
        variant: What stands in place of the paper's parts.

    Raises:
        ModelError, TemplateError, ProblemError, ValueError: The recipe cannot be run.
        RunError: A file is not what it was when the run began.
        NothingToLearn: No prompt has room for an answer.
    """
    display.stage("loading")
    keep_inputs(run, config)
    problems = _load_problems(config, display)
    prompts = Prompts.load(config.rollout.prompts)
    max_context = config.rollout.max_context
    name = config.model.name
    check_context(load_config(name), max_context, name, "rollout.max_context")
    chat = load_chat(name, config.model)
    private = None
    if config.learner.critic_sees == "reference":
        both = "learner.critic_sees: rollout.max_context plus rollout.max_new_tokens"
        check_context(load_config(name), max_context + config.rollout.max_new_tokens, name, both)
        private = PrivateTokens(config, problems["data.train"], chat, display.message)
    for key, found in problems.items():
        check_room(config, key, found, prompts, chat, display.message)
    where = here(config, run, chat, display.message, variant)
    if config.cluster.address is not None:
        where = on_cluster(config, run, chat, display.message, variant)
    with where as place:
        controls = build_controls(
            config,
            problems["data.train"],
            problems["data.test"],
            place.judges,
            prompts,
            limits(config),
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
        with place.open_training(episodes) as rollouts:
            yield Parts(
                config=config,
                run=run,
                display=display,
                train_problems=problems["data.train"],
                valid_problems=problems.get("data.valid", []),
                test_problems=problems["data.test"],
                chat=chat,
                controls=controls,
                episodes=episodes,
                open_rollouts=place.open_rollouts,
                rollouts=rollouts,
                learner=place.learner,
                parameters=place.parameters,
                variant=variant,
                private=private,
            )


def limits(config: TrainConfig) -> Limits:
    """Returns the limits of a test where its problem names none."""
    return Limits(cpu_s=config.rollout.cpu_s, memory_mb=config.rollout.memory_mb)


def _load_problems(config: TrainConfig, display: Progress) -> dict[str, list[Problem]]:
    """Returns the problems of each key of the recipe."""
    found = {"data.train": load_problems(config.data.train)}
    test = load_problems(config.data.test)[: config.eval.problems]
    found["data.test"] = test
    if config.data.valid is not None:
        found["data.valid"] = load_problems(config.data.valid)
    say = display.message
    return {
        key: with_public_tests(some, say, f"{key} ({getattr(config.data, key.split('.')[1])})")
        for key, some in found.items()
    }
