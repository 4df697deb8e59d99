"""Advantages without a critic: the baseline is what other samples got.

Shapes: B rollouts, U turns. The methods were made for one answer per prompt; here an episode of
several turns is the sample, and its turn limit stays as it is.
"""

import torch
from torch import Tensor

from rlef.algorithms.advantages import normalize_advantages, turn_level_advantages
from rlef.algorithms.masked import check_same_shape, keep, widen


@torch.no_grad()
def episode_returns(rewards: Tensor, turn_mask: Tensor, gamma: float = 1.0) -> Tensor:
    """Sum of an episode's rewards, each discounted by the number of turns before it.

    Args:
        rewards: (B, U), KL penalty already subtracted where it is part of the reward.
        turn_mask: (B, U), True = the turn exists; an episode's turns stand first.
        gamma: Discount per turn.

    Returns:
        (B,), float32 or wider.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(rewards=rewards, turn_mask=turn_mask)
    discounts = gamma ** torch.arange(rewards.shape[1], device=rewards.device)
    return (keep(rewards, turn_mask) * discounts).sum(1)


@torch.no_grad()
def grpo_advantages(
    returns: Tensor, groups: Tensor, scale: bool = True, eps: float = 1e-6
) -> Tensor:
    """Return less the mean of the group, over its standard deviation.

    GRPO with outcome supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.2). Without
    ``scale``, the division is left out as in Dr. GRPO (arXiv 2503.20783, section 3.2), which finds
    that it favours problems that are nearly always or nearly never solved.

    Args:
        returns: (B,) of episodes.
        groups: (B,) integers: samples of one problem share a number.
        scale: Divide by the group's (population) standard deviation.
        eps: Standard deviations up to ``eps * (1 + |mean|)`` are rounding noise, not signal.

    Returns:
        (B,), float32 or wider; every token of the episode gets it. 0 in groups of one, and in
        those whose returns are all equal.

    Raises:
        ValueError: Shapes differ.

    Example:
        >>> grpo_advantages(torch.tensor([1.0, -1.0, 1.0, 1.0]), torch.tensor([0, 0, 1, 1]))
        tensor([ 1., -1.,  0.,  0.])
    """
    check_same_shape(returns=returns, groups=groups)
    returns = widen(returns)
    same = (groups[:, None] == groups).to(returns.dtype)
    counts = same.sum(1)
    mean = same @ returns / counts
    centred = returns - mean
    std = (same @ centred.square() / counts).sqrt()
    has_signal = std > eps * (1 + mean.abs())
    scaled = centred / torch.where(has_signal, std, torch.ones_like(std)) if scale else centred
    return torch.where(has_signal, scaled, torch.zeros_like(scaled))


@torch.no_grad()
def rloo_advantages(returns: Tensor, groups: Tensor) -> Tensor:
    """Return less the mean return of the *other* samples of its problem.

    REINFORCE leave-one-out (arXiv 2402.14740, section 2.2): the baseline does not depend on the
    sample, so the gradient is unbiased.

    Args:
        returns: (B,) of episodes.
        groups: (B,) integers: samples of one problem share a number.

    Returns:
        (B,), float32 or wider; the advantages of a group add up to 0. 0 in groups of one, which
        have nothing to be compared with.

    Raises:
        ValueError: Shapes differ.

    Example:
        >>> rloo_advantages(torch.tensor([1.0, 0.0, 0.5]), torch.tensor([7, 7, 7]))
        tensor([ 0.7500, -0.7500,  0.0000])
    """
    check_same_shape(returns=returns, groups=groups)
    returns = widen(returns)
    same = (groups[:, None] == groups).to(returns.dtype)
    counts = same.sum(1)
    others = (same @ returns - returns) / (counts - 1).clamp(min=1)
    return torch.where(counts > 1, returns - others, torch.zeros_like(returns))


@torch.no_grad()
def reinforce_pp_advantages(
    rewards: Tensor,
    mask: Tensor,
    gamma: float = 1.0,
    weights: Tensor | None = None,
    *,
    kinds: Tensor | None = None,
) -> Tensor:
    """Reward to go, normalised over the whole batch.

    REINFORCE++ (arXiv 2501.03262, section 3): no critic and no groups, one sample per problem is
    enough; the KL penalty is part of the rewards.

    Args:
        rewards: (B, U) of turns or (B, L) of tokens, KL penalty already subtracted.
        mask: Same shape, True = the turn exists or the token was sampled.
        gamma: Discount per turn or per token.
        weights: As in ``normalize_advantages``.
        kinds: Likewise.

    Returns:
        Same shape, float32 or wider, 0 where the mask is not True.

    Raises:
        ValueError: Shapes differ, or are not two-dimensional.
    """
    to_go = turn_level_advantages(rewards, torch.zeros_like(rewards), mask, gamma).returns
    return normalize_advantages(to_go, mask, weights, kinds=kinds)
