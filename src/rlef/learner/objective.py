"""The policy's loss on a micro-batch, put together as the settings say.

Shapes: B rollouts, L tokens, U turns.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rlef.algorithms import (
    KLEstimator,
    PolicyLoss,
    approx_kl,
    kl_estimates,
    masked_mean,
    ppo_policy_loss,
    sft_loss,
    turn_importance_weights,
    turn_policy_loss,
    turn_sums,
    turns_to_tokens,
)
from rlef.learner.config import LearnerConfig
from rlef.learner.models import ActionLogprobs, turn_values
from rlef.learner.score import Scored
from rlef.rollout import RolloutBatch

_ESTIMATORS: dict[str, KLEstimator] = {"loss_k1": "k1", "loss_k2": "k2", "loss_k3": "k3"}


class PolicyObjective(NamedTuple):
    """The loss of a micro-batch, to be minimised, and what to log of it."""

    loss: Tensor
    """Scalar; the losses of a minibatch's micro-batches add up to its own."""
    metrics: dict[str, float]
    """Likewise."""


def policy_objective(
    config: LearnerConfig,
    part: RolloutBatch,
    old: Scored,
    now: ActionLogprobs,
    tokens: Tensor,
    turns: Tensor,
    imitated: Tensor,
) -> PolicyObjective:
    """Clipped surrogate or imitation, plus KL penalty and entropy bonus where in the loss.

    Args:
        config: The settings.
        part: The micro-batch.
        old: What was found of it at the start of the update.
        now: Its log-probabilities, and entropies where there is a bonus, with gradient.
        tokens: Scalar, action tokens of the whole minibatch: the denominator.
        turns: Scalar, turns of the whole minibatch.
        imitated: Scalar, tokens of the whole minibatch to imitate.
    """
    mask = part.action_mask
    metrics = {"approx_kl": float(approx_kl(now.logprobs, old.old_logprobs, mask, tokens))}
    if config.imitates:
        loss = sft_loss(now.logprobs, old.advantages > 0, imitated)
    else:
        surrogate = _surrogate(config, part, old, now.logprobs, tokens, turns)
        loss = surrogate.loss
        metrics |= {
            "clipfrac": float(surrogate.clipfrac),
            "ratio": float(surrogate.ratio),
            "importance_weight": float(surrogate.importance_weight),
        }
    metrics["loss/policy"] = float(loss.detach())
    if config.kl in _ESTIMATORS and old.ref_logprobs is not None:
        estimates = kl_estimates(now.logprobs, old.ref_logprobs, mask, _ESTIMATORS[config.kl])
        kl = masked_mean(estimates, mask, tokens)
        loss = loss + config.beta * kl
        metrics["loss/kl"] = float(kl.detach())
    if config.entropy_bonus:
        entropy = masked_mean(now.entropy, mask, tokens)
        loss = loss - config.entropy_bonus * entropy
        metrics["loss/entropy"] = float(entropy.detach())
    return PolicyObjective(loss, metrics)


def _surrogate(
    config: LearnerConfig,
    part: RolloutBatch,
    old: Scored,
    logprobs: Tensor,
    tokens: Tensor,
    turns: Tensor,
) -> PolicyLoss:
    if config.ratio == "turn":
        return turn_policy_loss(
            logprobs,
            old.old_logprobs,
            turn_values(old.advantages, part),
            part.turn_ids,
            part.turn_mask,
            config.clip,
            turns,
            _turn_weights(config, part, logprobs.detach()),
        )
    weights = None
    if config.importance == "turn":
        by_turn = _turn_weights(config, part, logprobs.detach())
        weights = turns_to_tokens(by_turn, part.turn_ids)
    elif config.importance == "none":
        weights = torch.ones_like(logprobs)
    return ppo_policy_loss(
        logprobs,
        old.old_logprobs,
        part.logprobs,
        old.advantages,
        part.action_mask,
        config.clip,
        tokens,
        weights,
    )


def _turn_weights(config: LearnerConfig, part: RolloutBatch, logprobs: Tensor) -> Tensor:
    """Importance weights of turns; of weights of tokens, their product: (B, U)."""
    num_turns = part.turn_mask.shape[1]
    if config.importance == "turn":
        return turn_importance_weights(logprobs, part.logprobs, part.turn_ids, num_turns)
    if config.importance == "token":
        truncated = (logprobs - part.logprobs).clamp(max=0)
        return turn_sums(truncated, part.turn_ids, num_turns).exp()
    return torch.ones_like(part.rewards)
