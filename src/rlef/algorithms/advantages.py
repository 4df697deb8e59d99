"""Advantages and returns with a critic, per turn (RLEF) or per token (the ablation).

Shapes: B rollouts, U turns, L tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rlef.algorithms.masked import check_same_shape, keep


class Advantages(NamedTuple):
    """Advantages and returns, both of the shape that went in, 0 where the mask is not True."""

    advantages: Tensor
    returns: Tensor
    """What the value is trained towards: advantage + value, the reward to go where lambda is 1."""


def turn_level_advantages(
    rewards: Tensor, values: Tensor, turn_mask: Tensor, gamma: float = 1.0, lam: float = 1.0
) -> Advantages:
    """Advantage and return of each turn; gamma and lambda count turns (RLEF, appendix A.1).

    With gamma and lambda 1: advantage = -V(c_t) + the rewards from turn t on.

    Args:
        rewards: (B, U), KL penalty already subtracted.
        values: (B, U), V(c_t), read at the last token of turn t's prompt.
        turn_mask: (B, U), True = the turn exists. Other turns are skipped, wherever they stand;
            their rewards and values may be anything, NaN too.
        gamma: Discount per turn.
        lam: Lambda of generalised advantage estimation (Schulman et al. 2016, equation 16).

    Returns:
        (advantages, returns), (B, U) each, float32 or wider, without gradient.

    Raises:
        ValueError: Shapes differ, or are not two-dimensional.

    Example:
        >>> rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.3, 0.6]])
        >>> turn_level_advantages(rewards, values, torch.tensor([[True, True]])).advantages
        tensor([[0.7000, 0.4000]])
    """
    check_same_shape(rewards=rewards, values=values, turn_mask=turn_mask)
    return _generalised_advantages(rewards, values, turn_mask, gamma, lam)


def token_level_gae(
    rewards: Tensor, values: Tensor, action_mask: Tensor, gamma: float = 1.0, lam: float = 1.0
) -> Advantages:
    """Advantage and return of each action token; gamma and lambda count action tokens.

    Prompts and feedback are no actions of the policy: the token after the last one of a turn is
    the first one of the next turn.

    Args:
        rewards: (B, L); a turn's reward stands at its last action token.
        values: (B, L); ``values[:, t]`` is read before token t.
        action_mask: (B, L), True = sampled token. Rewards and values elsewhere are not read.
        gamma: Discount per action token.
        lam: Lambda of generalised advantage estimation (Schulman et al. 2016, equation 16).

    Returns:
        (advantages, returns), (B, L) each, float32 or wider, without gradient.

    Raises:
        ValueError: Shapes differ, or are not two-dimensional.
    """
    check_same_shape(rewards=rewards, values=values, action_mask=action_mask)
    return _generalised_advantages(rewards, values, action_mask, gamma, lam)


def turns_to_tokens(per_turn: Tensor, turn_ids: Tensor) -> Tensor:
    """Give every action token the number of its turn.

    Args:
        per_turn: (B, U), for example turn-level advantages.
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere.

    Returns:
        (B, L) of ``per_turn``'s dtype, 0 where ``turn_ids`` is -1.
    """
    spread = per_turn.gather(1, turn_ids.clamp(min=0))
    return torch.where(turn_ids >= 0, spread, torch.zeros_like(spread))


@torch.no_grad()
def rewards_to_tokens(rewards: Tensor, turn_ids: Tensor) -> Tensor:
    """Put each turn's reward at its last action token, as ``token_level_gae`` takes them.

    Args:
        rewards: (B, U).
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere; the action tokens of
            a turn stand side by side.

    Returns:
        (B, L) of ``rewards``' dtype, 0 elsewhere.
    """
    following = torch.nn.functional.pad(turn_ids[:, 1:], (0, 1), value=-1)
    spread = turns_to_tokens(rewards, turn_ids)
    return torch.where(turn_ids != following, spread, torch.zeros_like(spread))


@torch.no_grad()
def normalize_advantages(
    advantages: Tensor,
    turn_mask: Tensor,
    weights: Tensor | None = None,
    eps: float = 1e-6,
    *,
    kinds: Tensor | None = None,
) -> Tensor:
    """Whiten over the batch: mean 0 and (population) standard deviation 1 over existing turns.

    The paper leaves open over what. Over turns, each decision counts once however long its
    answer. A loss that averages over tokens sees a turn's advantage once per token, so its mean
    there is not 0 when lengths and advantages go together; for that give the turns' numbers of
    action tokens as weights, which equals whitening the spread-out advantages over tokens.

    Args:
        advantages: (B, U) (or (B, L), one per token, with the action mask).
        turn_mask: Same shape, True = the turn exists.
        weights: Same shape, not negative: how often a turn counts; by default once.
        eps: Standard deviations up to ``eps * (1 + |mean|)`` are rounding noise, not signal.
        kinds: Same shape, integers: turns of each kind are whitened among themselves, the index of
            the turn for instance; ``None``: all together.

    Returns:
        Same shape, float32 or wider, 0 where the mask is not True; all 0 where there is nothing
        to compare: no turn, one turn, or equal advantages.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(advantages=advantages, turn_mask=turn_mask)
    if kinds is not None:
        check_same_shape(advantages=advantages, kinds=kinds)
        found = torch.zeros_like(keep(advantages, turn_mask))
        for kind in torch.unique(kinds[turn_mask.bool()]).tolist():
            here = turn_mask.bool() & (kinds == kind)
            found = found + normalize_advantages(advantages, here, weights, eps)
        return found
    kept = keep(advantages, turn_mask)
    if weights is None:
        weights = torch.ones_like(kept)
    check_same_shape(advantages=advantages, weights=weights)
    weights = keep(weights, turn_mask)
    total = weights.sum()
    total = torch.where(total > 0, total, torch.ones_like(total))
    mean = (weights * kept).sum() / total
    centred = keep(kept - mean, turn_mask)
    std = ((weights * centred.square()).sum() / total).sqrt()
    has_signal = std > eps * (1 + mean.abs())
    safe_std = torch.where(has_signal, std, torch.ones_like(std))
    return torch.where(has_signal, centred / safe_std, torch.zeros_like(centred))


@torch.no_grad()
def _generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> Advantages:
    """GAE along the second axis over the entries that the mask keeps."""
    if rewards.ndim != 2:
        raise ValueError(f"rewards must be two-dimensional, not of shape {tuple(rewards.shape)}")
    mask = mask.bool()
    rewards, values = keep(rewards, mask), keep(values, mask)
    advantages = torch.zeros_like(rewards + values)
    next_advantage = advantages.new_zeros(len(advantages))
    next_value = torch.zeros_like(next_advantage)
    for t in reversed(mask.any(dim=0).nonzero().flatten().tolist()):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        advantages[:, t] = torch.where(here, advantage, advantages[:, t])
        next_advantage = torch.where(here, advantage, next_advantage)
        next_value = torch.where(here, values[:, t], next_value)
    return Advantages(advantages, keep(advantages + values, mask))
