"""What an update knew of a few rollouts before it learnt from them, for those who look at them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlef.algorithms.masked import keep, turn_counts, turn_sums
from rlef.learner.advantages import Scored, at_turn_starts
from rlef.rollout import RolloutBatch

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutScores:
    """Of one rollout of T tokens and U turns; ``None`` is what the method does not have.

    Attributes:
        values, returns: (U,), where a critic values tokens those of each turn's first one.
        advantages: (U,), the mean over a turn's tokens where these differ.
        kl: (U,) ``turn_kl_penalty`` in nats.
        policy_logprobs: (T,) before the update, 0 where a token was not sampled.
        ref_logprobs: (T,) of the reference, likewise.
    """

    values: Numbers | None
    returns: Numbers | None
    advantages: Numbers | None
    kl: Numbers | None
    policy_logprobs: Numbers
    ref_logprobs: Numbers | None


def first_scores(batch: RolloutBatch, scored: Scored, count: int) -> tuple[RolloutScores, ...]:
    """Returns what is known of the first rollouts of a batch.

    Args:
        batch: On the CPU.
        scored: Of all of it, likewise.
        count: How many at most.
    """
    count = min(count, len(batch))
    if not count:
        return ()
    rows = torch.arange(count)
    batch = batch.select(rows)
    scored = scored.select(rows, batch.token_ids.shape[1])
    columns = {
        "values": _of_turns(batch, scored, scored.old_values),
        "returns": _of_turns(batch, scored, scored.returns),
        "advantages": None if scored.advantages is None else _means(batch, scored.advantages),
        "kl": scored.penalty,
        "policy_logprobs": keep(scored.old_logprobs, batch.action_mask),
        "ref_logprobs": scored.ref_logprobs,
    }
    turns, tokens = batch.turn_mask.sum(1).tolist(), batch.lengths.tolist()
    found = []
    for row in range(count):
        ends = dict.fromkeys(("policy_logprobs", "ref_logprobs"), tokens[row])
        found.append(
            RolloutScores(
                **{
                    name: None
                    if column is None
                    else _array(column[row, : ends.get(name, turns[row])])
                    for name, column in columns.items()
                }  # type: ignore[arg-type]
            )
        )
    return tuple(found)


def _of_turns(batch: RolloutBatch, scored: Scored, found: Tensor | None) -> Tensor | None:
    is_of_tokens = found is not None and scored.values_per_token
    return at_turn_starts(found, batch) if is_of_tokens and found is not None else found


def _means(batch: RolloutBatch, of_tokens: Tensor) -> Tensor:
    """(B, U) means over action tokens; in float64, so that equal ones come out as they are."""
    turns = batch.turn_mask.shape[1]
    sums = turn_sums(of_tokens.double(), batch.turn_ids, turns)
    return sums / turn_counts(batch.turn_ids, turns).clamp(min=1)


def _array(values: Tensor) -> Numbers:
    return values.float().numpy().copy()
