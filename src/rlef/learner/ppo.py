"""One update of RLEF: PPO with a token-level policy and a turn-level critic, or what replaces them.

RLEF, section 2.2 and appendix A.1. One call of ``PPOLearner.update`` is a batch of rollouts:

1. score: old log-probabilities, reference log-probabilities, old values (``score.py``);
2. rewards less ``beta`` times the KL penalty; advantages; whiten over the batch (``credit.py``);
3. minibatches: one optimizer step each of policy (``objective.py``) and critic, gradients summed
   over micro-batches.
"""

import copy
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.algorithms import CalibrationBin, turn_value_loss
from rlef.learner.config import LearnerConfig
from rlef.learner.lora import adapters_off, add_adapters, frozen_twin
from rlef.learner.microbatch import micro_batches
from rlef.learner.models import (
    Critic,
    action_logprobs,
    check_output_head,
    multiplies_fast_in_bfloat16,
    use_float32_attention,
)
from rlef.learner.objective import policy_objective
from rlef.learner.score import Scored, score
from rlef.rollout import RolloutBatch, derive_seed

_Metrics = dict[str, float]


class PPOLearner:
    """Policy, critic and reference with their optimizers.

    Args:
        policy: The model to train, in float32, on its device. It is changed in place.
        config: The settings.
        seed: Of the critic's head, of adapters and of the order of minibatches.
        temperature: What sampling divides the logits by.
        total_updates: Optimizer steps in all, for ``final_lr_share``; ``None``: not known.

    Attributes:
        policy: as given, with adapters in it where the settings say so.
        critic: a copy of the policy's first weights with a random head; ``None`` without one.
        reference: a frozen copy of the policy's first weights; ``None`` where the policy without
            its adapters serves, or no KL penalty needs it.
        updates: optimizer steps that the batches so far stand for: the one clock of a run, by
            which learning rates rise and fall. A batch with fewer rollouts than steps, or with
            none, takes fewer steps than it stands for.
        precision: what ``config.precision`` came to, "float32" or "bfloat16".
        policy_moved: whether the last batch had a gradient for the policy, or was not to have one
            as the critic warms up.
        calibration: of the critic on the last batch, before it learnt from it.

    Raises:
        ValueError: The model's logits are not its output embedding of its hidden states, or
            ``peft`` is needed and not there.
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
        self.precision = resolve_precision(config.precision, policy.device)
        self._bfloat16 = self.precision == "bfloat16"
        if self._bfloat16:
            use_float32_attention(policy)
        self.config = config
        self.policy = policy
        self.reference: PreTrainedModel | None = None
        self.critic: Critic | None = None
        self.updates = 0
        self.policy_moved = False
        self.calibration: tuple[CalibrationBin, ...] = ()
        self._seed = seed
        self._temperature = temperature
        self._total_updates = total_updates
        if config.kl != "none" and config.lora is None:
            self.reference = copy.deepcopy(policy).requires_grad_(False)
        if config.has_critic:
            twin = frozen_twin(policy) if config.lora else copy.deepcopy(policy)
            self.critic = Critic(twin, seed, per_token=config.advantage == "token_critic")
        if config.lora is not None:
            policy.requires_grad_(False)
            add_adapters(policy, config.lora, derive_seed(seed, "policy adapters"))
            if self.critic is not None:
                add_adapters(
                    self.critic.backbone, config.lora, derive_seed(seed, "critic adapters")
                )
        if config.gradient_checkpointing:
            _save_memory(self.policy)
            if self.critic is not None:
                _save_memory(self.critic.backbone)
        self.policy_optimizer = self._adamw(self.policy, config.lr)
        self.critic_optimizer: torch.optim.AdamW | None = None
        if self.critic is not None:
            self.critic_optimizer = self._adamw(self.critic, config.critic_lr or config.lr)

    def update(self, batch: RolloutBatch, steps: int) -> _Metrics:
        """Learns from a batch of rollouts.

        Args:
            batch: The rollouts.
            steps: Minibatches of equal size to cut it into; there are no empty ones. So many
                updates the batch stands for.

        Returns:
            Metrics: means over rollouts (reward), turns (kl, value, return), action tokens
            (entropy, logprob_gap, clipfrac, ratio ...) or the optimizer steps that were taken
            (losses, grad_norm/...); ``bfloat16``: 1 where ``precision`` came to that, else 0.

        Raises:
            FloatingPointError: A gradient is not finite.
        """
        started = time.perf_counter()
        batch = batch.to(self.policy.device)
        reference = None if self.config.kl == "none" else self._reference_logprobs
        with torch.no_grad(), self.autocast():
            scored, metrics = score(
                self.config, batch, self.policy, reference, self.critic, self._temperature
            )
        self.calibration = scored.calibration
        metrics["score_s"] = time.perf_counter() - started
        found: dict[str, list[float]] = {}
        policy_steps, has_moved_far = 0, False
        end = self.updates + steps
        minibatches = self._minibatches(len(batch), steps)
        self.policy_moved = self.updates + len(minibatches) <= self.config.critic_warmup_updates
        for rows in minibatches:
            step: _Metrics = {}
            if (
                not has_moved_far
                and self.updates >= self.config.critic_warmup_updates
                and not (self.config.imitates and not scored.advantages[rows].any())
            ):
                step |= self._policy_gradient(batch, scored, rows)
                has_moved_far = step["approx_kl"] > (self.config.target_kl or math.inf)
                if has_moved_far:
                    self.policy_optimizer.zero_grad()
                else:
                    norm = self._apply_policy()
                    step["grad_norm/policy"] = norm
                    self.policy_moved |= norm > 0
                    policy_steps += 1
            if self.critic is not None and self.critic_optimizer is not None:
                step["loss/value"] = self._critic_gradient(self.critic, batch, scored, rows)
                step["grad_norm/critic"] = self._apply(
                    "critic", self.critic, self.critic_optimizer, self._lr_share(0)
                )
            self.updates += 1
            for name, value in step.items():
                found.setdefault(name, []).append(value)
        self.updates = end
        means = {name: sum(v / len(values) for v in values) for name, values in found.items()}
        counts = {"policy_steps": float(policy_steps), "bfloat16": float(self._bfloat16)}
        return metrics | means | counts

    def pass_over(self, steps: int) -> None:
        """Lets the updates pass that a batch without any rollout to learn from stands for."""
        self.updates += steps
        self.policy_moved = False

    def _reference_logprobs(self, batch: RolloutBatch) -> Tensor:
        if self.reference is not None:
            return action_logprobs(self.reference, batch, self._temperature).logprobs
        with adapters_off(self.policy):
            return action_logprobs(self.policy, batch, self._temperature).logprobs

    def _minibatches(self, count: int, steps: int) -> list[Tensor]:
        seed = derive_seed(self._seed, "minibatches", self.updates)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(count, generator=generator).to(self.policy.device)
        return list(torch.tensor_split(order, min(steps, count)))

    def _parts(
        self, batch: RolloutBatch, scored: Scored, rows: Tensor
    ) -> Iterator[tuple[RolloutBatch, Scored]]:
        """Yields the micro-batches of a minibatch."""
        for places in micro_batches(batch.lengths[rows], self.config.micro_batch_tokens):
            part = batch.select(rows[places])
            yield part, scored.select(rows[places], part.token_ids.shape[1])

    def _policy_gradient(self, batch: RolloutBatch, scored: Scored, rows: Tensor) -> _Metrics:
        """Adds up the policy's gradient on a minibatch."""
        tokens, turns = batch.action_mask[rows].sum(), batch.turn_mask[rows].sum()
        imitated = (scored.advantages[rows] > 0).sum()
        sums: _Metrics = {}
        for part, old in self._parts(batch, scored, rows):
            with self.autocast():
                now = action_logprobs(
                    self.policy,
                    part,
                    self._temperature,
                    with_entropy=self.config.entropy_bonus > 0,
                )
                objective = policy_objective(self.config, part, old, now, tokens, turns, imitated)
                objective.loss.backward()  # type: ignore[no-untyped-call]
            for name, value in objective.metrics.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def _critic_gradient(
        self, critic: Critic, batch: RolloutBatch, scored: Scored, rows: Tensor
    ) -> float:
        """Adds up the critic's gradient on a minibatch; returns its loss."""
        count = (batch.action_mask if critic.per_token else batch.turn_mask)[rows].sum()
        total = 0.0
        for part, old in self._parts(batch, scored, rows):
            assert old.old_values is not None and old.returns is not None  # there is a critic
            with self.autocast():
                loss = turn_value_loss(
                    critic(part),
                    old.old_values,
                    old.returns,
                    part.action_mask if critic.per_token else part.turn_mask,
                    self.config.value_clip,
                    count,
                )
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _apply_policy(self) -> float:
        share = self._lr_share(self.config.critic_warmup_updates)
        return self._apply("policy", self.policy, self.policy_optimizer, share)

    def _apply(
        self, name: str, model: nn.Module, optimizer: torch.optim.Optimizer, lr_share: float
    ) -> float:
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), self.config.grad_clip))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"update {self.updates + 1}: the gradient norm of the {name} is {norm}; try a "
                "lower learner.lr, or precision float32"
            )
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_share
        optimizer.step()
        optimizer.zero_grad()
        return norm

    def _lr_share(self, first: int) -> float:
        """Returns the share of the peak learning rate for the next update.

        Args:
            first: Updates before the one in which this network began to learn.
        """
        warmup = min(1.0, (self.updates - first + 1) / max(1, self.config.warmup_updates))
        if self._total_updates is None:
            return warmup
        progress = min(1.0, self.updates / self._total_updates)
        return warmup * (1 - (1 - self.config.final_lr_share) * progress)

    def _adamw(self, model: nn.Module, lr: float) -> torch.optim.AdamW:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        group = {"params": trained, "peak_lr": lr}
        betas = (self.config.adam_beta1, self.config.adam_beta2)
        return torch.optim.AdamW([group], lr=lr, betas=betas, weight_decay=self.config.weight_decay)

    def autocast(self) -> AbstractContextManager[object]:
        """In which passes run, by ``precision``."""
        if not self._bfloat16:
            return nullcontext()
        return torch.autocast(self.policy.device.type, torch.bfloat16)


def resolve_precision(
    precision: Literal["float32", "bfloat16", "auto"], device: torch.device
) -> Literal["float32", "bfloat16"]:
    """Returns what ``learner.precision`` comes to on a device."""
    if precision == "auto":
        return "bfloat16" if multiplies_fast_in_bfloat16(device) else "float32"
    return precision


def _save_memory(model: nn.Module) -> None:
    """Switches gradient checkpointing on, which transformers from 5.23 on calls otherwise."""
    old_name = "gradient_checkpointing_enable"
    name = "activation_checkpointing_enable"
    getattr(model, name if hasattr(model, name) else old_name)()
    model.train()
    _switch_off_dropout(model)


def _switch_off_dropout(model: nn.Module) -> None:
    """Checkpointing needs training mode, in which two passes must still give the same."""
    for module in model.modules():
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
