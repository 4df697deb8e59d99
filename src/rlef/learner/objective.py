"""The losses of a micro-batch, as the settings say.

Shapes: B rollouts, L tokens, U turns.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from rlef.algorithms import (
    KLEstimator,
    cispo_policy_loss,
    kl_estimates,
    masked_mean,
    ppo_policy_loss,
    turn_policy_loss,
    turn_value_loss,
)
from rlef.algorithms.masked import keep
from rlef.learner.advantages import Scored, at_turn_starts
from rlef.learner.config import LearnerConfig
from rlef.learner.models import ActionLogprobs
from rlef.learner.teacher import TeacherTokens
from rlef.rollout import RolloutBatch

_ESTIMATORS: dict[str, KLEstimator] = {"loss_k2": "k2", "loss_k3": "k3"}


@dataclass(frozen=True, slots=True)
class Minibatch:
    """The rollouts of an optimizer step.

    Attributes:
        rows: (N,) int64, their places in the batch.
        tokens: scalar, their action tokens: the denominator of losses of tokens.
        turns: scalar, their turns.
        taught: action tokens that a teacher says something of.
    """

    rows: Tensor
    tokens: Tensor
    turns: Tensor
    taught: int = 0

    @classmethod
    def of(cls, batch: RolloutBatch, rows: Tensor) -> "Minibatch":
        """Counts, without a teacher."""
        return cls(rows, batch.action_mask[rows].sum(), batch.turn_mask[rows].sum())

    def with_teacher(self, teacher: TeacherTokens | None) -> "Minibatch":
        """Returns it with the tokens counted that the teacher says something of."""
        taught = 0 if teacher is None else int(teacher.mask[self.rows].sum())
        return replace(self, taught=taught)


def policy_loss(
    config: LearnerConfig,
    part: RolloutBatch,
    old: Scored,
    now: ActionLogprobs,
    minibatch: Minibatch,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate, plus KL penalty, teacher and entropy bonus where these are in the loss.

    Args:
        config: The settings.
        part: The micro-batch.
        old: What was found of it at the start of the update.
        now: Its log-probabilities, entropies where there is a bonus, and cross-entropies where
            there is a teacher, with gradient.
        minibatch: Whose counts losses are divided by.

    Returns:
        The loss, to be minimised, and metrics: scalars, all of which add up over the micro-batches
        of a minibatch.
    """
    assert old.advantages is not None
    mask, tokens = part.action_mask, minibatch.tokens
    logprobs = (now.logprobs, old.old_logprobs, part.behavior_logprobs)
    how: dict[str, Any] = {"importance": config.importance, "cap": config.importance_cap}
    how["clip_high"] = config.clip_high
    if config.ratio == "cispo":
        surrogate = cispo_policy_loss(*logprobs, old.advantages, mask, config.clip, tokens, **how)
    elif config.ratio == "token":
        how["dual_clip"] = config.dual_clip
        surrogate = ppo_policy_loss(*logprobs, old.advantages, mask, config.clip, tokens, **how)
    else:
        how |= {"dual_clip": config.dual_clip, "mean": config.ratio == "turn_mean"}
        surrogate = turn_policy_loss(
            *logprobs,
            at_turn_starts(old.advantages, part),
            part.turn_ids,
            part.turn_mask,
            config.clip,
            minibatch.turns,
            tokens=tokens,
            **how,
        )
    loss, metrics = surrogate.loss, surrogate._asdict()
    metrics["loss/policy"] = metrics.pop("loss")
    if config.kl in _ESTIMATORS and old.ref_logprobs is not None:
        estimates = kl_estimates(now.logprobs, old.ref_logprobs, mask, _ESTIMATORS[config.kl])
        metrics["loss/kl"] = kl = masked_mean(estimates, mask, tokens)
        loss = loss + config.beta * kl
    if config.teacher is not None and old.teacher is not None and now.cross_entropy is not None:
        taught = old.teacher.mask & mask
        metrics["loss/teacher"] = away = masked_mean(now.cross_entropy, taught, tokens)
        loss = loss + config.teacher.weight * away
        if minibatch.taught:
            apart = now.cross_entropy.detach() - old.teacher.entropy
            metrics["teacher_kl"] = keep(apart, taught).sum() / minibatch.taught
    if config.entropy_bonus:
        metrics["loss/entropy"] = entropy = masked_mean(now.entropy, mask, tokens)
        loss = loss - config.entropy_bonus * entropy
    return loss, metrics


def value_loss(
    config: LearnerConfig, part: RolloutBatch, old: Scored, values: Tensor, minibatch: Minibatch
) -> Tensor:
    """Clipped value loss; ``values`` are the critic's now, the rest is as for ``policy_loss``."""
    assert old.old_values is not None and old.returns is not None  # there is a critic
    mask, count = part.turn_mask, minibatch.turns
    if old.values_per_token:
        mask, count = part.action_mask, minibatch.tokens
    return turn_value_loss(values, old.old_values, old.returns, mask, config.value_clip, count)
