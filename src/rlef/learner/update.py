"""One update of RLEF: PPO with a token-level policy and a turn-level critic.

RLEF, section 2.2 and appendix A.1. ``LocalLearner.update`` is the whole of it. What may stand in
place of the paper's parts is in ``ADVANTAGES`` and ``policy_loss``.

Shapes: B rollouts, L tokens, U turns.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlef.algorithms import CalibrationBin, masked_mean, turn_kl_penalty
from rlef.engines.types import Weights
from rlef.engines.weights import ModelWeights
from rlef.learner.advantages import (
    ADVANTAGES,
    Scored,
    describe,
    mean_return,
    rewards_less_penalty,
)
from rlef.learner.checkpoint import restore_policy
from rlef.learner.config import LearnerConfig, SaveDtype
from rlef.learner.descent import Descent
from rlef.learner.models import Critic, Policy, build_models
from rlef.learner.notices import adapter_line, packing_line
from rlef.learner.objective import Minibatch, policy_loss, value_loss
from rlef.learner.packing import Packed
from rlef.learner.precision import autocast, resolve_precision
from rlef.learner.ranks import Ranks
from rlef.learner.replay import deal_answers, imitate
from rlef.learner.scores import RolloutScores, first_scores
from rlef.learner.service import Metrics
from rlef.learner.step_log import StepLog
from rlef.learner.store import Store
from rlef.learner.teacher import TeacherTokens, ask_teacher
from rlef.rollout import RolloutBatch, derive_seed
from rlef.rollout.teacher import TeacherBatch

ENTROPY_EVERY = 8
"""Micro-batches to one whose entropies are measured at the start of an update."""
_ALONE = Ranks()


class LocalLearner:
    """Policy, critic and reference with their optimizers, in this process: a ``Learner``.

    Or this rank's part of them: then every rank makes one, and calls its methods as all others do.

    Args:
        model: The policy's first weights, in float32, on its device. It is changed in place. On
            ranks: what ``load_on_ranks`` returns.
        config: The settings.
        seed: Of the critic's head, of adapters and of the order of minibatches.
        tokenizer: Is saved beside the model.
        temperature: What sampling divides the logits by.
        total_updates: Optimizer steps in all, for ``final_lr_share``; ``None``: not known.
        save_dtype: Of the model in a checkpoint.
        keep_scores: Of so many rollouts of each batch ``scores`` tells.
        ranks: Where it runs.
        notices: Lines that ``notices`` begins with.

    Attributes:
        policy, critic, reference: as ``Models`` has them.
        precision: what ``config.precision`` came to.
        version, policy_moved, calibration: see ``Learner``.

    Raises:
        ValueError: As ``build_models``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: LearnerConfig,
        seed: int,
        *,
        tokenizer: Any = None,
        temperature: float = 1.0,
        total_updates: int | None = None,
        save_dtype: SaveDtype = "float32",
        keep_scores: int = 0,
        ranks: Ranks = _ALONE,
        notices: Sequence[str] = (),
    ) -> None:
        self.config = config
        self._notices = notices
        self.ranks = ranks
        self.precision = resolve_precision(config.precision, ranks.device or model.device)
        models = build_models(model, config, seed, temperature, ranks)
        self.policy, self.critic, self.reference = models.policy, models.critic, models.reference
        self._reference = models.resting_reference(config)
        self._reference.rest()
        descent = partial(Descent, config=config, total_updates=total_updates)
        begins_at, critic_lr = config.critic_warmup_updates, config.critic_lr or config.lr
        self.policy_descent = descent("policy", self.policy, lr=config.lr, begins_at=begins_at)
        self.critic_descent: Descent | None = None
        if self.critic is not None:
            self.critic_descent = descent(
                "critic", self.critic, lr=critic_lr, head_lr=config.critic_head_lr
            )
        self.version = 0
        self.policy_moved = False
        self._critic_is_new = config.critic_bias == "mean_return"
        self.calibration: tuple[CalibrationBin, ...] = ()
        self._seed = seed
        self._keep_scores = keep_scores if ranks.first else 0
        self._scores: tuple[RolloutScores, ...] = ()
        descents = (self.policy_descent, self.critic_descent)
        self._store = Store(
            self.policy.model,
            self.critic,
            [one for one in descents if one is not None],
            tokenizer=tokenizer,
            precision=self.precision,
            dtype=save_dtype,
            ranks=ranks,
        )

    def update(
        self,
        batch: RolloutBatch,
        steps: int,
        lessons: TeacherBatch | None = None,
        replay: RolloutBatch | None = None,
    ) -> Metrics:
        """Learns from a batch of rollouts, see ``Learner``.

        Returns:
            Metrics: means over rollouts (reward), turns (kl, value, return), action tokens
            (entropy, logprob_gap, clipfrac, ratio ...) or the optimizer steps that were taken
            (losses, grad_norm/...); ``bfloat16``: 1 where ``precision`` came to that, else 0.

        Raises:
            ValueError: There is no action token: ``pass_over`` is for that; or ``steps`` is no
                multiple of ``config.epochs``.
        """
        if steps % self.config.epochs:
            raise ValueError(
                f"steps is {steps}; allowed: a multiple of {self.config.epochs} epochs"
            )
        if not batch.action_mask.any():
            raise ValueError("no rollout of the batch has an action token; allowed: one or more")
        started = time.perf_counter()
        config, batch = self.config, batch.to("cpu")  # micro-batches go to the device one by one
        with self._reference.awake():
            scored = self.score(batch)
            scored = replace(scored, teacher=self._ask_teacher(batch, lessons))
        rewards = rewards_less_penalty(config, batch, scored)
        scored = self._with_bias(batch, rewards, scored)
        advantages, returns = ADVANTAGES[config.advantage](config, batch, rewards, scored)
        metrics, self.calibration = describe(config, batch, scored, returns, self.version)
        if config.teacher is not None:
            metrics["taught_tokens"] = float(scored.teacher.mask.sum() if scored.teacher else 0)
        metrics["score_s"] = time.perf_counter() - started

        scored = replace(scored, advantages=advantages, returns=returns)
        self.keep_scores(batch, scored)
        log = StepLog(self.ranks)
        minibatches = [one.with_teacher(scored.teacher) for one in self.minibatches(batch, steps)]
        each = config.replay.answers if config.replay is not None else 0
        replayed = deal_answers(replay, len(minibatches), each)
        for minibatch in self.critic_minibatches(batch, steps):
            log.begin()
            self._teach_critic(batch, scored, minibatch, log)
        end = self.version + steps
        self.policy_moved = self.version + len(minibatches) <= config.critic_warmup_updates
        has_moved_far = False
        for minibatch, again in zip(minibatches, replayed, strict=True):
            log.begin()
            if self.version >= config.critic_warmup_updates and not has_moved_far:
                for part, old, packed in self.parts(batch, scored, minibatch, self.policy):
                    with self.autocast():
                        now = self.policy(
                            part,
                            packed,
                            with_entropy=config.entropy_bonus != 0,
                            teacher=old.teacher,
                        )
                    loss, found = policy_loss(config, part, old, now, minibatch)
                    loss.backward()  # type: ignore[no-untyped-call]
                    log.add(found)
                self._imitate(again, log)
                has_moved_far = log.read().get("approx_kl", 0.0) > (config.target_kl or math.inf)
                if has_moved_far:
                    self.policy_descent.clear()
                else:
                    norm = self.policy_descent.step(self.version)
                    log.took_step("policy", norm)
                    self.policy_moved |= bool(norm)
            self._teach_critic(batch, scored, minibatch, log)
            self.version += 1
        self.version = end
        return metrics | log.means() | {"bfloat16": float(self.precision == "bfloat16")}

    def _imitate(self, answers: RolloutBatch | None, log: StepLog) -> None:
        """Adds the gradient of solved answers to the policy's."""
        if self.config.replay is None or answers is None:
            return
        imitate(
            self.policy,
            answers,
            self.config.replay.weight,
            log,
            micro_batch_tokens=self.config.micro_batch_tokens,
            ranks=self.ranks,
            autocast=self.autocast,
        )

    def _teach_critic(
        self, batch: RolloutBatch, scored: Scored, minibatch: Minibatch, log: "StepLog"
    ) -> None:
        """Takes a step of the critic, if there is one."""
        if self.critic is None or self.critic_descent is None:
            return
        scored = replace(scored, teacher=None)
        for part, old, packed in self.parts(batch, scored, minibatch, self.critic):
            with self.autocast():
                values = self.critic(part, packed)
            loss = value_loss(self.config, part, old, values, minibatch)
            loss.backward()  # type: ignore[no-untyped-call]
            log.add({"loss/value": loss})
        log.read()
        log.took_step("critic", self.critic_descent.step(self.version))

    def scores(self) -> tuple[RolloutScores, ...]:
        """Returns what the last update knew, see ``Learner``; on ranks but the first nothing."""
        return self._scores

    def keep_scores(self, batch: RolloutBatch, scored: Scored) -> None:
        """Remembers what ``scores`` tells of a batch."""
        self._scores = first_scores(batch, scored, self._keep_scores)

    def pass_over(self, steps: int) -> None:
        """Lets the updates pass that a batch without any rollout to learn from stands for."""
        self.version += steps
        self.policy_moved = False

    def weights(self) -> Weights:
        """Returns the policy as it is, to sample from."""
        if self.ranks.several:
            from rlef.learner.sharding import ShardedWeights

            return ShardedWeights(
                version=self.version, policy=self.policy, precision=self.precision
            )
        return ModelWeights(version=self.version, model=self.policy.model)

    def save(self, folder: Path) -> None:
        """Writes what ``restore`` needs, see ``Learner``; ranks go on writing meanwhile."""
        self._store.save(folder, version=self.version, critic_is_new=self._critic_is_new)

    def saved(self, *, wait: bool) -> bool:
        """Whether all of the last ``save`` is written, see ``Learner``."""
        return self._store.saved(wait=wait)

    def restore(self, folder: Path) -> None:
        """Brings a new learner of the same model and settings to the state of ``save``."""
        state = self._store.restore(folder)
        self.version, self._critic_is_new = state.version, state.critic_is_new

    def save_policy(self, folder: Path) -> None:
        """Writes the policy alone, see ``Learner``."""
        self._store.save_policy(folder)

    def restore_policy(self, folder: Path) -> None:
        """Takes over what ``save_policy`` wrote, see ``Learner``."""
        restore_policy(self.policy.model, folder)

    def notices(self) -> list[str]:
        """Returns what a user should know of how this model is trained, a line each."""
        lines = (adapter_line(self.policy.model), packing_line(self.policy.model))
        return [*self._notices, *(line for line in lines if line is not None)]

    @torch.no_grad()
    def score(self, batch: RolloutBatch) -> Scored:
        """Evaluates policy, reference and critic as they are.

        Entropies are those of every eighth micro-batch, and NaN in others, since they cost half as
        much again as log-probabilities; of all where there are fewer than eight. Which one is first
        is drawn: micro-batches begin with the longest rollouts.
        """
        config, device = self.config, self.policy.model.device
        most, ranks = 2 * config.micro_batch_tokens, self.ranks
        groups = ranks.deal(self.policy.lay_out(batch).groups(most, ranks.size))
        every = 1 if len(groups) < ENTROPY_EVERY else ENTROPY_EVERY
        measured = range(Random(self.version).randrange(every), len(groups), every)
        found: list[tuple[Tensor, dict[str, Tensor]]] = []
        for number, (places, counts) in enumerate(groups):
            rows = torch.tensor(places)
            part = batch.select(rows)
            packed = self.policy.lay_out(part).to(device)
            with self.autocast():
                ours = self.policy(part, packed, with_entropy=number in measured)
                scores = {"old_logprobs": ours.logprobs}
                if number in measured:
                    scores["entropy"] = ours.entropy
                if self.reference is not None and config.kl != "none":
                    scores["ref_logprobs"] = self.reference(part, packed).logprobs
                if self.critic is not None:
                    there = self.critic.lay_out(part).to(device)
                    scores["old_values"] = self.critic(part, there)
            if counts:
                found.append((rows, scores))
        joined: dict[str, Tensor] = {}
        for rows, scores in ranks.join(found):
            for name, scored in scores.items():
                filler = torch.nan if name == "entropy" else 0.0
                of_turns = name == "old_values" and not config.values_per_token
                like = batch.rewards if of_turns else batch.behavior_logprobs
                whole = joined.setdefault(name, torch.full_like(like, filler))
                whole[rows, : scored.shape[1]] = scored.cpu()
        penalty = None
        if "ref_logprobs" in joined:
            pair = joined["old_logprobs"], joined["ref_logprobs"]
            penalty = turn_kl_penalty(*pair, batch.turn_ids, batch.turn_mask.shape[1])
        return Scored(
            old_logprobs=joined["old_logprobs"],
            entropy=joined["entropy"],
            ref_logprobs=joined.get("ref_logprobs"),
            penalty=penalty,
            old_values=joined.get("old_values"),
            values_per_token=config.values_per_token,
        )

    def _ask_teacher(
        self, batch: RolloutBatch, lessons: TeacherBatch | None
    ) -> TeacherTokens | None:
        config = self.config
        if config.teacher is None or lessons is None or self.reference is None:
            return None
        return ask_teacher(
            self.reference,
            batch,
            lessons,
            config.teacher.top,
            micro_batch_tokens=2 * config.micro_batch_tokens,
            ranks=self.ranks,
            autocast=self.autocast,
        )

    @torch.no_grad()
    def _with_bias(self, batch: RolloutBatch, rewards: Tensor, scored: Scored) -> Scored:
        """Gives a new critic its bias, see ``critic_bias``; its values move with it."""
        if not self._critic_is_new or self.critic is None or scored.old_values is None:
            return scored
        self._critic_is_new = False
        units = batch.action_mask if scored.values_per_token else batch.turn_mask
        shift = mean_return(self.config, batch, rewards) - masked_mean(scored.old_values, units)
        self.critic.head.bias.add_(shift.to(self.critic.head.bias.device))
        return replace(scored, old_values=torch.where(units, scored.old_values + shift, 0.0))

    def minibatches(self, batch: RolloutBatch, steps: int) -> list[Minibatch]:
        """Cuts a batch, once for each pass, in random order.

        All that steps count is counted here, on the CPU; so the steps of several ranks agree once
        these counts do.

        Args:
            batch: The rollouts.
            steps: Of all passes.
        """
        each = steps // self.config.epochs
        starts = range(self.version, self.version + each * self.config.epochs, each)
        return [one for start in starts for one in self._cut(batch, each, "minibatches", start)]

    def critic_minibatches(self, batch: RolloutBatch, steps: int) -> list[Minibatch]:
        """Cuts a batch for the passes that the critic has to itself, see ``minibatches``."""
        each = steps // self.config.epochs
        return [
            one
            for number in range(self.config.extra_critic_epochs)
            for one in self._cut(batch, each, "critic minibatches", self.version, number)
        ]

    def _cut(self, batch: RolloutBatch, count: int, *draw: str | int) -> list[Minibatch]:
        seed = derive_seed(self._seed, *draw)
        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
        pieces = torch.tensor_split(order, min(count, len(batch)))
        return [Minibatch.of(batch, rows) for rows in pieces]

    def parts(
        self, batch: RolloutBatch, scored: Scored, minibatch: Minibatch, network: Policy | Critic
    ) -> Iterator[tuple[RolloutBatch, Scored, Packed]]:
        """Yields the micro-batches of a minibatch on the device, and what a network reads of each.

        Of several ranks each has its own, and equally many: see ``Ranks.deal``. Nothing here or
        after waits for the device: sizes and places are worked out on the CPU.
        """
        device, ranks = self.policy.model.device, self.ranks
        groups = network.lay_out(batch.select(minibatch.rows)).groups(
            self.config.micro_batch_tokens, ranks.size
        )
        for places, counts in ranks.deal(groups):
            rows = minibatch.rows[places]
            part = batch.select(rows)
            old, packed = scored.select(rows, part.token_ids.shape[1]), network.lay_out(part)
            part = part if counts else part.without_actions()
            yield part.to(device), old.to(device), packed.to(device)

    def autocast(self) -> AbstractContextManager[object]:
        """In which forward passes run."""
        return autocast(self.precision, self.policy.model.device)
