"""PPO with a token-level policy and a turn-level critic (RLEF, section 2.2 and appendix A.1).

Shapes: B rollouts, L tokens, U turns. One call of ``PPOLearner.update`` is a batch of rollouts:

1. score: old log-probabilities, reference log-probabilities, old values;
2. rewards less ``beta`` times the turn-mean KL; one advantage per turn; whiten over the batch;
3. minibatches: one optimizer step each of policy and critic, gradients summed over micro-batches.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.algorithms import (
    explained_variance,
    masked_mean,
    normalize_advantages,
    ppo_policy_loss,
    turn_kl_penalty,
    turn_level_advantages,
    turn_value_loss,
    turns_to_tokens,
)
from rlef.learner.microbatch import micro_batches
from rlef.learner.models import Critic, action_logprobs, check_output_head
from rlef.rollout import RolloutBatch, derive_seed


class LearnerConfig(BaseModel):
    """Settings of the update. The defaults are the paper's; what it leaves open says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: float = Field(2e-7, gt=0, le=1)
    critic_lr: float | None = Field(None, gt=0, le=1)
    """``None``: as ``lr``."""
    weight_decay: float = Field(0.1, ge=0)
    warmup_updates: int = Field(50, ge=0)
    """Linear warm-up, in optimizer steps."""
    final_lr_share: float = Field(1.0, ge=0, le=1)
    """The learning rate falls linearly to this share of ``lr`` at the last update; the paper's
    stays."""
    minibatch: int = Field(256, ge=1)
    """Rollouts per optimizer step."""
    beta: float = Field(0.05, ge=0)
    """Weight of the KL penalty in the reward."""
    gamma: float = Field(1.0, ge=0, le=1)
    lam: float = Field(1.0, ge=0, le=1)
    clip: float = Field(0.2, gt=0, lt=1)
    value_clip: float = Field(0.2, gt=0)
    normalize: Literal["turns", "tokens", "none"] = "turns"
    """Over what advantages are whitened (open): turns of the batch, each once or weighted by its
    tokens."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest gradient norm, of policy and critic each (open)."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    micro_batch_tokens: int = Field(16384, ge=1)
    """Padded tokens per forward and backward pass; sets memory, not results."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16``: weights stay float32, matrix products run in bfloat16 (autocast)."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """What an update is made of, beside the batch.

    Attributes:
        old_logprobs: (B, L) at the start of the update.
        old_values: (B, U) at the start of the update.
        advantages: (B, L), whitened, at every action token of the turn.
        returns: (B, U) rewards to go.
    """

    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor

    def select(self, rows: Tensor, length: int) -> "_Scored":
        return _Scored(
            self.old_logprobs[rows, :length],
            self.old_values[rows],
            self.advantages[rows, :length],
            self.returns[rows],
        )


class PPOLearner:
    """Policy, critic and reference with their optimizers.

    Args:
        policy: The model to train, in float32, on its device. It is changed in place.
        config: The settings.
        seed: Of the critic's head and the order of minibatches.
        temperature: What sampling divides the logits by.
        total_updates: Optimizer steps in all, for ``final_lr_share``; ``None``: not known.

    Attributes:
        policy: as given.
        critic: a copy of the policy's first weights with a random head.
        reference: a frozen copy of the policy's first weights.
        updates: optimizer steps taken.

    Raises:
        ValueError: The model's logits are not its output embedding of its hidden states.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        config: LearnerConfig,
        seed: int,
        temperature: float = 1.0,
        total_updates: int | None = None,
    ) -> None:
        check_output_head(policy)
        self.config = config
        self.policy = policy
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        self.critic = Critic(copy.deepcopy(policy), seed)
        self.updates = 0
        self._seed = seed
        self._temperature = temperature
        self._total_updates = total_updates
        if config.gradient_checkpointing:
            for model in (self.policy, self.critic.backbone):
                model.gradient_checkpointing_enable()  # type: ignore[operator]
                model.train()
                _switch_off_dropout(model)
        self.policy_optimizer = self._adamw(self.policy, config.lr)
        self.critic_optimizer = self._adamw(self.critic, config.critic_lr or config.lr)

    def update(self, batch: RolloutBatch, steps: int) -> dict[str, float]:
        """Learns from a batch of rollouts.

        Args:
            batch: The rollouts.
            steps: Minibatches of equal size to cut it into; there are no empty ones.

        Returns:
            Metrics: means over rollouts (reward), turns (kl, value, return), action tokens
            (entropy, logprob_gap, clipfrac, ratio ...) or optimizer steps (losses, grad_norm/...).

        Raises:
            FloatingPointError: A gradient is not finite.
        """
        batch = batch.to(self.policy.device)
        scored, metrics = self._score(batch)
        sums: dict[str, float] = {}
        minibatches = list(self._minibatches(len(batch), steps))
        for rows in minibatches:
            for name, value in self._step(batch, scored, rows).items():
                sums[name] = sums.get(name, 0.0) + value / len(minibatches)
        return metrics | sums

    def _score(self, batch: RolloutBatch) -> tuple[_Scored, dict[str, float]]:
        """Evaluates policy, reference and critic as they are; forms rewards and advantages."""
        old_logprobs = torch.zeros_like(batch.logprobs)
        ref_logprobs = torch.zeros_like(batch.logprobs)
        entropy = torch.zeros_like(batch.logprobs)
        values = torch.zeros_like(batch.rewards)
        with torch.no_grad(), self._autocast():
            for rows in micro_batches(batch.lengths, 2 * self.config.micro_batch_tokens):
                part = batch.select(rows)
                length = part.token_ids.shape[1]
                ours = action_logprobs(self.policy, part, self._temperature, with_entropy=True)
                old_logprobs[rows, :length] = ours.logprobs
                entropy[rows, :length] = ours.entropy
                theirs = action_logprobs(self.reference, part, self._temperature)
                ref_logprobs[rows, :length] = theirs.logprobs
                values[rows] = self.critic(part)
        config, mask = self.config, batch.turn_mask
        penalty = turn_kl_penalty(old_logprobs, ref_logprobs, batch.turn_ids, mask.shape[1])
        rewards = batch.rewards - config.beta * penalty
        advantages, returns = turn_level_advantages(rewards, values, mask, config.gamma, config.lam)
        if config.normalize != "none":
            counts = torch.stack([(batch.turn_ids == t).sum(1) for t in range(mask.shape[1])], 1)
            weights = counts.float() if config.normalize == "tokens" else None
            advantages = normalize_advantages(advantages, mask, weights)
        metrics = {
            "reward": float(batch.rewards.sum() / len(batch)),
            "kl": float(masked_mean(penalty, mask)),
            "entropy": float(masked_mean(entropy, batch.action_mask)),
            "explained_variance": float(explained_variance(values, returns, mask)),
            "value": float(masked_mean(values, mask)),
            "return": float(masked_mean(returns, mask)),
            "logprob_gap": float(
                masked_mean((batch.logprobs - old_logprobs).abs(), batch.action_mask)
            ),
            "action_tokens": float(batch.action_mask.sum()),
        }
        spread = turns_to_tokens(advantages, batch.turn_ids)
        return _Scored(old_logprobs, values, spread, returns), metrics

    def _minibatches(self, count: int, steps: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, self.updates))
        order = torch.randperm(count, generator=generator).to(self.policy.device)
        yield from torch.tensor_split(order, min(steps, count))

    def _step(self, batch: RolloutBatch, scored: _Scored, rows: Tensor) -> dict[str, float]:
        """Takes one optimizer step of policy and critic on some rollouts."""
        tokens = batch.action_mask[rows].sum()
        turns = batch.turn_mask[rows].sum()
        sums = dict.fromkeys(
            ("loss/policy", "loss/value", "clipfrac", "approx_kl", "ratio", "importance_weight"),
            0.0,
        )
        for places in micro_batches(batch.lengths[rows], self.config.micro_batch_tokens):
            part = batch.select(rows[places])
            old = scored.select(rows[places], part.token_ids.shape[1])
            with self._autocast():
                logprobs = action_logprobs(self.policy, part, self._temperature).logprobs
                policy = ppo_policy_loss(
                    logprobs,
                    old.old_logprobs,
                    part.logprobs,
                    old.advantages,
                    part.action_mask,
                    self.config.clip,
                    tokens,
                )
                policy.loss.backward()  # type: ignore[no-untyped-call]
                value_loss = turn_value_loss(
                    self.critic(part),
                    old.old_values,
                    old.returns,
                    part.turn_mask,
                    self.config.value_clip,
                    turns,
                )
                value_loss.backward()  # type: ignore[no-untyped-call]
            sums["loss/policy"] += float(policy.loss.detach())
            sums["loss/value"] += float(value_loss.detach())
            for name in ("clipfrac", "approx_kl", "ratio", "importance_weight"):
                sums[name] += float(getattr(policy, name))
        sums["grad_norm/policy"] = self._apply(self.policy, self.policy_optimizer)
        sums["grad_norm/critic"] = self._apply(self.critic, self.critic_optimizer)
        self.updates += 1
        return sums

    def _apply(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), self.config.grad_clip))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"update {self.updates + 1}: the gradient norm of the "
                f"{'policy' if model is self.policy else 'critic'} is {norm}; try a lower "
                "learner.lr, or precision float32"
            )
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self._lr_share()
        optimizer.step()
        optimizer.zero_grad()
        return norm

    def _lr_share(self) -> float:
        """Returns the share of the peak learning rate for the next update."""
        warmup = min(1.0, (self.updates + 1) / max(1, self.config.warmup_updates))
        if self._total_updates is None:
            return warmup
        progress = min(1.0, self.updates / self._total_updates)
        return warmup * (1 - (1 - self.config.final_lr_share) * progress)

    def _adamw(self, model: nn.Module, lr: float) -> torch.optim.AdamW:
        group = {"params": list(model.parameters()), "peak_lr": lr}
        betas = (self.config.adam_beta1, self.config.adam_beta2)
        return torch.optim.AdamW([group], lr=lr, betas=betas, weight_decay=self.config.weight_decay)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.policy.device.type, torch.bfloat16)


def _switch_off_dropout(model: nn.Module) -> None:
    """Checkpointing needs training mode, in which two passes must still give the same."""
    for module in model.modules():
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
