"""How far the policy has moved: from the reference (a reward) and within an update (a diagnostic).

Shapes: B rollouts, U turns, L tokens.
"""

from typing import Literal

import torch
from torch import Tensor

from rlef.algorithms.masked import (
    check_same_shape,
    keep,
    masked_mean,
    turn_counts,
    turn_sums,
    widen,
)

MAX_LOG_RATIO = 20.0
"""Log ratios are cut here: exp would overflow, and 0 * inf is a NaN gradient."""


KLEstimator = Literal["k2", "k3"]


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
    is_action = turn_ids >= 0
    difference = keep(logprobs, is_action) - keep(ref_logprobs, is_action)
    sums = turn_sums(difference, turn_ids, num_turns)
    return sums / turn_counts(turn_ids, num_turns).clamp(min=1)


def kl_estimates(
    logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, estimator: KLEstimator
) -> Tensor:
    """Estimates of KL(policy || reference) from each token that the policy sampled, for a loss.

    With ``d = logprob - ref_logprob`` (http://joschu.net/blog/kl-approx.html):

    * k2 = d**2 / 2. Biased in value; its gradient is that of the KL divergence on fresh samples.
    * k3 = exp(-d) - 1 + d. Unbiased, never negative; GRPO's (arXiv 2402.03300, equation 4).

    d itself, unbiased as it is, would do nothing as a loss: the mean of its gradient, the score
    function's, is 0 on fresh samples.

    Args:
        logprobs: (B, L) under the policy now; the only input with a gradient.
        ref_logprobs: (B, L) under the frozen reference.
        mask: (B, L), True = counts; what stands elsewhere may be anything, NaN too.
        estimator: Which one.

    Returns:
        (B, L) in nats, float32 or wider, 0 where the mask is not True.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs, mask=mask)
    difference = keep(logprobs, mask) - keep(ref_logprobs.detach(), mask)
    if estimator == "k2":
        return difference.square() / 2
    log_ratio = -difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_ratio) - log_ratio


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
    capped = log_ratio.clamp(max=MAX_LOG_RATIO)
    return masked_mean(torch.expm1(capped) - capped, mask, denominator)
