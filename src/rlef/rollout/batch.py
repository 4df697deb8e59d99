"""The batch of tensors that every learner takes.

Shapes: B rollouts, L tokens, U turns. Rows are padded on the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlef.rollout.types import Rollout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutBatch:
    """Rollouts as tensors.

    Attributes:
        token_ids: (B, L) int64, 0 where padded.
        token_mask: (B, L) bool, True = a token, False = padding.
        sequence_ids: (B, L) int64, the sequence of a token, from 0 in each row, -1 where padded.
            Sequences of a row stand one after another. A token sees those of its own sequence
            alone, and positions count from 0 in each.
        turn_ids: (B, L) int64, the turn of an action token, -1 elsewhere.
        behavior_logprobs: (B, L) float32, of action tokens when they were sampled, 0 elsewhere.
        prompt_ends: (B, U) int64, index of the last token of each turn's prompt, 0 where none.
        turn_mask: (B, U) bool, True = the turn exists.
        rewards: (B, U) float32, before any KL penalty, 0 where there is no turn.
        versions: (B, U) int64, oldest policy version that sampled a token of the turn, 0 where
            there is no turn.
        groups: (B,) int64, equal for rollouts of one problem, whatever the number.
        solved: (B,) bool, the last program passes all tests.
    """

    token_ids: Tensor
    token_mask: Tensor
    sequence_ids: Tensor
    turn_ids: Tensor
    behavior_logprobs: Tensor
    prompt_ends: Tensor
    turn_mask: Tensor
    rewards: Tensor
    versions: Tensor
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
        for name in ("token_ids", "token_mask", "sequence_ids", "turn_ids", "behavior_logprobs"):
            chosen[name] = chosen[name][:, :length]
        return RolloutBatch(**chosen)

    def without_actions(self) -> "RolloutBatch":
        """Returns the same tokens, none of them sampled: nothing is learnt from them."""
        turn_ids, turn_mask = torch.full_like(self.turn_ids, -1), torch.zeros_like(self.turn_mask)
        return replace(self, turn_ids=turn_ids, turn_mask=turn_mask)

    def to(self, device: torch.device | str) -> "RolloutBatch":
        """Returns the batch on a device, without waiting for the copies where it is a GPU."""
        to_gpu = torch.device(device).type != "cpu"
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return RolloutBatch(**{n: x.to(device, non_blocking=to_gpu) for n, x in values.items()})

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
        lengths = torch.tensor([len(rollout.token_ids) for rollout in rollouts])
        counts = torch.tensor([len(rollout.prompt_ends) for rollout in rollouts])
        length = int(lengths.max())
        names = [rollout.record.problem for rollout in rollouts]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return cls(
            token_ids=_pad([r.token_ids for r in rollouts], length, 0, torch.int64),
            token_mask=torch.arange(length) < lengths[:, None],
            sequence_ids=_pad([_sequence_ids(r) for r in rollouts], length, -1, torch.int64),
            turn_ids=_pad([r.turn_ids for r in rollouts], length, -1, torch.int64),
            behavior_logprobs=_pad([r.logprobs for r in rollouts], length, 0, torch.float32),
            prompt_ends=_pad([r.prompt_ends for r in rollouts], num_turns, 0, torch.int64),
            turn_mask=torch.arange(num_turns) < counts[:, None],
            rewards=_pad([r.rewards for r in rollouts], num_turns, 0, torch.float32),
            versions=_pad([r.policy_versions for r in rollouts], num_turns, 0, torch.int64),
            groups=torch.tensor([numbers[name] for name in names]),
            solved=torch.tensor([rollout.record.solved for rollout in rollouts]),
        )


def _sequence_ids(rollout: Rollout) -> NDArray[np.int64]:
    """(T,) the sequence of each token."""
    places = np.arange(len(rollout.token_ids))
    return np.searchsorted(rollout.sequence_starts, places, side="right") - 1


def _pad(rows: Sequence[Any], length: int, filler: int, dtype: torch.dtype) -> Tensor:
    """Puts sequences or arrays of numbers in the rows of a tensor, (len(rows), length)."""
    padded = torch.full((len(rows), length), filler, dtype=dtype)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.as_tensor(row, dtype=dtype)
    return padded
