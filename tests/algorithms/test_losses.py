import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlef.algorithms import (
    Importance,
    cispo_policy_loss,
    ppo_policy_loss,
    sft_loss,
    token_entropy,
    turn_policy_loss,
    turn_value_loss,
)

NAN = math.nan


def policy_loss_of_one(ratio: float, staleness: float, advantage: float) -> tuple[float, float]:
    """Loss and gradient on one token with pi / pi_old and pi / pi_behavior given."""
    now = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    old = now.detach() - math.log(ratio)
    behavior = now.detach() - math.log(staleness)
    mask = torch.tensor([[True]])
    loss = ppo_policy_loss(now, old, behavior, torch.tensor([[advantage]]), mask).loss
    loss.backward()
    assert now.grad is not None
    return loss.item(), now.grad.item()


@pytest.mark.parametrize(
    ("ratio", "staleness", "advantage", "loss", "gradient"),
    [
        (1.0, 1.0, 2.0, -2.0, -2.0),  # fresh, at the start of the update: plain policy gradient
        (1.1, 1.0, 1.0, -1.1, -1.1),  # within the clip
        (1.5, 1.0, 1.0, -1.2, 0.0),  # good token, already far up
        (1.5, 1.0, -1.0, 1.5, 1.5),  # bad token gone up: always pushed back
        (0.5, 1.0, -1.0, 0.8, 0.0),  # bad token, already far down
        (0.5, 1.0, 1.0, -0.5, -0.5),  # good token gone down: always pulled back
        (1.0, 3.0, 1.0, -1.0, -1.0),  # the weight is truncated at 1
        (1.0, 0.9, 1.0, -0.9, -0.9),  # the weight scales the gradient
        (1.0, 0.5, 1.0, -0.5, -0.5),  # below the clip and good: no clipping, half the weight
        (1.0, 0.5, -1.0, 0.8, 0.0),  # below the clip and bad: weight alone clips it
        (2.0, 0.5, -1.0, 1.0, 1.0),  # ratio and weight together within the clip
    ],
)
def test_policy_loss_by_hand(
    ratio: float, staleness: float, advantage: float, loss: float, gradient: float
) -> None:
    assert policy_loss_of_one(ratio, staleness, advantage) == pytest.approx((loss, gradient))


def test_policy_statistics_by_hand() -> None:
    now = torch.zeros(1, 4, dtype=torch.float64)
    old = -torch.tensor([[1.5, 1.0, 0.5, 1.0]], dtype=torch.float64).log()
    behavior = -torch.tensor([[1.5, 0.5, 1.0, 1.0]], dtype=torch.float64).log()
    mask = torch.tensor([[True, True, True, False]])
    stats = ppo_policy_loss(now, old, behavior, torch.ones(1, 4), mask)
    # ratios 1.5, 0.5, 0.5
    assert stats.loss.item() == pytest.approx(-(1.2 + 0.5 + 0.5) / 3)
    assert stats.clipfrac.item() == 1.0
    assert stats.ratio.item() == pytest.approx(2.5 / 3)
    assert stats.importance_weight.item() == pytest.approx(2.5 / 3)
    k3 = (1.5 - 1 - math.log(1.5)) + (0.5 - 1 - math.log(0.5))
    assert stats.approx_kl.item() == pytest.approx(k3 / 3)
    assert not any(stat.requires_grad for stat in stats[1:])


def slow_policy_loss(rows: list[tuple[float, float, float, float]], clip: float) -> float:
    total = 0.0
    for now, old, behavior, advantage in rows:
        ratio = math.exp(now - old) * min(math.exp(now - behavior), 1.0)
        clipped = min(max(ratio, 1 - clip), 1 + clip)
        total -= min(ratio * advantage, clipped * advantage)
    return total / len(rows)


logprob = st.floats(-5, 0)
policy_rows = st.lists(
    st.tuples(logprob, logprob, logprob, st.floats(-3, 3)), min_size=1, max_size=9
)


@given(policy_rows, st.floats(0.05, 0.5))
def test_policy_loss_against_loop(
    rows: list[tuple[float, float, float, float]], clip: float
) -> None:
    columns = torch.tensor(rows, dtype=torch.float64).T[:, None]
    loss = ppo_policy_loss(*columns, torch.ones(1, len(rows)).bool(), clip=clip).loss
    assert loss.item() == pytest.approx(slow_policy_loss(rows, clip))


def policy_batch(seed: int = 0, batch: int = 6, tokens: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(batch, tokens, generator=generator, dtype=torch.float64)

    now = -1 + 0.3 * normal()
    mask = torch.rand(batch, tokens, generator=generator) < 0.6
    return now, now + 0.2 * normal(), now + 0.2 * normal(), normal(), mask


def test_policy_gradient_against_finite_differences_of_the_loop() -> None:
    now, old, behavior, advantages, mask = policy_batch(seed=3)
    now.requires_grad_()
    ppo_policy_loss(now, old, behavior, advantages, mask).loss.backward()
    assert now.grad is not None
    assert (now.grad[~mask] == 0).all()
    weight = (now.detach() - behavior).exp().clamp(max=1)  # stop_grad: a constant factor
    eps, count = 1e-6, int(mask.sum())
    for b, t in mask.nonzero().tolist():

        def surrogate(logprob: float, b: int = b, t: int = t) -> float:
            ratio = math.exp(logprob - old[b, t].item()) * weight[b, t].item()
            advantage = advantages[b, t].item()
            return min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)

        x = now[b, t].item()
        slope = -(surrogate(x + eps) - surrogate(x - eps)) / (2 * eps) / count
        assert now.grad[b, t].item() == pytest.approx(slope, abs=1e-6)


def test_no_gradient_into_anything_but_logprobs() -> None:
    *inputs, mask = policy_batch()
    inputs = [x.requires_grad_() for x in inputs]
    ppo_policy_loss(*inputs, mask).loss.backward()
    assert [x.grad is not None for x in inputs] == [True, False, False, False]
    turns = [torch.rand(2, 3, requires_grad=True) for _ in range(3)]
    turn_value_loss(*turns, torch.ones(2, 3).bool()).backward()
    assert [x.grad is not None for x in turns] == [True, False, False]


def value_batch() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    values, old, returns = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    return values, old, returns, torch.rand(6, 4, generator=generator) < 0.6


def sft_batch() -> tuple[Tensor, ...]:
    now, *_, mask = policy_batch(seed=2)
    return now, mask


def policy_scalar(*args: Tensor, denominator: Tensor | None = None) -> Tensor:
    return ppo_policy_loss(*args, denominator=denominator).loss


LOSSES = pytest.mark.parametrize(
    ("loss_function", "batch"),
    [
        (policy_scalar, policy_batch()),
        (turn_value_loss, value_batch()),
        (sft_loss, sft_batch()),
    ],
    ids=["policy", "value", "sft"],
)


def loss_and_gradient(
    loss_function: Callable[..., Tensor], batch: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    leaf = batch[0].clone().requires_grad_()
    loss = loss_function(leaf, *batch[1:])
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


@LOSSES
def test_gradcheck(loss_function: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> None:
    leaf = batch[0].clone().requires_grad_()
    rest = batch[1:]
    if loss_function is policy_scalar:
        # The weight is constant to autograd and not to finite differences: truncate it away.
        rest = (rest[0], torch.full_like(rest[1], -9.0), *rest[2:])
    assert torch.autograd.gradcheck(lambda x: loss_function(x, *rest), leaf)


@LOSSES
def test_nan_outside_the_mask_changes_nothing(
    loss_function: Callable[..., Tensor], batch: tuple[Tensor, ...]
) -> None:
    *inputs, mask = batch
    loss, gradient = loss_and_gradient(loss_function, batch)
    for junk in (NAN, math.inf, -math.inf, 1e30):
        spoiled = (*(torch.where(mask, x, junk) for x in inputs), mask)
        spoiled_loss, spoiled_gradient = loss_and_gradient(loss_function, spoiled)
        assert torch.equal(spoiled_loss, loss)
        assert torch.equal(spoiled_gradient, gradient)


@LOSSES
@given(cuts=st.sets(st.integers(1, 5)))
def test_micro_batches_add_up_to_the_batch(
    loss_function: Callable[..., Tensor], batch: tuple[Tensor, ...], cuts: set[int]
) -> None:
    loss, gradient = loss_and_gradient(loss_function, batch)
    total = batch[-1].sum()
    leaf = batch[0].clone().requires_grad_()
    edges = [0, *sorted(cuts), len(leaf)]
    losses = []
    for start, stop in pairwise(edges):
        rest = [x[start:stop] for x in batch[1:]]
        part = loss_function(leaf[start:stop], *rest, denominator=total)
        part.backward()
        losses.append(part.item())
    assert sum(losses) == pytest.approx(loss.item())
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, gradient)


def test_policy_statistics_of_micro_batches_add_up() -> None:
    batch = policy_batch()
    total = batch[-1].sum()
    whole = torch.stack(ppo_policy_loss(*batch))
    halves = [
        torch.stack(ppo_policy_loss(*(x[part] for x in batch), denominator=total))
        for part in (slice(0, 2), slice(2, 6))
    ]
    torch.testing.assert_close(sum(halves), whole)


@LOSSES
def test_empty_mask_gives_zero_loss_and_gradient(
    loss_function: Callable[..., Tensor], batch: tuple[Tensor, ...]
) -> None:
    *inputs, mask = batch
    spoiled = (*(torch.full_like(x, NAN) for x in inputs), torch.zeros_like(mask))
    loss, gradient = loss_and_gradient(loss_function, spoiled)
    assert loss.item() == 0.0
    assert gradient.abs().max().item() == 0.0


@LOSSES
def test_half_precision_is_computed_in_float32(
    loss_function: Callable[..., Tensor], batch: tuple[Tensor, ...]
) -> None:
    *inputs, mask = batch
    assert loss_function(*(x.bfloat16() for x in inputs), mask).dtype is torch.float32


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_extreme_ratios_give_finite_gradients(advantage: float) -> None:
    now = torch.tensor([[0.0, -500.0]], requires_grad=True)
    old = torch.tensor([[-500.0, 0.0]])
    advantages = torch.full((1, 2), advantage)
    stats = ppo_policy_loss(now, old, old, advantages, torch.ones(1, 2).bool())
    stats.loss.backward()
    assert now.grad is not None
    assert torch.isfinite(now.grad).all()
    assert torch.isfinite(stats.loss)


@pytest.mark.parametrize(
    ("value", "old", "target", "expected", "gradient"),
    [
        (0.5, 0.5, 1.0, 0.125, -0.5),  # unmoved: the plain squared error
        (0.9, 0.5, 1.0, 0.045, 0.0),  # moved right, but by more than 0.2: 1/2 (0.7 - 1)^2
        (0.0, 0.5, 1.0, 0.5, -1.0),  # moved wrongly: the larger, plain error
        (0.6, 0.5, 1.0, 0.08, -0.4),  # within the clip
    ],
)
def test_value_loss_by_hand(
    value: float, old: float, target: float, expected: float, gradient: float
) -> None:
    batch = (*(torch.tensor([[x]]) for x in (value, old, target)), torch.tensor([[True]]))
    loss, slope = loss_and_gradient(turn_value_loss, batch)
    assert (loss.item(), slope.item()) == pytest.approx((expected, gradient), abs=1e-7)


def test_value_loss_without_a_clip_by_hand() -> None:
    batch = tuple(torch.tensor([x]) for x in ([0.9, 0.0], [0.5, 0.5], [1.0, 1.0]))
    values = batch[0].requires_grad_()
    loss = turn_value_loss(*batch, torch.tensor([[True, True]]), clip=None)
    loss.backward()
    assert loss.item() == pytest.approx((0.01 + 1.0) / 4)
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([[-0.05, -0.5]]))


def test_value_loss_against_loop() -> None:
    values, old, returns, mask = value_batch()
    errors = []
    for b, u in mask.nonzero().tolist():
        v, v_old, r = (x[b, u].item() for x in (values, old, returns))
        clipped = min(max(v, v_old - 0.2), v_old + 0.2)
        errors.append(max((v - r) ** 2, (clipped - r) ** 2) / 2)
    loss = turn_value_loss(values, old, returns, mask)
    assert loss.item() == pytest.approx(sum(errors) / len(errors))


def test_sft_loss_by_hand() -> None:
    logprobs = torch.tensor([[-1.0, -3.0, NAN]])
    assert sft_loss(logprobs, torch.tensor([[True, True, False]])).item() == 2.0


@pytest.mark.parametrize("function", [ppo_policy_loss, turn_value_loss])
def test_refuses_shapes_that_would_broadcast(function: Callable[..., object]) -> None:
    count = 3 if function is turn_value_loss else 4
    inputs = [torch.zeros(2, 3) for _ in range(count - 1)] + [torch.zeros(2, 1)]
    with pytest.raises(ValueError, match=r"has shape \(2, 1\)"):
        function(*inputs, torch.ones(2, 3).bool())


def test_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -math.inf, -math.inf]])
    torch.testing.assert_close(token_entropy(logits), torch.tensor([math.log(4), math.log(2)]))
    assert token_entropy(logits.bfloat16()).dtype is torch.float32


# Two turns of 2 and 1 tokens; pi / pi_old is 1.2 * 1.1 and 0.7, pi / pi_behavior 0.5 * 0.8 and 1.5.
TURNS = torch.tensor([[0, 0, -1, 1]])
NOW = torch.tensor([[-1.0, -2.0, NAN, -3.0]], dtype=torch.float64)
OLD = NOW - torch.tensor([[1.2, 1.1, 1.0, 0.7]], dtype=torch.float64).log()
BEHAVIOR = NOW - torch.tensor([[0.5, 0.8, 1.0, 1.5]], dtype=torch.float64).log()
BOTH = torch.tensor([[True, True]])


def test_ratio_of_turns_by_hand() -> None:
    now = NOW.clone().requires_grad_()
    ones = torch.tensor([[1.0, 1.0]])
    stats = turn_policy_loss(now, OLD, BEHAVIOR, ones, TURNS, BOTH, clip=0.4, importance="none")
    stats.loss.backward()
    assert stats.loss.item() == pytest.approx(-(1.32 + 0.7) / 2)
    assert now.grad is not None
    # every token of a turn is pulled by the ratio of the whole turn
    torch.testing.assert_close(now.grad, -torch.tensor([[0.66, 0.66, 0.0, 0.35]]).double())
    assert (stats.clipfrac.item(), stats.importance_weight.item()) == (0.0, 1.0)
    clipped = turn_policy_loss(
        NOW, OLD, BEHAVIOR, torch.tensor([[1.0, -1.0]]), TURNS, BOTH, importance="none"
    )
    assert clipped.loss.item() == pytest.approx(-(1.2 - 0.8) / 2)
    assert clipped.clipfrac.item() == 1.0


@pytest.mark.parametrize(
    ("importance", "cap", "losses", "weight"),
    [
        # pi / pi_behavior: 0.4 and 1.5
        ("whole", 1.0, (1.32 * 0.4, 0.7 * 1), 0.7),
        ("whole", 2.0, (1.32 * 0.4, 0.7 * 1), 0.7),  # the cap is not its own
        # pi_old / pi_behavior: 0.4 / 1.32 and 1.5 / 0.7; 1.32 itself is clipped at 1.2
        ("decoupled", 1.0, (1.2 * 0.4 / 1.32, 0.7 * 1), (0.4 / 1.32 + 1) / 2),
        ("decoupled", 2.0, (1.2 * 0.4 / 1.32, 0.7 * 2), (0.4 / 1.32 + 2) / 2),
        ("none", 1.0, (1.2, 0.7), 1.0),
    ],
)
def test_ratio_of_turns_with_importance_by_hand(
    importance: Importance, cap: float, losses: tuple[float, float], weight: float
) -> None:
    stats = turn_policy_loss(
        NOW, OLD, BEHAVIOR, torch.tensor([[1.0, 1.0]]), TURNS, BOTH, importance=importance, cap=cap
    )
    assert stats.loss.item() == pytest.approx(-sum(losses) / 2)
    assert stats.importance_weight.item() == pytest.approx(weight)


@pytest.mark.parametrize(
    ("ratio", "old_to_behavior", "advantage", "cap", "loss", "gradient"),
    [
        (1.0, 1.0, 2.0, 1.0, -2.0, -2.0),  # fresh: plain policy gradient
        (1.1, 1.0, -1.0, 1.0, 1.1, 1.1),
        (0.85, 1.0, -1.0, 1.0, 0.85, 0.85),  # the lower bound is 0.8, as in plain PPO
        (0.79, 1.0, -1.0, 1.0, 0.8, 0.0),
        (1.5, 1.0, 1.0, 1.0, -1.2, 0.0),
        (1.0, 0.5, 1.0, 1.0, -0.5, -0.5),  # half the weight for good
        (1.0, 0.5, -1.0, 1.0, 0.5, 0.5),  # and for bad: not clipped, however old
        (1.0, 3.0, 1.0, 1.0, -1.0, -1.0),  # truncated
        (1.0, 3.0, 1.0, 2.0, -2.0, -2.0),
        (1.5, 0.5, 1.0, 1.0, -0.6, 0.0),  # clipped against pi_old: 1.2, times 0.5
        (0.5, 4.0, 1.0, 2.0, -1.0, -1.0),  # good and gone down: pulled back
    ],
)
def test_decoupled_loss_by_hand(
    ratio: float, old_to_behavior: float, advantage: float, cap: float, loss: float, gradient: float
) -> None:
    now = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    old = now.detach() - math.log(ratio)
    behavior = old - math.log(old_to_behavior)
    one, mask = torch.tensor([[advantage]]), torch.tensor([[True]])
    stats = ppo_policy_loss(now, old, behavior, one, mask, importance="decoupled", cap=cap)
    stats.loss.backward()
    assert now.grad is not None
    assert (stats.loss.item(), now.grad.item()) == pytest.approx((loss, gradient))
    assert stats.ratio.item() == pytest.approx(ratio)
    assert stats.importance_weight.item() == pytest.approx(min(old_to_behavior, cap))


@pytest.mark.parametrize(
    ("importance", "ratio", "to_behavior", "advantage", "loss", "gradient"),
    [
        # pi / pi_old; pi / pi_behavior
        ("none", 2.9, 1.0, -1.0, 2.9, 2.9),
        ("none", 3.1, 1.0, -1.0, 3.0, 0.0),
        ("none", 200.0, 1.0, -2.0, 6.0, 0.0),
        ("none", 0.7, 1.0, -1.0, 0.8, 0.0),  # the other bound stays
        ("none", 3.1, 1.0, 1.0, -1.2, 0.0),  # and good ones are as they were
        ("none", 0.5, 1.0, 1.0, -0.5, -0.5),
        ("whole", 198.0, 0.2, -0.5, 1.5, 0.0),  # unlikely at the start, likely when sampled
        ("whole", 10.0, 0.2, -0.5, 1.0, 1.0),  # 2 in all
        ("decoupled", 200.0, 100.0, -1.0, 1.5, 0.0),  # the weight 1/2 stands outside: 3 / 2
        ("decoupled", 2.0, 1.0, -1.0, 1.0, 1.0),
    ],
)
def test_dual_clip_by_hand(
    importance: Importance,
    ratio: float,
    to_behavior: float,
    advantage: float,
    loss: float,
    gradient: float,
) -> None:
    for turns in (False, True):
        now = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
        old = now.detach() - math.log(ratio)
        behavior = now.detach() - math.log(to_behavior)
        one, mask = torch.tensor([[advantage]]), torch.tensor([[True]])
        arguments = (now, old, behavior, one)
        where = (torch.tensor([[0]]), mask) if turns else (mask,)
        policy = turn_policy_loss if turns else ppo_policy_loss
        stats = policy(*arguments, *where, importance=importance, dual_clip=3.0)
        stats.loss.backward()
        assert now.grad is not None
        assert (stats.loss.item(), now.grad.item()) == pytest.approx((loss, gradient))


@pytest.mark.parametrize(
    ("ratio", "advantage", "clip_high", "loss", "gradient", "clipfrac"),
    [
        (1.5, 1.0, None, -1.2, 0.0, 1.0),
        (1.5, 1.0, 0.4, -1.4, 0.0, 1.0),
        (1.3, 1.0, 0.4, -1.3, -1.3, 0.0),  # a good token may go farther up
        (1.3, -1.0, 0.4, 1.3, 1.3, 0.0),
        (0.7, -1.0, 0.4, 0.8, 0.0, 1.0),  # the lower bound stays
        (1.15, 1.0, 0.1, -1.1, 0.0, 1.0),
    ],
)
def test_an_upper_bound_of_its_own_by_hand(
    ratio: float,
    advantage: float,
    clip_high: float | None,
    loss: float,
    gradient: float,
    clipfrac: float,
) -> None:
    for turns in (False, True):
        now = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
        old = now.detach() - math.log(ratio)
        one, mask = torch.tensor([[advantage]]), torch.tensor([[True]])
        where = (torch.tensor([[0]]), mask) if turns else (mask,)
        policy = turn_policy_loss if turns else ppo_policy_loss
        stats = policy(now, old, old, one, *where, importance="none", clip_high=clip_high)
        stats.loss.backward()
        assert now.grad is not None
        assert (stats.loss.item(), now.grad.item()) == pytest.approx((loss, gradient))
        assert stats.clipfrac.item() == clipfrac


@pytest.mark.parametrize(
    ("importance", "ratio", "to_behavior", "advantage", "bounds", "weight"),
    [
        # pi / pi_old; pi / pi_behavior; the weight of log pi
        ("none", 1.0, 9.0, 1.0, (0.2, None), 1.0),
        ("none", 1.5, 9.0, 1.0, (0.2, None), 1.2),  # beyond the bound, and still pulled
        ("none", 1.5, 9.0, -1.0, (0.2, None), 1.2),
        ("none", 0.5, 9.0, -1.0, (0.2, None), 0.8),
        ("none", 0.5, 9.0, -2.0, (1.0, 4.0), 0.5),  # MiniMax-M1: no lower bound
        ("none", 3.0, 9.0, 1.0, (1.0, 4.0), 3.0),
        ("none", 9.0, 9.0, 1.0, (1.0, 4.0), 5.0),
        ("whole", 2.0, 0.5, 1.0, (0.2, None), 1.0),  # 2 * 0.5
        ("whole", 2.0, 3.0, 1.0, (1.0, 4.0), 2.0),  # truncated at 1
        ("decoupled", 2.0, 1.0, 1.0, (0.2, None), 0.6),  # 1.2 * 0.5
    ],
)
def test_cispo_by_hand(
    importance: Importance,
    ratio: float,
    to_behavior: float,
    advantage: float,
    bounds: tuple[float, float | None],
    weight: float,
) -> None:
    now = torch.tensor([[-3.0, NAN]], dtype=torch.float64, requires_grad=True)
    old, behavior = now.detach() - math.log(ratio), now.detach() - math.log(to_behavior)
    advantages, mask = torch.full((1, 2), advantage), torch.tensor([[True, False]])
    stats = cispo_policy_loss(
        now, old, behavior, advantages, mask, bounds[0], importance=importance, clip_high=bounds[1]
    )
    stats.loss.backward()
    assert stats.loss.item() == pytest.approx(3.0 * advantage * weight)
    assert now.grad is not None
    assert now.grad.tolist() == [[pytest.approx(-advantage * weight), 0.0]]
    assert not any(stat.requires_grad for stat in stats[1:])


def test_geometric_means_of_turns_by_hand() -> None:
    now, ones = NOW.clone().requires_grad_(), torch.tensor([[1.0, 1.0]])
    stats = turn_policy_loss(
        now, OLD, BEHAVIOR, ones, TURNS, BOTH, 0.4, importance="none", mean=True
    )
    stats.loss.backward()
    first = math.sqrt(1.32)
    assert stats.loss.item() == pytest.approx(-(first + 0.7) / 2)
    assert stats.ratio.item() == pytest.approx((first + 0.7) / 2)
    assert now.grad is not None
    # GSPO, equation 10: the ratio, shared out among the turn's tokens
    pull = -torch.tensor([[first / 4, first / 4, 0.0, 0.35]], dtype=torch.float64)
    torch.testing.assert_close(now.grad, pull)
    clipped = turn_policy_loss(
        NOW, OLD, BEHAVIOR, ones, TURNS, BOTH, 3e-4, importance="none", mean=True, clip_high=4e-4
    )
    assert clipped.loss.item() == pytest.approx(-(1.0004 + 0.7) / 2)
    # pi / pi_behavior: the root of 0.4, and 1.5
    whole = turn_policy_loss(NOW, OLD, BEHAVIOR, ones, TURNS, BOTH, 0.9, mean=True)
    assert whole.loss.item() == pytest.approx(-(first * math.sqrt(0.4) + 0.7) / 2)
    assert whole.importance_weight.item() == pytest.approx((math.sqrt(0.4) + 1) / 2)


def test_without_correction_the_sampler_does_not_matter() -> None:
    advantages, mask = torch.ones(1, 4), TURNS >= 0
    for behavior in (BEHAVIOR, OLD):
        stats = ppo_policy_loss(NOW, OLD, behavior, advantages, mask, importance="none")
        # 1.2, 1.1, 0.7
        assert stats.loss.item() == pytest.approx(-(1.2 + 1.1 + 0.7) / 3)
        assert stats.importance_weight.item() == 1


@given(
    policy_rows,
    st.floats(0.05, 0.5),
    st.sampled_from(["whole", "decoupled", "none"]),
    st.booleans(),
)
def test_turns_of_one_token_are_tokens(
    rows: list[tuple[float, float, float, float]], clip: float, importance: Importance, mean: bool
) -> None:
    columns = torch.tensor(rows, dtype=torch.float64).T[:, None]
    now, old, behavior, advantages = (column.clone() for column in columns)
    turn_ids = torch.arange(len(rows))[None]
    mask = torch.ones(1, len(rows)).bool()
    gradients = []
    for per_turn in (False, True):
        leaf = now.clone().requires_grad_()
        if per_turn:
            stats = turn_policy_loss(
                leaf, old, behavior, advantages, turn_ids, mask, clip, importance=importance,
                mean=mean,
            )  # fmt: skip
        else:
            stats = ppo_policy_loss(
                leaf, old, behavior, advantages, mask, clip, importance=importance
            )
        stats.loss.backward()
        gradients.append((torch.stack(stats).detach(), leaf.grad))
    torch.testing.assert_close(*gradients)


def test_ratio_of_long_turns_stays_finite() -> None:
    now = torch.full((1, 4000), -2.0, requires_grad=True)
    turn_ids = torch.arange(4000)[None] // 2000
    for old in (torch.full((1, 4000), -3.0), torch.full((1, 4000), -1.0)):
        stats = turn_policy_loss(now, old, old, torch.tensor([[1.0, -1.0]]), turn_ids, BOTH)
        now.grad = None
        stats.loss.backward()
        assert torch.isfinite(torch.stack(stats)).all()
        assert now.grad is not None and torch.isfinite(now.grad).all()


def test_gradcheck_of_turns() -> None:
    now, old, _, _, _ = policy_batch(seed=5)
    turn_ids = torch.tensor([[-1, 0, 0, 1, -1], [0, -1, 1, 1, 1]] * 3)
    advantages = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.ones(6, 2).bool()
    leaf = now.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: turn_policy_loss(x, old, old, advantages, turn_ids, mask, importance="none").loss,
        leaf,
    )
