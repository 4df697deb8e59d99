import math
from statistics import fmean, pstdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlef.algorithms import (
    episode_returns,
    grpo_advantages,
    reinforce_pp_advantages,
    rloo_advantages,
)

NAN = math.nan
GROUPS = torch.tensor([4, 2, 4, 2, 4])
RETURNS = torch.tensor([1.0, -1.0, -1.0, 1.0, 0.0])

samples = st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 3)), min_size=1, max_size=12)


def columns(rows: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    returns = torch.tensor([r / 10 for r, _ in rows], dtype=torch.float64)
    return returns, torch.tensor([g for _, g in rows])


def test_episode_returns_by_hand() -> None:
    rewards = torch.tensor([[-0.2, 1.0], [-1.0, NAN]])
    mask = torch.tensor([[True, True], [True, False]])
    torch.testing.assert_close(episode_returns(rewards, mask), torch.tensor([0.8, -1.0]))
    discounted = episode_returns(rewards, mask, gamma=0.5)
    torch.testing.assert_close(discounted, torch.tensor([0.3, -1.0]))


def test_grpo_by_hand() -> None:
    step = math.sqrt(1.5)  # group 4 has 1, -1, 0: mean 0, variance 2 / 3
    wanted = torch.tensor([step, -1.0, -step, 1.0, 0.0])
    torch.testing.assert_close(grpo_advantages(RETURNS, GROUPS), wanted)


def test_dr_grpo_by_hand() -> None:
    returns = RETURNS + torch.tensor([0, 0, 0, 1.0, 0.3])
    wanted = torch.tensor([0.9, -1.5, -1.1, 1.5, 0.2])
    torch.testing.assert_close(grpo_advantages(returns, GROUPS, scale=False), wanted)


def test_rloo_by_hand() -> None:
    # group 4: 1 - (-1 + 0) / 2 and so on; group 2: -1 - 1
    wanted = torch.tensor([1.5, -2.0, -1.5, 2.0, 0.0])
    torch.testing.assert_close(rloo_advantages(RETURNS, GROUPS), wanted)


@given(samples)
def test_grpo_against_loop(rows: list[tuple[int, int]]) -> None:
    returns, groups = columns(rows)
    for scale in (True, False):
        expected = []
        for value, group in rows:
            others = [r / 10 for r, g in rows if g == group]
            spread = pstdev(others)
            centred = value / 10 - fmean(others)
            expected.append(0.0 if spread < 1e-9 else centred / (spread if scale else 1))
        ours = grpo_advantages(returns, groups, scale)
        assert ours.tolist() == pytest.approx(expected, abs=1e-9)


@given(samples)
def test_advantages_of_a_group_add_up_to_zero(rows: list[tuple[int, int]]) -> None:
    returns, groups = columns(rows)
    for advantages in (
        rloo_advantages(returns, groups),
        grpo_advantages(returns, groups),
        grpo_advantages(returns, groups, scale=False),
    ):
        for group in groups.unique():
            assert advantages[groups == group].sum().item() == pytest.approx(0, abs=1e-9)


@given(samples)
def test_leave_one_out_is_the_mean_baseline_enlarged(rows: list[tuple[int, int]]) -> None:
    """x - mean of the others = n / (n - 1) (x - mean of all), the RLOO paper's identity."""
    returns, groups = columns(rows)
    counts = (groups[:, None] == groups).sum(1)
    factor = counts / (counts - 1).clamp(min=1)
    wanted = factor * grpo_advantages(returns, groups, scale=False)
    torch.testing.assert_close(rloo_advantages(returns, groups), wanted)


@pytest.mark.parametrize("value", [0.1, -1.0, 1e6])
def test_groups_without_a_difference_and_of_one_give_nothing(value: float) -> None:
    groups = torch.tensor([0, 0, 0, 1])
    returns = torch.full((4,), value)
    assert grpo_advantages(returns, groups).abs().max().item() == 0
    assert grpo_advantages(returns, groups, scale=False).abs().max().item() == 0
    assert rloo_advantages(returns, groups).abs().max().item() <= 1e-6 * abs(value)
    assert rloo_advantages(returns, groups)[3].item() == 0


def test_reinforce_pp_by_hand() -> None:
    rewards = torch.tensor([[-0.5, 1.0], [-1.0, NAN]])
    mask = torch.tensor([[True, True], [True, False]])
    # to go 0.5, 1, -1: mean 1/6, variance (1/9 + 25/36 + 49/36) / 3
    std = math.sqrt((1 / 9 + 25 / 36 + 49 / 36) / 3)
    wanted = torch.tensor([[1 / 3, 5 / 6], [-7 / 6, 0.0]]) / std
    torch.testing.assert_close(reinforce_pp_advantages(rewards, mask), wanted)


def test_reinforce_pp_counts_turns_by_their_weights() -> None:
    rewards = torch.tensor([[0.0], [1.0]])
    weights = torch.tensor([[3.0], [1.0]])
    advantages = reinforce_pp_advantages(rewards, torch.ones(2, 1).bool(), weights=weights)
    # mean 1/4, variance (3/16 + 9/16) / 4
    torch.testing.assert_close(advantages, torch.tensor([[-0.25], [0.75]]) / math.sqrt(3 / 16))


@pytest.mark.parametrize("function", [grpo_advantages, rloo_advantages])
def test_float32_without_gradient_and_equal_shapes(function) -> None:  # type: ignore[no-untyped-def]
    returns = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    advantages = function(returns, torch.tensor([0, 0, 1]))
    assert advantages.dtype is torch.float32 and not advantages.requires_grad
    with pytest.raises(ValueError, match="groups has shape"):
        function(torch.ones(2), torch.zeros(3).long())
