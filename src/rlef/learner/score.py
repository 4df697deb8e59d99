"""What an update is made of: log-probabilities, values and advantages at its start.

Shapes: B rollouts, L tokens, U turns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlef.algorithms import CalibrationBin, calibration, explained_variance, masked_mean
from rlef.learner.config import LearnerConfig
from rlef.learner.credit import Credit, assign_credit
from rlef.learner.microbatch import micro_batches
from rlef.learner.models import Critic, action_logprobs, turn_values
from rlef.rollout import RolloutBatch


@dataclass(frozen=True, slots=True)
class Scored:
    """What the steps of an update need beside the batch.

    Attributes:
        old_logprobs: (B, L) at the start of the update.
        ref_logprobs: (B, L) of the reference; ``None`` without a KL penalty.
        advantages: (B, L) at every action token.
        old_values: (B, U) of turns or (B, L) of tokens, at the start; ``None`` without a critic.
        returns: Rewards to go, as ``old_values``.
        values_per_token: Which of the two these are.
        calibration: Of the values of turns, which have not seen this batch; empty without a critic.
    """

    old_logprobs: Tensor
    ref_logprobs: Tensor | None
    advantages: Tensor
    old_values: Tensor | None
    returns: Tensor | None
    values_per_token: bool
    calibration: tuple[CalibrationBin, ...] = ()

    def select(self, rows: Tensor, length: int) -> "Scored":
        """Returns some rows and the first ``length`` tokens of each."""
        value_length = length if self.values_per_token else None

        def cut(x: Tensor | None, end: int | None) -> Tensor | None:
            return None if x is None else x[rows, :end]

        return Scored(
            self.old_logprobs[rows, :length],
            cut(self.ref_logprobs, length),
            self.advantages[rows, :length],
            cut(self.old_values, value_length),
            cut(self.returns, value_length),
            self.values_per_token,
        )


def score(
    config: LearnerConfig,
    batch: RolloutBatch,
    policy: PreTrainedModel,
    reference: Callable[[RolloutBatch], Tensor] | None,
    critic: Critic | None,
    temperature: float,
) -> tuple[Scored, dict[str, float]]:
    """Evaluates policy, reference and critic as they are; forms rewards and advantages.

    Args:
        config: The settings.
        batch: The rollouts, on the models' device.
        policy: As it is at the start of the update.
        reference: Gives log-probabilities of action tokens, (B, L); ``None``: no KL penalty.
        critic: ``None``: the method has none.
        temperature: What sampling divided the logits by.

    Returns:
        What the steps need, and metrics.
    """
    old_logprobs = torch.zeros_like(batch.logprobs)
    entropy = torch.zeros_like(batch.logprobs)
    ref_logprobs = None if reference is None else torch.zeros_like(batch.logprobs)
    values = None
    if critic is not None:
        values = torch.zeros_like(batch.logprobs if critic.per_token else batch.rewards)
    for rows in micro_batches(batch.lengths, 2 * config.micro_batch_tokens):
        part = batch.select(rows)
        length = part.token_ids.shape[1]
        ours = action_logprobs(policy, part, temperature, with_entropy=True)
        old_logprobs[rows, :length] = ours.logprobs
        entropy[rows, :length] = ours.entropy
        if reference is not None and ref_logprobs is not None:
            ref_logprobs[rows, :length] = reference(part)
        if critic is not None and values is not None:
            found = critic(part)
            values[rows, : found.shape[1]] = found
    credit = assign_credit(config, batch, values, old_logprobs, ref_logprobs)
    metrics = {
        "reward": float(batch.rewards.sum() / len(batch)),
        "entropy": float(masked_mean(entropy, batch.action_mask)),
        "logprob_gap": float(masked_mean((batch.logprobs - old_logprobs).abs(), batch.action_mask)),
        "action_tokens": float(batch.action_mask.sum()),
        **_credit_metrics(credit, batch, values),
    }
    per_token = critic is not None and critic.per_token
    scored = Scored(
        old_logprobs,
        ref_logprobs,
        credit.advantages,
        values,
        credit.returns,
        per_token,
        () if values is None else _calibration(values, batch),
    )
    return scored, metrics


def _credit_metrics(credit: Credit, batch: RolloutBatch, values: Tensor | None) -> dict[str, float]:
    metrics: dict[str, float] = {}
    mask = batch.turn_mask
    if credit.penalty is not None:
        metrics["kl"] = float(masked_mean(credit.penalty, mask))
    if credit.episode_returns is not None:
        metrics["flat_groups"] = _flat_groups(credit.episode_returns, batch.groups)
    if values is not None and credit.returns is not None:
        unit = mask if values.shape == mask.shape else batch.action_mask
        metrics["explained_variance"] = float(explained_variance(values, credit.returns, unit))
        metrics["value"] = float(masked_mean(values, unit))
        metrics["return"] = float(masked_mean(credit.returns, unit))
        by_turn = turn_values(values, batch), turn_values(credit.returns, batch)
        for turn in range(mask.shape[1]):
            v, r = (x[:, turn] for x in by_turn)
            metrics[f"explained_variance/turn_{turn + 1}"] = float(
                explained_variance(v, r, mask[:, turn])
            )
    return metrics


def _calibration(values: Tensor, batch: RolloutBatch) -> tuple[CalibrationBin, ...]:
    solved = batch.solved[:, None].expand_as(batch.turn_mask)
    return calibration(turn_values(values, batch), solved, batch.turn_mask)


def _flat_groups(returns: Tensor, groups: Tensor) -> float:
    """Share of groups whose returns are all equal, so that they teach nothing."""
    found = set(groups.tolist())
    spreads = [float(returns[groups == g].max() - returns[groups == g].min()) for g in found]
    return sum(spread < 1e-6 for spread in spreads) / len(spreads)
