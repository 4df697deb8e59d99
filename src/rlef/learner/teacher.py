"""Feedback as a teacher: distributions of a model that reads feedback as examples.

On-policy distillation (Agarwal et al., arXiv 2306.13649) from the reference behind a restated first
message to the policy in its dialogue: on answers that the policy sampled, the loss is the
cross-entropy of its next-token distribution to the teacher's.

Shapes: B rollouts, L tokens, M taught tokens, K tokens that are kept of each distribution.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlef.learner.ranks import Ranks
from rlef.rollout import RolloutBatch
from rlef.rollout.teacher import TeacherBatch

if TYPE_CHECKING:
    from rlef.learner.models import Policy, WithoutAdapters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TeacherTokens:
    """A teacher's next-token distributions at some of a batch's action tokens.

    Attributes:
        places: (B, L) int64, the row of ``ids`` and ``probs`` of a taught token, 0 elsewhere.
        ids: (1 + M, K) int32, the tokens that are kept of each distribution.
        probs: (1 + M, K) float32, they add up to 1; all 0 in row 0, which is of no token.
    """

    places: Tensor
    ids: Tensor
    probs: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, L) bool, True where a token is taught."""
        return self.places > 0

    @property
    def entropy(self) -> Tensor:
        """(B, L) float32 in nats of the distributions, 0 where there is none."""
        entropies: Tensor = -torch.special.xlogy(self.probs, self.probs).sum(1)
        return entropies[self.places]

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (N, K) int64 ids and float32 probabilities at (N,) places of flattened (B, L)."""
        rows = self.places.flatten().index_select(0, places)
        return self.ids.index_select(0, rows).long(), self.probs.index_select(0, rows)

    def select(self, rows: Tensor, length: int) -> "TeacherTokens":
        """Returns some rows and the first ``length`` tokens of each; on the CPU."""
        places = self.places[rows, :length]
        mask = places > 0
        kept = torch.cat([places.new_zeros(1), places[mask]])
        places = places.masked_scatter(mask, torch.arange(1, len(kept)))
        return TeacherTokens(places=places, ids=self.ids[kept], probs=self.probs[kept])

    def to(self, device: torch.device) -> "TeacherTokens":
        """Returns it on a device, without waiting for the copies."""
        found = (x.to(device, non_blocking=True) for x in (self.places, self.ids, self.probs))
        places, ids, probs = found
        return TeacherTokens(places=places, ids=ids, probs=probs)


def cross_entropy(logprobs: Tensor, probs: Tensor) -> Tensor:
    """Returns -sum of q log p, (N,), 0 where all q are 0.

    Args:
        logprobs: (N, K) float32, log p of the tokens that are kept of q.
        probs: (N, K) float32, q; where one is 0 its log p may be minus infinity.
    """
    return -torch.where(probs > 0, probs * logprobs, 0.0).sum(1)


@torch.no_grad()
def ask_teacher(
    teacher: "Policy | WithoutAdapters",
    batch: RolloutBatch,
    lessons: TeacherBatch,
    count: int,
    *,
    micro_batch_tokens: int,
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
) -> TeacherTokens:
    """Runs the teacher over its answers.

    Args:
        teacher: The reference.
        batch: On the CPU.
        lessons: Some of its answers, likewise.
        count: K.
        micro_batch_tokens: Of a pass.
        ranks: Over which micro-batches are dealt out; all get all of it.
        autocast: In which passes run.

    Raises:
        ValueError: They are not the batch's answers.
    """
    answers, mask = lessons.answers, lessons.taught(batch)
    sampled = answers.action_mask
    total = int(sampled.sum())
    numbers = torch.zeros(sampled.shape, dtype=torch.int64)
    numbers[sampled] = torch.arange(1, total + 1)
    groups = teacher.lay_out(answers).groups(micro_batch_tokens, ranks.size)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for places, counts in ranks.deal(groups):
        rows = torch.tensor(places)
        packed = teacher.lay_out(answers.select(rows)).to(teacher.device)
        with autocast():
            ids, probs = teacher.likeliest(packed, count)
        if counts:
            found.append((numbers[rows][sampled[rows]], ids.int(), probs))
    parts = ranks.join(found)
    count = parts[0][1].shape[1]
    ids = torch.zeros((1 + total, count), dtype=torch.int32)
    probs = torch.zeros((1 + total, count))
    for where, some_ids, some_probs in parts:
        ids[where], probs[where] = some_ids.cpu(), some_probs.cpu()
    places_of = torch.zeros(mask.shape, dtype=torch.int64)
    places_of[mask] = torch.arange(1, total + 1)
    return TeacherTokens(places=places_of, ids=ids, probs=probs)
