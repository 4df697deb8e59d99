"""From rewards to advantages, as the settings say: which turn or token earned what.

Shapes: B rollouts, L tokens, U turns.
"""

from dataclasses import dataclass

from torch import Tensor

from rlef.algorithms import (
    episode_returns,
    grpo_advantages,
    normalize_advantages,
    reinforce_pp_advantages,
    rewards_to_tokens,
    rloo_advantages,
    token_level_gae,
    turn_counts,
    turn_kl_penalty,
    turn_level_advantages,
    turns_to_tokens,
)
from rlef.algorithms.masked import keep
from rlef.learner.config import LearnerConfig
from rlef.rollout import RolloutBatch


@dataclass(frozen=True, slots=True)
class Credit:
    """What policy and critic are to learn.

    Attributes:
        advantages: (B, L) at every action token, whitened where that is part of the method; for
            imitation 1 at the tokens to imitate, 0 elsewhere.
        returns: rewards to go, (B, U) of turns or (B, L) of tokens; ``None`` without a critic.
        penalty: (B, U) turn means of log pi_old - log pi_ref, whatever is done with them; ``None``
            without a reference.
        episode_returns: (B,) what groups are compared by; ``None`` where they are not.
    """

    advantages: Tensor
    returns: Tensor | None
    penalty: Tensor | None
    episode_returns: Tensor | None


def assign_credit(
    config: LearnerConfig,
    batch: RolloutBatch,
    values: Tensor | None,
    old_logprobs: Tensor,
    ref_logprobs: Tensor | None,
) -> Credit:
    """Subtracts the KL penalty from the rewards and turns them into advantages.

    Args:
        config: Says how.
        batch: The rollouts.
        values: (B, U) of turns or (B, L) of tokens; ``None`` without a critic.
        old_logprobs: (B, L) of the policy at the start of the update.
        ref_logprobs: (B, L) of the reference; ``None`` where there is none.
    """
    turn_ids, num_turns = batch.turn_ids, batch.turn_mask.shape[1]
    rewards, penalty = batch.rewards, None
    if ref_logprobs is not None:
        penalty = turn_kl_penalty(old_logprobs, ref_logprobs, turn_ids, num_turns)
        if config.kl == "reward_turn_mean":
            rewards = rewards - config.beta * penalty
        elif config.kl == "reward_turn_sum":
            total = turn_kl_penalty(old_logprobs, ref_logprobs, turn_ids, num_turns, "sum")
            rewards = rewards - config.beta * total
    if config.imitates:
        return Credit(imitated_tokens(batch).float(), None, penalty, None)
    if config.compares_groups:
        returns = episode_returns(rewards, batch.turn_mask, config.gamma)
        per_episode = _compare(config, returns, batch.groups)
        advantages = keep(per_episode[:, None].expand_as(old_logprobs), batch.action_mask)
        return Credit(advantages, None, penalty, returns)
    if config.per_token:
        rewards = rewards_to_tokens(rewards, turn_ids)
        if config.kl == "reward_token" and ref_logprobs is not None:
            rewards = rewards - config.beta * (old_logprobs - ref_logprobs)
        mask = batch.action_mask
    else:
        mask = batch.turn_mask
    weights = _weights(config, turn_ids, num_turns)
    advantages, to_go = _per_unit(config, rewards, values, mask, weights)
    if not config.per_token:
        advantages = turns_to_tokens(advantages, turn_ids)
    return Credit(advantages, to_go, penalty, None)


def imitated_tokens(batch: RolloutBatch) -> Tensor:
    """The last answers of solved rollouts, (B, L) bool: RLEF's supervised baseline, section 3.3."""
    last = batch.turn_mask.sum(1, keepdim=True) - 1
    return batch.action_mask & (batch.turn_ids == last) & batch.solved[:, None]


def _compare(config: LearnerConfig, returns: Tensor, groups: Tensor) -> Tensor:
    if config.advantage == "rloo":
        return rloo_advantages(returns, groups)
    return grpo_advantages(returns, groups, scale=config.advantage == "grpo")


def _per_unit(
    config: LearnerConfig,
    rewards: Tensor,
    values: Tensor | None,
    mask: Tensor,
    weights: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Advantages and rewards to go of turns or of tokens."""
    if values is None:
        return reinforce_pp_advantages(rewards, mask, config.gamma, weights), None
    function = token_level_gae if config.per_token else turn_level_advantages
    advantages, returns = function(rewards, values, mask, config.gamma, config.lam)
    if config.normalize != "none":
        advantages = normalize_advantages(advantages, mask, weights)
    return advantages, returns


def _weights(config: LearnerConfig, turn_ids: Tensor, num_turns: int) -> Tensor | None:
    """How often each turn or token counts in whitening; ``None``: once."""
    counts = turn_counts(turn_ids, num_turns).float()
    if config.per_token:
        share = turns_to_tokens(1 / counts.clamp(min=1), turn_ids)
        return share if config.normalize == "turns" else None
    return counts if config.normalize == "tokens" else None
