"""The losses: policy and value of RLEF's PPO, and supervised fine-tuning.

Shapes: B rollouts, U turns, L tokens. Every mask is True where an entry counts; what stands
elsewhere is never read, be it NaN. Every loss takes its denominator: give each micro-batch the
count of the whole batch, and their losses and gradients add up to those of the batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rlef.algorithms.kl import MAX_LOG_RATIO, approx_kl
from rlef.algorithms.masked import check_same_shape, keep, masked_mean, turn_sums, widen


class PolicyLoss(NamedTuple):
    """The policy loss and what to log of it: scalars, all over the same denominator."""

    loss: Tensor
    """To be minimised; the only field with a gradient."""
    clipfrac: Tensor
    """Share of tokens whose ratio lies outside [1 - clip, 1 + clip]."""
    approx_kl: Tensor
    """KL(old || now) in nats per token, estimator k3."""
    ratio: Tensor
    """Mean of the ratio, importance weight included."""
    importance_weight: Tensor
    """Mean of min(pi / pi_behavior, 1): 1 on fresh rollouts, less the staler they are."""


def ppo_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    behavior_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    clip: float = 0.2,
    denominator: Tensor | float | None = None,
    importance_weights: Tensor | None = None,
) -> PolicyLoss:
    """Clipped surrogate with a truncated importance weight (RLEF, appendix A.1).

        ratio = pi / pi_old * stop_grad(min(pi / pi_behavior, 1))
        loss  = -mean(min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A))

    What is clipped is the whole ratio, weight included, as the formula stands. So a token that
    the policy has made less likely than ``1 - clip`` times what the sampler gave it gets no
    gradient when its advantage is negative, even at pi = pi_old; when positive, it pulls with its
    reduced weight. The weight is truncated at 1, so it never enlarges a ratio. Where old and
    behaviour policy are the same, the ratio is r for r >= 1 and r**2 below: the lower bound is
    reached at r = sqrt(1 - clip).

    Args:
        logprobs: (B, L) of the tokens under the policy now; the only input with a gradient.
        old_logprobs: (B, L) at the start of the update.
        behavior_logprobs: (B, L) at sampling.
        advantages: (B, L), a turn's advantage at each of its tokens.
        loss_mask: (B, L), True = counts.
        clip: The paper's epsilon.
        denominator: What to divide sums by; by default the number of tokens that count.
        importance_weights: (B, L) to use in place of ``min(pi / pi_behavior, 1)`` of each token,
            such as those of ``turn_importance_weights``, or ones for no correction.

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
    logprobs = keep(logprobs, loss_mask)
    old_logprobs = keep(old_logprobs.detach(), loss_mask)
    behavior_logprobs = keep(behavior_logprobs.detach(), loss_mask)
    advantages = keep(advantages.detach(), loss_mask)

    if importance_weights is None:
        weight = (logprobs.detach() - behavior_logprobs).clamp(max=0).exp()
    else:
        check_same_shape(logprobs=logprobs, importance_weights=importance_weights)
        weight = keep(importance_weights.detach(), loss_mask)
    ratio = (logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() * weight
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)

    ratio = ratio.detach()
    return PolicyLoss(
        loss=masked_mean(-surrogate, loss_mask, denominator),
        clipfrac=masked_mean((ratio - 1).abs() > clip, loss_mask, denominator),
        approx_kl=approx_kl(logprobs, old_logprobs, loss_mask, denominator),
        ratio=masked_mean(ratio, loss_mask, denominator),
        importance_weight=masked_mean(weight, loss_mask, denominator),
    )


@torch.no_grad()
def turn_importance_weights(
    logprobs: Tensor, behavior_logprobs: Tensor, turn_ids: Tensor, num_turns: int
) -> Tensor:
    """``min(pi / pi_behavior, 1)`` of whole turns, pi(turn) being the product over its tokens.

    The truncated importance sampling of RLEF, appendix A.1, with the response as the action: the
    right weight for what follows from a response as a whole, of more variance than that of tokens.

    Args:
        logprobs: (B, L) under the policy now.
        behavior_logprobs: (B, L) at sampling.
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere.
        num_turns: U.

    Returns:
        (B, U) in [0, 1], float32 or wider; 1 for turns without action tokens.

    Raises:
        ValueError: Shapes differ, or a turn id is not below ``num_turns``.
    """
    check_same_shape(logprobs=logprobs, behavior_logprobs=behavior_logprobs, turn_ids=turn_ids)
    is_action = turn_ids >= 0
    log_ratio = keep(logprobs, is_action) - keep(behavior_logprobs, is_action)
    return turn_sums(log_ratio, turn_ids, num_turns).clamp(max=0).exp()


def turn_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    turn_ids: Tensor,
    turn_mask: Tensor,
    clip: float = 0.2,
    denominator: Tensor | float | None = None,
    importance_weights: Tensor | None = None,
) -> PolicyLoss:
    """Clipped surrogate whose ratio is that of whole turns: the response is the action.

        ratio_t = product over turn t's tokens of pi / pi_old, times its importance weight
        loss    = -mean over turns of min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)

    RLEF, section 2.2, writes the policy as pi(a_t | c_t) of a response a_t and optimises tokens;
    this is the formula of appendix A.1 with that ratio (GSPO, arXiv 2507.18071, takes the product's
    geometric mean). The sum of log ratios is cut at ``MAX_LOG_RATIO``, where it is long clipped.
    With one token per turn it is ``ppo_policy_loss``.

    Args:
        logprobs: (B, L) of the tokens under the policy now; the only input with a gradient.
        old_logprobs: (B, L) at the start of the update.
        advantages: (B, U).
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere.
        turn_mask: (B, U), True = counts.
        clip: The paper's epsilon, for the ratio of a turn.
        denominator: What to divide sums by; by default the number of turns that count.
        importance_weights: (B, U), by default 1.

    Returns:
        Scalars, float32 or wider; means are over turns, ``approx_kl`` is in nats per turn.

    Raises:
        ValueError: Shapes differ, or a turn id is not below U.
    """
    check_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, turn_ids=turn_ids)
    check_same_shape(advantages=advantages, turn_mask=turn_mask)
    is_action = turn_ids >= 0
    difference = keep(logprobs, is_action) - keep(old_logprobs.detach(), is_action)
    turn_logratio = turn_sums(difference, turn_ids, turn_mask.shape[1])
    none = torch.zeros_like(turn_logratio)
    # A turn is one action here, so the loss of tokens applies to turns as it stands.
    return ppo_policy_loss(
        turn_logratio,
        none,
        none,
        advantages,
        turn_mask,
        clip,
        denominator,
        torch.ones_like(none) if importance_weights is None else importance_weights,
    )


def turn_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    turn_mask: Tensor,
    clip: float = 0.2,
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
        clip: The paper's alpha.
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
    clipped = torch.clamp(values, old_values - clip, old_values + clip)
    errors = torch.maximum((values - returns).square(), (clipped - returns).square())
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
