"""Rewards less the KL penalty, and from them what each turn or token earned.

Shapes: B rollouts, L tokens, U turns.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from rlef.algorithms import (
    calibration,
    episode_returns,
    explained_variance,
    grpo_advantages,
    masked_mean,
    normalize_advantages,
    reinforce_pp_advantages,
    rewards_to_tokens,
    rloo_advantages,
    token_level_gae,
    turn_counts,
    turn_level_advantages,
    turns_to_tokens,
)
from rlef.algorithms.critic import CalibrationBin
from rlef.algorithms.masked import keep
from rlef.learner.config import LearnerConfig
from rlef.learner.teacher import TeacherTokens
from rlef.rollout import RolloutBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the steps of an update need beside the batch: all of it is found at its start.

    Attributes:
        old_logprobs: (B, L) of the policy.
        entropy: (B, L) of the policy, in nats; NaN where it was not measured.
        ref_logprobs: (B, L) of the reference; ``None`` without a KL penalty.
        penalty: (B, U) ``turn_kl_penalty`` of the two, wherever it goes; ``None`` without one.
        old_values: (B, U) of turns or (B, L) of tokens; ``None`` without a critic.
        values_per_token: which of the two these are.
        advantages: (B, L) at every action token; ``None`` before they are known.
        returns: rewards to go, as ``old_values``.
        teacher: what it says of some action tokens; ``None`` without one.
    """

    old_logprobs: Tensor
    entropy: Tensor
    ref_logprobs: Tensor | None
    penalty: Tensor | None
    old_values: Tensor | None
    values_per_token: bool
    advantages: Tensor | None = None
    returns: Tensor | None = None
    teacher: TeacherTokens | None = None

    def to(self, device: torch.device) -> "Scored":
        """Returns it on a device, without waiting for the copies."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        teacher = None if self.teacher is None else self.teacher.to(device)
        return Scored(**(values | moved | {"teacher": teacher}))

    def select(self, rows: Tensor, length: int) -> "Scored":
        """Returns some rows and the first ``length`` tokens of each."""
        value_end = length if self.values_per_token else None
        ends = {"penalty": None, "old_values": value_end, "returns": value_end}
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        cut = {
            n: x[rows, : ends.get(n, length)] for n, x in values.items() if isinstance(x, Tensor)
        }
        teacher = None if self.teacher is None else self.teacher.select(rows, length)
        return Scored(**(values | cut | {"teacher": teacher}))


Credit = tuple[Tensor, Tensor | None]
"""Advantages, (B, L) at every action token, whitened where that is part of the method; and returns,
as ``Scored.old_values``, ``None`` without a critic."""
Method = Callable[[LearnerConfig, RolloutBatch, Tensor, Scored], Credit]
"""Of settings, batch, what ``rewards_less_penalty`` returned, and scores."""


def rewards_less_penalty(config: LearnerConfig, batch: RolloutBatch, scored: Scored) -> Tensor:
    """Returns rewards of turns, (B, U), or of tokens where ``config.per_token``, (B, L)."""
    rewards = batch.rewards
    if config.kl == "reward_turn_mean" and scored.penalty is not None:
        rewards = rewards - config.beta * scored.penalty
    if config.per_token:
        rewards = rewards_to_tokens(rewards, batch.turn_ids)
        if config.kl == "reward_token" and scored.ref_logprobs is not None:
            rewards = rewards - config.beta * (scored.old_logprobs - scored.ref_logprobs)
    return rewards


def _critic(config: LearnerConfig, batch: RolloutBatch, rewards: Tensor, scored: Scored) -> Credit:
    assert scored.old_values is not None
    advantages, returns = (token_level_gae if config.per_token else turn_level_advantages)(
        rewards, scored.old_values, _units(config, batch), config.gamma, config.lam
    )
    if config.normalize != "none":
        weights, kinds = _weights(config, batch), _kinds(config, batch)
        units = _units(config, batch)
        advantages = normalize_advantages(advantages, units, weights, kinds=kinds)
    return _of_tokens(config, batch, advantages), returns


def _reinforce_pp(
    config: LearnerConfig, batch: RolloutBatch, rewards: Tensor, scored: Scored
) -> Credit:
    weights, kinds = _weights(config, batch), _kinds(config, batch)
    units = _units(config, batch)
    found = reinforce_pp_advantages(rewards, units, config.gamma, weights, kinds=kinds)
    return _of_tokens(config, batch, found), None


def _compared(compare: Callable[[Tensor, Tensor], Tensor]) -> Method:
    """Advantages of whole episodes, from their returns and groups."""

    def method(
        config: LearnerConfig, batch: RolloutBatch, rewards: Tensor, scored: Scored
    ) -> Credit:
        found = compare(episode_returns(rewards, batch.turn_mask, config.gamma), batch.groups)
        return keep(found[:, None].expand_as(batch.turn_ids), batch.action_mask), None

    return method


ADVANTAGES: dict[str, Method] = {
    "turn_critic": _critic,
    "token_critic": _critic,
    "grpo": _compared(grpo_advantages),
    "dr_grpo": _compared(lambda returns, groups: grpo_advantages(returns, groups, scale=False)),
    "rloo": _compared(rloo_advantages),
    "reinforce++": _reinforce_pp,
}
"""By ``learner.advantage``."""


def _units(config: LearnerConfig, batch: RolloutBatch) -> Tensor:
    """Which turns or tokens there are."""
    return batch.action_mask if config.per_token else batch.turn_mask


def _of_tokens(config: LearnerConfig, batch: RolloutBatch, found: Tensor) -> Tensor:
    return found if config.per_token else turns_to_tokens(found, batch.turn_ids)


def _weights(config: LearnerConfig, batch: RolloutBatch) -> Tensor | None:
    """How often each turn or token counts in whitening; ``None``: once."""
    counts = turn_counts(batch.turn_ids, batch.turn_mask.shape[1]).float()
    if config.per_token:
        share = turns_to_tokens(1 / counts.clamp(min=1), batch.turn_ids)
        return None if config.normalize == "tokens" else share
    return counts if config.normalize == "tokens" else None


def _kinds(config: LearnerConfig, batch: RolloutBatch) -> Tensor | None:
    """Which turns or tokens are whitened together; ``None``: all."""
    if config.normalize != "turn_index":
        return None
    if config.per_token:
        return batch.turn_ids
    turns = torch.arange(batch.turn_mask.shape[1], device=batch.turn_mask.device)
    return turns.expand_as(batch.turn_mask)


def mean_return(config: LearnerConfig, batch: RolloutBatch, rewards: Tensor) -> float:
    """Returns the mean reward to go of turns, or of action tokens where the critic values these.

    Args:
        config: The settings.
        batch: The rollouts.
        rewards: As of ``rewards_less_penalty``.
    """
    units = _units(config, batch)
    to_go = token_level_gae if config.per_token else turn_level_advantages
    _, returns = to_go(rewards, torch.zeros_like(rewards), units, config.gamma, 1.0)
    return float(masked_mean(returns, units))


def at_turn_starts(per_token: Tensor, batch: RolloutBatch) -> Tensor:
    """Returns what (B, L) says at each turn's first action token: (B, U), 0 where there is none."""
    first = (batch.prompt_ends + 1).clamp(max=per_token.shape[1] - 1)
    found = per_token.gather(1, first)
    return torch.where(batch.turn_mask, found, torch.zeros_like(found))


def describe(
    config: LearnerConfig,
    batch: RolloutBatch,
    scored: Scored,
    returns: Tensor | None,
    version: int,
) -> tuple[dict[str, float], tuple[CalibrationBin, ...]]:
    """Returns metrics of a batch before it is learnt from, and the calibration of the critic.

    ``entropy`` is of the rollouts where it was measured. ``logprob_gap``, ``logprob_gap_signed``
    and ``fresh_weight`` are of the tokens that policy ``version``, the present one, sampled: older
    ones differ by right. They are missing where there is none.
    """
    mask, actions = batch.turn_mask, batch.action_mask
    metrics = {
        "reward": float(batch.rewards.sum() / len(batch)),
        "entropy": float(masked_mean(scored.entropy, actions & ~scored.entropy.isnan())),
        "action_tokens": float(actions.sum()),
    }
    fresh = actions & (turns_to_tokens(batch.versions, batch.turn_ids) == version)
    if fresh.any():
        gap = batch.behavior_logprobs - scored.old_logprobs
        metrics["logprob_gap"] = float(masked_mean(gap.abs(), fresh))
        metrics["logprob_gap_signed"] = float(masked_mean(gap, fresh))
        metrics["fresh_weight"] = float(masked_mean((-gap).clamp(max=0).exp(), fresh))
    if scored.penalty is not None:
        metrics["kl"] = float(masked_mean(scored.penalty, mask))
    if config.compares_groups:
        metrics["flat_groups"] = _flat_groups(
            episode_returns(batch.rewards, mask, config.gamma), batch.groups
        )
    values = scored.old_values
    if values is None or returns is None:
        return metrics, ()
    unit = actions if config.values_per_token else mask
    metrics["explained_variance"] = float(explained_variance(values, returns, unit))
    metrics["value"] = float(masked_mean(values, unit))
    metrics["return"] = float(masked_mean(returns, unit))
    if config.values_per_token:
        values, returns = at_turn_starts(values, batch), at_turn_starts(returns, batch)
    for turn in range(mask.shape[1]):
        metrics[f"explained_variance/turn_{turn + 1}"] = float(
            explained_variance(values[:, turn], returns[:, turn], mask[:, turn])
        )
    solved = batch.solved[:, None].expand_as(mask)
    return metrics, calibration(values, solved, mask)


def _flat_groups(returns: Tensor, groups: Tensor) -> float:
    """Share of groups whose returns are all equal but for a penalty: they teach nothing."""
    found = set(groups.tolist())
    spreads = [float(returns[groups == g].max() - returns[groups == g].min()) for g in found]
    return sum(spread < 1e-6 for spread in spreads) / len(spreads)
