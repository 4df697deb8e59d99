"""Rollouts, and the batch of tensors that every learner takes: the seam between the two.

Shapes: B rollouts, L tokens, U turns. Rows are padded on the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from rlef.environment import Conversation, EpisodeRecord, MessageConversation, StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One sampled episode; of an engine that answers in text, without tokens.

    Attributes:
        record: what happened, as text and outcomes.
        token_ids: all tokens from the first prompt to the last answer.
        turn_ids: per token; its turn from 0 if it was sampled (an action token), else -1.
        logprobs: per token; behaviour log-probability if it was sampled, else 0.
        prompt_ends: per turn, the index of its prompt's last token.
        rewards: per turn, before any KL penalty.
        seed: the episode's seed.
    """

    record: EpisodeRecord
    token_ids: tuple[int, ...]
    turn_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    prompt_ends: tuple[int, ...]
    rewards: tuple[float, ...]
    seed: int

    @property
    def trainable(self) -> bool:
        """Whether it says anything about the policy: it has tokens, and its judge did its work."""
        return bool(self.prompt_ends) and self.record.stop is not StopReason.INFRA_ERROR

    def after_first_turn(self) -> "Rollout":
        """Returns the rollout as one whose first answer is part of its first prompt.

        What is left of an episode of one turn has no prompt, and is not trainable.
        """
        return replace(
            self,
            turn_ids=tuple(max(turn - 1, -1) for turn in self.turn_ids),
            logprobs=tuple(
                logprob if turn > 0 else 0.0
                for logprob, turn in zip(self.logprobs, self.turn_ids, strict=True)
            ),
            prompt_ends=self.prompt_ends[1:],
            rewards=self.rewards[1:],
        )

    @classmethod
    def of(
        cls,
        record: EpisodeRecord,
        conversation: Conversation | MessageConversation,
        rewards: Sequence[float],
        seed: int,
    ) -> "Rollout":
        """Joins an episode's record with its tokens; a prompt that got no answer is cut off."""
        if isinstance(conversation, MessageConversation):
            return cls(
                record=record,
                token_ids=(),
                turn_ids=(),
                logprobs=(),
                prompt_ends=(),
                rewards=tuple(rewards),
                seed=seed,
            )
        turns = len(record.turns)
        end = len(conversation.token_ids)
        if len(conversation.prompt_ends) > turns:
            last_turn = max(
                (i for i, sampled in enumerate(conversation.action_mask) if sampled), default=-1
            )
            end = last_turn + 1
        return cls(
            record=record,
            token_ids=tuple(conversation.token_ids[:end]),
            turn_ids=tuple(conversation.turn_ids[:end]),
            logprobs=tuple(conversation.logprobs[:end]),
            prompt_ends=tuple(conversation.prompt_ends[:turns]),
            rewards=tuple(rewards),
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutBatch:
    """Rollouts as tensors.

    Attributes:
        token_ids: (B, L) int64, 0 where padded.
        token_mask: (B, L) bool, True = a token, False = padding.
        turn_ids: (B, L) int64, the turn of an action token, -1 elsewhere.
        logprobs: (B, L) float32, behaviour log-probabilities of action tokens, 0 elsewhere.
        prompt_ends: (B, U) int64, index of the last token of each turn's prompt, 0 where none.
        turn_mask: (B, U) bool, True = the turn exists.
        rewards: (B, U) float32, before any KL penalty, 0 where there is no turn.
        groups: (B,) int64, equal for rollouts of one problem, whatever the number.
        solved: (B,) bool, the last program passes all tests.
    """

    token_ids: Tensor
    token_mask: Tensor
    turn_ids: Tensor
    logprobs: Tensor
    prompt_ends: Tensor
    turn_mask: Tensor
    rewards: Tensor
    groups: Tensor
    solved: Tensor

    @property
    def action_mask(self) -> Tensor:
        """(B, L) bool, True where the model sampled the token."""
        return self.turn_ids >= 0

    @property
    def lengths(self) -> Tensor:
        """(B,) int64 tokens of each rollout."""
        return self.token_mask.sum(1)

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def select(self, rows: Tensor) -> "RolloutBatch":
        """Returns some rows, without the columns that are padding in all of them.

        Args:
            rows: (N,) int64 indices.
        """
        chosen = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        length = int(chosen["token_mask"].sum(1).max()) if len(rows) else 0
        for name in ("token_ids", "token_mask", "turn_ids", "logprobs"):
            chosen[name] = chosen[name][:, :length]
        return RolloutBatch(**chosen)

    def to(self, device: torch.device | str) -> "RolloutBatch":
        """Returns the batch on a device."""
        return RolloutBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @classmethod
    def from_rollouts(cls, rollouts: Sequence[Rollout], num_turns: int) -> "RolloutBatch":
        """Pads rollouts into a batch.

        Args:
            rollouts: At least one, all ``trainable``: mask infrastructure errors by leaving
                them out.
            num_turns: U, at least the longest rollout's turns.

        Raises:
            ValueError: There is none, or one is not trainable or too long.
        """
        if not rollouts:
            raise ValueError("no rollouts; allowed: 1 or more")
        for rollout in rollouts:
            if not rollout.trainable or len(rollout.prompt_ends) > num_turns:
                raise ValueError(
                    f"the rollout on {rollout.record.problem!r} has {len(rollout.prompt_ends)} "
                    f"turns and ended by {rollout.record.stop}; allowed: 1 to {num_turns} turns "
                    "and no infrastructure error"
                )
        length = max(len(rollout.token_ids) for rollout in rollouts)
        counts = [len(rollout.prompt_ends) for rollout in rollouts]
        names = [rollout.record.problem for rollout in rollouts]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return cls(
            token_ids=_pad([r.token_ids for r in rollouts], length, 0, torch.int64),
            token_mask=_pad([[True] * len(r.token_ids) for r in rollouts], length, 0, torch.bool),
            turn_ids=_pad([r.turn_ids for r in rollouts], length, -1, torch.int64),
            logprobs=_pad([r.logprobs for r in rollouts], length, 0, torch.float32),
            prompt_ends=_pad([r.prompt_ends for r in rollouts], num_turns, 0, torch.int64),
            turn_mask=_pad([[True] * count for count in counts], num_turns, 0, torch.bool),
            rewards=_pad([r.rewards for r in rollouts], num_turns, 0, torch.float32),
            groups=torch.tensor([numbers[name] for name in names]),
            solved=torch.tensor([rollout.record.solved for rollout in rollouts]),
        )


def _pad(rows: Sequence[Sequence[float]], length: int, filler: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows], dtype=dtype)
