"""How far the policy has moved: from the reference (a reward) and within an update (a diagnostic).

Shapes: B rollouts, U turns, L tokens.
"""

import torch
from torch import Tensor

from rlef.algorithms.masked import check_same_shape, keep, masked_mean, widen


@torch.no_grad()
def turn_kl_penalty(
    logprobs: Tensor, ref_logprobs: Tensor, turn_ids: Tensor, num_turns: int
) -> Tensor:
    """Mean over a turn's action tokens of ``logprob - ref_logprob`` (RLEF, section 2.2).

    A mean, because RLEF takes the geometric mean of the tokens' probabilities as the probability
    of a response, against a bias to short answers. The reward is ``r - beta *`` this; it is part
    of the reward, so no gradient goes through it.

    Args:
        logprobs: (B, L) under the policy.
        ref_logprobs: (B, L) under the frozen reference.
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere (logprobs there may
            be anything, NaN too).
        num_turns: U.

    Returns:
        (B, U), float32 or wider, in nats per token; 0 for turns without action tokens.

    Raises:
        ValueError: Shapes differ, or a turn id is not below ``num_turns``.
    """
    check_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs, turn_ids=turn_ids)
    if turn_ids.numel() and int(turn_ids.max()) >= num_turns:
        raise ValueError(
            f"turn_ids has turn {int(turn_ids.max())}, but num_turns is {num_turns}: "
            f"allowed are -1 to {num_turns - 1}"
        )
    is_action = turn_ids >= 0
    difference = keep(logprobs, is_action) - keep(ref_logprobs, is_action)
    # Not a scatter: its order of summation on a GPU changes from run to run.
    sums, counts = [], []
    for turn in range(num_turns):
        in_turn = turn_ids == turn
        sums.append(keep(difference, in_turn).sum(dim=1))
        counts.append(in_turn.sum(dim=1))
    if not sums:
        return difference.new_zeros((turn_ids.shape[0], 0))
    return torch.stack(sums, dim=1) / torch.stack(counts, dim=1).clamp(min=1)


@torch.no_grad()
def approx_kl(
    logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, denominator: Tensor | float | None = None
) -> Tensor:
    """Mean of ``r - 1 - log r`` with ``r = exp(logprob - old_logprob)``: KL(old || now).

    The estimator k3 of http://joschu.net/blog/kl-approx.html on tokens sampled by the old
    policy: never negative, low variance, exact in expectation.

    Args:
        logprobs: (B, L) under the policy as it is now.
        old_logprobs: (B, L) under the policy that it is compared with.
        mask: (B, L), True counts.
        denominator: As in ``masked_mean``.

    Returns:
        Scalar in nats per token, without gradient.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, mask=mask)
    log_ratio = widen(keep(logprobs, mask) - keep(old_logprobs, mask))
    return masked_mean(torch.expm1(log_ratio) - log_ratio, mask, denominator)
