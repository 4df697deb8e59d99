"""The losses: policy and value of RLEF's PPO, and supervised fine-tuning.

Shapes: B rollouts, U turns, L tokens. Every mask is True where an entry counts; what stands
elsewhere is never read, be it NaN. Every loss takes its denominator: give each micro-batch the
count of the whole batch, and their losses and gradients add up to those of the batch.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlef.algorithms.kl import MAX_LOG_RATIO, approx_kl
from rlef.algorithms.masked import (
    check_same_shape,
    keep,
    masked_mean,
    turn_counts,
    turn_sums,
    widen,
)

Importance = Literal["whole", "decoupled", "none"]
"""How rollouts of an older policy are corrected for; see ``ppo_policy_loss``."""


class PolicyLoss(NamedTuple):
    """The policy loss and what to log of it: scalars."""

    loss: Tensor
    """To be minimised; the only field with a gradient."""
    clipfrac: Tensor
    """Share of tokens whose clipped ratio lies outside [1 - clip, 1 + clip_high]."""
    approx_kl: Tensor
    """KL(old || now) in nats per token, estimator k3."""
    ratio: Tensor
    """Mean of the clipped ratio: of ``whole`` with the importance weight in it."""
    importance_weight: Tensor
    """Mean of the truncated importance weight: 1 on fresh rollouts, and where there is none."""


def ppo_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    behavior_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    clip: float = 0.2,
    denominator: Tensor | float | None = None,
    *,
    importance: Importance = "whole",
    cap: float = 2.0,
    dual_clip: float | None = None,
    clip_high: float | None = None,
) -> PolicyLoss:
    """Clipped surrogate with a truncated importance weight (RLEF, appendix A.1).

        loss = -mean(outer * min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A))

        whole (RLEF)   ratio = pi / pi_old * stop_grad(min(pi / pi_behavior, 1)),  outer = 1
        decoupled      ratio = pi / pi_old,      outer = min(pi_old / pi_behavior, cap)
        none           ratio = pi / pi_old,      outer = 1

    ``whole`` clips ratio and weight together, as the formula stands. So a token that the policy
    has made less likely than ``1 - clip`` times what the sampler gave it gets no gradient when
    its advantage is negative, even at pi = pi_old; when positive, it pulls with its reduced weight.
    Where old and behaviour policy are the same, the ratio is r for r >= 1 and r**2 below: the
    lower bound is reached at r = sqrt(1 - clip).

    ``decoupled`` (Hilton et al. 2021, arXiv 2110.00641, section 2; AReaL, arXiv 2505.24298,
    equation 5) clips against pi_old alone, which says how far a step may go, and corrects for the
    sampler by a constant factor: at pi = pi_old no token is clipped, however old. Where old and
    behaviour policy are the same it is plain PPO.

    With a negative advantage the minimum has no lower bound: a token that became much likelier
    within the update pulls with its whole ratio. ``dual_clip`` (Ye et al. 2020, arXiv 1912.09729,
    equation 5) takes max(min(...), dual_clip * A) there, so beyond that ratio there is no gradient.

    Args:
        logprobs: (B, L) of the tokens under the policy now; the only input with a gradient.
        old_logprobs: (B, L) at the start of the update.
        behavior_logprobs: (B, L) at sampling.
        advantages: (B, L), a turn's advantage at each of its tokens.
        loss_mask: (B, L), True = counts.
        clip: The paper's epsilon.
        denominator: What to divide sums by; by default the number of tokens that count.
        importance: Which of the three.
        cap: Where the weight of ``decoupled`` is truncated.
        dual_clip: Largest ratio that counts where the advantage is negative, more than
            ``1 + clip_high``; ``None``: no bound (RLEF).
        clip_high: Epsilon of the upper bound (DAPO, arXiv 2503.14476, equation 10); ``None``:
            ``clip``, as of the lower one.

    Returns:
        Scalars, float32 or wider.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(
        logprobs=logprobs,
        old_logprobs=old_logprobs,
        behavior_logprobs=behavior_logprobs,
        advantages=advantages,
        loss_mask=loss_mask,
    )
    bounds = _Bounds(clip, clip_high, denominator, importance, cap, dual_clip)
    loss, clipfrac, ratio, weight = _surrogate(
        logprobs, old_logprobs, behavior_logprobs, advantages, loss_mask, bounds
    )
    moved = approx_kl(logprobs.detach(), old_logprobs, loss_mask, denominator)
    return PolicyLoss(loss, clipfrac, moved, ratio, weight)


class _Bounds(NamedTuple):
    clip: float
    clip_high: float | None
    denominator: Tensor | float | None
    importance: Importance
    cap: float
    dual_clip: float | None
    weighs: bool = False
    """Whether the clipped ratio is a constant weight of the log-probability (CISPO)."""

    def clamp(self, ratio: Tensor) -> Tensor:
        return ratio.clamp(1 - self.clip, 1 + self.high)

    @property
    def high(self) -> float:
        return self.clip if self.clip_high is None else self.clip_high


def _surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    behavior_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    bounds: _Bounds,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, share of clipped ones, mean ratio and mean weight, of tokens or of turns."""
    logprobs = keep(logprobs, loss_mask)
    old_logprobs = keep(old_logprobs.detach(), loss_mask)
    behavior_logprobs = keep(behavior_logprobs.detach(), loss_mask)
    advantages = keep(advantages.detach(), loss_mask)

    ratio = (logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    weight = torch.ones_like(old_logprobs)
    if bounds.importance == "whole":
        weight = (logprobs.detach() - behavior_logprobs).clamp(max=0).exp()
        ratio = ratio * weight
    elif bounds.importance == "decoupled":
        weight = (old_logprobs - behavior_logprobs).clamp(max=math.log(bounds.cap)).exp()
        advantages = advantages * weight  # not negative, so it may as well stand outside the min
    if bounds.weighs:
        surrogate = bounds.clamp(ratio.detach()) * advantages * logprobs
    else:
        surrogate = torch.minimum(ratio * advantages, bounds.clamp(ratio) * advantages)
    if bounds.dual_clip is not None:
        bounded = torch.maximum(surrogate, bounds.dual_clip * advantages)
        surrogate = torch.where(advantages < 0, bounded, surrogate)

    ratio = ratio.detach()
    is_outside = (ratio - 1 > bounds.high) | (1 - ratio > bounds.clip)
    return (
        masked_mean(-surrogate, loss_mask, bounds.denominator),
        masked_mean(is_outside, loss_mask, bounds.denominator),
        masked_mean(ratio, loss_mask, bounds.denominator),
        masked_mean(weight, loss_mask, bounds.denominator),
    )


def cispo_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    behavior_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    clip: float = 0.2,
    denominator: Tensor | float | None = None,
    *,
    importance: Importance = "whole",
    cap: float = 2.0,
    clip_high: float | None = None,
) -> PolicyLoss:
    """Log-probabilities with a clipped weight: no token is without a gradient (CISPO).

        loss = -mean(outer * stop_grad(clamp(ratio, 1 - clip, 1 + clip_high)) * A * log pi)

    MiniMax-M1 (arXiv 2506.13585, equations 4 and 5), which has no lower bound (``clip`` 1) and
    where old and behaviour policy are the same; ratio and outer are those of ``ppo_policy_loss``.
    The loss itself says nothing, its gradient is what counts.

    Args:
        logprobs: As of ``ppo_policy_loss``, like all others.
        old_logprobs: Likewise.
        behavior_logprobs: Likewise.
        advantages: Likewise.
        loss_mask: Likewise.
        clip: The lower bound is 1 less this.
        denominator: What to divide sums by; by default the number of tokens that count.
        importance: As in ``ppo_policy_loss``.
        cap: Likewise.
        clip_high: The upper bound is 1 and this; ``None``: ``clip``.

    Returns:
        Scalars, float32 or wider.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages)
    check_same_shape(logprobs=logprobs, behavior_logprobs=behavior_logprobs, loss_mask=loss_mask)
    bounds = _Bounds(clip, clip_high, denominator, importance, cap, None, weighs=True)
    loss, clipfrac, ratio, weight = _surrogate(
        logprobs, old_logprobs, behavior_logprobs, advantages, loss_mask, bounds
    )
    moved = approx_kl(logprobs.detach(), old_logprobs, loss_mask, denominator)
    return PolicyLoss(loss, clipfrac, moved, ratio, weight)


def turn_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    behavior_logprobs: Tensor,
    advantages: Tensor,
    turn_ids: Tensor,
    turn_mask: Tensor,
    clip: float = 0.2,
    denominator: Tensor | float | None = None,
    *,
    importance: Importance = "whole",
    cap: float = 2.0,
    dual_clip: float | None = None,
    clip_high: float | None = None,
    tokens: Tensor | float | None = None,
    mean: bool = False,
) -> PolicyLoss:
    """Clipped surrogate of whole turns: the response is the action.

        pi(turn) = product of pi over the turn's tokens, or with ``mean`` its geometric mean

    RLEF, section 2.2, writes the policy as pi(a_t | c_t) of a response a_t and optimises tokens;
    this is the formula of appendix A.1 with that ratio. With ``mean`` it is that of GSPO (arXiv
    2507.18071, equations 5 and 7), with a turn in place of its whole response: a token's gradient
    is divided by its turn's tokens, and ratios of turns stay as near to 1 as the mean token's does,
    so bounds are narrower (3e-4 and 4e-4 there). The sum of log ratios is cut at
    ``MAX_LOG_RATIO``, where it is long clipped. With one token per turn it is ``ppo_policy_loss``.

    Args:
        logprobs: (B, L) of the tokens under the policy now; the only input with a gradient.
        old_logprobs: (B, L) at the start of the update.
        behavior_logprobs: (B, L) at sampling.
        advantages: (B, U).
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere.
        turn_mask: (B, U), True = counts.
        clip: The paper's epsilon, for the ratio of a turn.
        denominator: What to divide sums by; by default the number of turns that count.
        importance: As in ``ppo_policy_loss``.
        cap: Likewise.
        dual_clip: Likewise.
        clip_high: Likewise.
        tokens: Denominator of ``approx_kl``; by default the number of action tokens.
        mean: Take the geometric mean over a turn's tokens.

    Returns:
        Scalars, float32 or wider; means are over turns, ``approx_kl`` over tokens.

    Raises:
        ValueError: Shapes differ, or a turn id is not below U.
    """
    check_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, turn_ids=turn_ids)
    check_same_shape(logprobs=logprobs, behavior_logprobs=behavior_logprobs)
    check_same_shape(advantages=advantages, turn_mask=turn_mask)
    is_action, old, turns = turn_ids >= 0, old_logprobs.detach(), turn_mask.shape[1]

    def log_ratio_to_old(of: Tensor) -> Tensor:
        difference = keep(of, is_action) - keep(old, is_action)
        sums = turn_sums(difference, turn_ids, turns)
        return sums / turn_counts(turn_ids, turns).clamp(min=1) if mean else sums

    now = log_ratio_to_old(logprobs)
    behavior = log_ratio_to_old(behavior_logprobs.detach())
    # A turn is one action here, so the loss of tokens applies to turns as it stands.
    loss, clipfrac, ratio, weight = _surrogate(
        now,
        torch.zeros_like(now),
        behavior,
        advantages,
        turn_mask,
        _Bounds(clip, clip_high, denominator, importance, cap, dual_clip),
    )
    moved = approx_kl(logprobs.detach(), old, is_action, tokens)
    return PolicyLoss(loss, clipfrac, moved, ratio, weight)


def turn_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    turn_mask: Tensor,
    clip: float | None = 0.2,
    denominator: Tensor | float | None = None,
) -> Tensor:
    """Clipped value loss on the reward to go (RLEF, appendix A.1).

        mean(1/2 * max((V - R)**2, (clamp(V, V_old - clip, V_old + clip) - R)**2))

    Args:
        values: (B, U) of the value network now; the only input with a gradient.
        old_values: (B, U) at the start of the update.
        returns: (B, U), rewards to go, KL penalty subtracted.
        turn_mask: (B, U), True = the turn exists. (A token-level critic gives (B, L) and the
            action mask.)
        clip: The paper's alpha; ``None``: the mean of 1/2 * (V - R)**2.
        denominator: What to divide the sum by; by default the number of turns that exist.

    Returns:
        Scalar, float32 or wider.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(values=values, old_values=old_values, returns=returns, turn_mask=turn_mask)
    values = keep(values, turn_mask)
    old_values = keep(old_values.detach(), turn_mask)
    returns = keep(returns.detach(), turn_mask)
    errors = (values - returns).square()
    if clip is not None:
        clipped = torch.clamp(values, old_values - clip, old_values + clip)
        errors = torch.maximum(errors, (clipped - returns).square())
    return masked_mean(0.5 * errors, turn_mask, denominator)


def sft_loss(
    logprobs: Tensor, loss_mask: Tensor, denominator: Tensor | float | None = None
) -> Tensor:
    """Mean negative log-probability of the tokens that count.

    Args:
        logprobs: (B, L) of the tokens under the policy.
        loss_mask: (B, L), True = counts.
        denominator: What to divide the sum by; by default the number of tokens that count.

    Returns:
        Scalar in nats per token, float32 or wider.

    Raises:
        ValueError: Shapes differ.
    """
    return -masked_mean(logprobs, loss_mask, denominator)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy of the next-token distributions.

    Args:
        logits: (..., V) over a vocabulary of V.

    Returns:
        (...) in nats, float32 or wider.
    """
    logprobs = torch.log_softmax(widen(logits), dim=-1)
    # -inf logits (tokens ruled out) have p log p = 0, which 0 * -inf would not give.
    terms = torch.where(logprobs == -torch.inf, torch.zeros_like(logprobs), logprobs)
    return -(logprobs.exp() * terms).sum(dim=-1)
