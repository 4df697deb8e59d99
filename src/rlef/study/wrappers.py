"""What only a study changes about training: first answers, frozen samplers, imitation, examples."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rlef.engines import ChatCompletion, Completion, Generate, PolicyEngine, SamplingParams, Weights
from rlef.environment import ChatFormat
from rlef.rollout import Rollout
from rlef.study.arms import Arm
from rlef.study.imitation import ImitationLearner
from rlef.train.place import Variant, hf_engine, local_learner
from rlef.train.recipe import TrainConfig


def variant_of(arm: Arm, first_policy: str | None) -> Variant:
    """Returns what an arm puts in place of the paper's parts.

    Args:
        arm: Which.
        first_policy: Folder of the policy that gives first answers, where the arm repairs them.
    """
    variant = Variant()
    if first_policy is not None:
        variant = replace(
            variant,
            engine=lambda config, chat, engine: first_turn_engine(
                config, chat, engine, first_policy
            ),
            adjust=after_first_turn,
        )
    if arm.frozen:
        variant = replace(variant, sampler=lambda config, chat, _: frozen_engine(config, chat))
    if arm.imitates:
        variant = replace(
            variant,
            learner=partial(local_learner, kind=ImitationLearner),
            why_idle="no rollout was solved, so there is none to imitate; try easier problems",
        )
    return variant


def first_turn_engine(
    config: TrainConfig, chat: ChatFormat, then: PolicyEngine, policy: str
) -> "FirstTurnEngine":
    """Returns an engine whose first answers are those of another policy."""
    return FirstTurnEngine(hf_engine(config, chat, policy, then.max_context), then)


class FirstTurnEngine:
    """Gives the first answer of each seat by one engine and the others by another.

    Args:
        first: Of the same tokenizer.
        then: Whose numbers and weights are this engine's.
    """

    def __init__(self, first: PolicyEngine, then: PolicyEngine) -> None:
        self._first = first
        self._then = then
        self.concurrency = then.concurrency
        self.max_context = then.max_context
        self.load_weights = then.load_weights
        self.held_dtypes = then.held_dtypes

    @property
    def busy_s(self) -> float:
        """Of both, one after the other."""
        return self._first.busy_s + self._then.busy_s

    @contextmanager
    def seat(self) -> Iterator[Generate]:
        """A seat at both engines, at the first one for one answer."""
        with self._then.seat() as later, ExitStack() as first_seat:
            first: Generate | None = first_seat.enter_context(self._first.seat())

            async def generate(
                prompt: Any, params: SamplingParams, seed: int
            ) -> Completion | ChatCompletion:
                nonlocal first
                if first is None:
                    return await later(prompt, params, seed)
                sample, first = first, None
                with first_seat.pop_all():
                    return await sample(prompt, params, seed)

            yield generate

    async def generate(
        self, prompt: Any, params: SamplingParams, seed: int
    ) -> Completion | ChatCompletion:
        """Answers as the first engine does: a prompt without a seat is an episode's first."""
        return await self._first.generate(prompt, params, seed)

    def sleep(self) -> None:
        """Puts both to sleep."""
        self._first.sleep()
        self._then.sleep()

    def close(self) -> None:
        """Closes both."""
        self._first.close()
        self._then.close()


def after_first_turn(rollout: Rollout) -> Rollout:
    """Returns a rollout as one whose first answer is part of its first prompt.

    Where each turn is a sequence the first one goes away. What is left of an episode of one turn
    has no prompt, and is not trainable.
    """
    later, starts = rollout.turn_ids > 0, rollout.sequence_starts
    cut = starts[1] if len(starts) > 1 else 0
    return replace(
        rollout,
        token_ids=rollout.token_ids[cut:] if cut else rollout.token_ids,
        sequence_starts=(starts[1:] if cut else starts) - cut,
        turn_ids=np.where(later, rollout.turn_ids - 1, -1)[cut:].astype(np.int32),
        logprobs=np.where(later, rollout.logprobs, 0)[cut:].astype(np.float32),
        prompt_ends=rollout.prompt_ends[1:] - cut,
        rewards=rollout.rewards[1:],
        policy_versions=rollout.policy_versions[1:],
    )


def frozen_engine(config: TrainConfig, chat: ChatFormat) -> PolicyEngine:
    """Returns an engine that goes on sampling the model that the recipe begins with."""
    engine = hf_engine(config, chat, config.model.name, config.rollout.max_context)

    def stay(weights: Weights) -> None:
        """Keeps the weights, whatever the learner's are."""

    engine.load_weights = stay  # type: ignore[method-assign]
    return engine
