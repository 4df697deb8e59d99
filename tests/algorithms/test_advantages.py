import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlef.algorithms import (
    normalize_advantages,
    rewards_to_tokens,
    token_level_gae,
    turn_level_advantages,
    turns_to_tokens,
)

NAN = math.nan

# Two turns of 3 action tokens, 4 observation tokens between them (design.md, conformance).
TURN_IDS = torch.tensor([[0, 0, 0, -1, -1, -1, -1, 1, 1, 1]])
VALUES_OF_TOKENS = torch.tensor([[0.3] * 3 + [0.9] * 4 + [0.6] * 3], dtype=torch.float64)
REWARDS_OF_TOKENS = torch.tensor([[0.0] * 9 + [1.0]], dtype=torch.float64)


@pytest.mark.parametrize(("lam", "expected"), [(1.0, [0.7, 0.4]), (0.95, [0.68, 0.4])])
def test_conformance_turn_level(lam: float, expected: list[float]) -> None:
    advantages, returns = turn_level_advantages(
        torch.tensor([[0.0, 1.0]]), torch.tensor([[0.3, 0.6]]), torch.tensor([[True, True]]), 1, lam
    )
    per_token = turns_to_tokens(advantages, TURN_IDS)
    first, second = expected
    wanted = torch.tensor([[first] * 3 + [0.0] * 4 + [second] * 3])
    torch.testing.assert_close(per_token, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(returns, advantages + torch.tensor([[0.3, 0.6]]))


@pytest.mark.parametrize(
    ("lam", "expected"),
    [
        (1.0, [0.7, 0.7, 0.7, 0.4, 0.4, 0.4]),
        # 0.4, 0.95 * 0.4, 0.95 * 0.38; then 0.3 + 0.95 * 0.361, and so on
        (0.95, [0.580262375, 0.6108025, 0.64295, 0.361, 0.38, 0.4]),
    ],
)
def test_conformance_token_level(lam: float, expected: list[float]) -> None:
    advantages, _ = token_level_gae(REWARDS_OF_TOKENS, VALUES_OF_TOKENS, TURN_IDS >= 0, 1.0, lam)
    wanted = torch.tensor([expected[:3] + [0.0] * 4 + expected[3:]], dtype=torch.float64)
    torch.testing.assert_close(advantages, wanted, rtol=0, atol=1e-6)


def test_token_level_conformance_as_rounded_in_the_design() -> None:
    advantages, _ = token_level_gae(REWARDS_OF_TOKENS, VALUES_OF_TOKENS, TURN_IDS >= 0, 1.0, 0.95)
    rounded = [round(a, 3) for a in advantages[TURN_IDS >= 0].tolist()]
    assert rounded == [0.580, 0.611, 0.643, 0.361, 0.380, 0.400]


def test_paper_formula_with_penalties_and_a_masked_turn_between() -> None:
    rewards = torch.tensor([[-0.2, NAN, -1.0, NAN]])
    values = torch.tensor([[0.5, NAN, -0.5, math.inf]])
    mask = torch.tensor([[True, False, True, False]])
    advantages, returns = turn_level_advantages(rewards, values, mask)
    torch.testing.assert_close(advantages, torch.tensor([[-1.7, 0.0, -0.5, 0.0]]))
    torch.testing.assert_close(returns, torch.tensor([[-1.2, 0.0, -1.0, 0.0]]))


def test_gamma_discounts_per_turn() -> None:
    advantages, returns = turn_level_advantages(
        torch.tensor([[0.0, 0.0, 1.0]]), torch.zeros(1, 3), torch.ones(1, 3).bool(), gamma=0.5
    )
    assert advantages.tolist() == [[0.25, 0.5, 1.0]]
    assert returns.tolist() == [[0.25, 0.5, 1.0]]


def slow_gae(
    rewards: list[float], values: list[float], mask: list[bool], gamma: float, lam: float
) -> list[float]:
    """The double sum of Schulman et al. 2016 over the kept entries, for one rollout."""
    kept = [t for t, is_kept in enumerate(mask) if is_kept]
    advantages = [0.0] * len(mask)
    for i, t in enumerate(kept):
        for distance, j in enumerate(range(i, len(kept))):
            next_value = values[kept[j + 1]] if j + 1 < len(kept) else 0.0
            delta = rewards[kept[j]] + gamma * next_value - values[kept[j]]
            advantages[t] += (gamma * lam) ** distance * delta
    return advantages


number = st.floats(-2, 2)
entry = st.tuples(number, number, st.booleans())


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(entry, min_size=n, max_size=n), min_size=1, max_size=3)
    ),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_both_against_slow_reference(
    rows: list[list[tuple[float, float, bool]]], gamma: float, lam: float
) -> None:
    table = torch.tensor([[[r, v] for r, v, _ in row] for row in rows], dtype=torch.float64)
    mask = torch.tensor([[m for _, _, m in row] for row in rows])
    rewards = torch.where(mask, table[..., 0], NAN)
    values = torch.where(mask, table[..., 1], NAN)
    wanted = torch.tensor(
        [
            slow_gae(
                [r for r, _, _ in row], [v for _, v, _ in row], [m for _, _, m in row], gamma, lam
            )
            for row in rows
        ],
        dtype=torch.float64,
    )
    for function in (turn_level_advantages, token_level_gae):
        advantages, returns = function(rewards, values, mask, gamma, lam)
        torch.testing.assert_close(advantages, wanted)
        torch.testing.assert_close(returns, torch.where(mask, wanted + values, 0.0))


def test_without_gradient_and_in_float32() -> None:
    values = torch.zeros(1, 2, dtype=torch.bfloat16, requires_grad=True)
    advantages, returns = turn_level_advantages(torch.ones(1, 2), values, torch.ones(1, 2).bool())
    assert not advantages.requires_grad
    assert not returns.requires_grad
    assert advantages.dtype is returns.dtype is torch.float32


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty_batches(shape: tuple[int, int]) -> None:
    zeros = torch.zeros(shape)
    assert turn_level_advantages(zeros, zeros, zeros.bool()).advantages.shape == shape


def test_refuses_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="values has shape"):
        turn_level_advantages(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 3).bool())
    with pytest.raises(ValueError, match="two-dimensional"):
        token_level_gae(torch.ones(3), torch.ones(3), torch.ones(3).bool())


def test_turns_to_tokens() -> None:
    per_turn = torch.tensor([[0.5, NAN], [2.0, 3.0]])
    turn_ids = torch.tensor([[-1, 0, 0, -1], [0, -1, 1, 1]])
    assert turns_to_tokens(per_turn, turn_ids).tolist() == [[0, 0.5, 0.5, 0], [2, 0, 3, 3]]


def test_rewards_stand_at_the_last_token_of_their_turn() -> None:
    turn_ids = torch.tensor([[-1, 0, 0, 1, 1], [0, -1, 1, -1, -1]])
    rewards = torch.tensor([[0.5, 2.0], [-1.0, 3.0]])
    assert rewards_to_tokens(rewards, turn_ids).tolist() == [[0, 0, 0.5, 0, 2], [-1, 0, 3, 0, 0]]
    assert torch.equal(
        rewards_to_tokens(torch.tensor([[0.0, 1.0]]).double(), TURN_IDS), REWARDS_OF_TOKENS
    )


def test_whitening_over_turns_by_hand() -> None:
    advantages = torch.tensor([[1.0, 3.0], [5.0, NAN]])
    mask = torch.tensor([[True, True], [True, False]])
    step = math.sqrt(1.5)  # (5 - 3) / sqrt(8 / 3)
    torch.testing.assert_close(
        normalize_advantages(advantages, mask), torch.tensor([[-step, 0.0], [step, 0.0]])
    )


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 5)), min_size=2, max_size=8))
def test_weighted_whitening_equals_whitening_over_tokens(turns: list[tuple[int, int]]) -> None:
    advantages = torch.tensor([[a / 10 for a, _ in turns]], dtype=torch.float64)
    lengths = torch.tensor([[n for _, n in turns]])
    exists = torch.ones_like(lengths).bool()
    turn_ids = torch.repeat_interleave(torch.arange(len(turns)), lengths[0])[None]
    by_weight = normalize_advantages(advantages, exists, weights=lengths)
    over_tokens = normalize_advantages(turns_to_tokens(advantages, turn_ids), turn_ids >= 0)
    torch.testing.assert_close(turns_to_tokens(by_weight, turn_ids), over_tokens)
    if len({a for a, _ in turns}) > 1:
        assert abs(over_tokens.mean().item()) < 1e-9
        assert over_tokens.std(correction=0).item() == pytest.approx(1)


def whiten_list(xs: list[float]) -> Tensor:
    return normalize_advantages(torch.tensor([xs]), torch.ones(1, len(xs)).bool())


@given(st.integers(1, 1000), st.floats(-100, 100, width=32))
def test_nothing_to_compare_gives_zeros(count: int, value: float) -> None:
    assert whiten_list([value] * count).abs().max().item() == 0.0


def test_no_turns_gives_zeros() -> None:
    nothing = normalize_advantages(torch.full((2, 2), NAN), torch.zeros(2, 2).bool())
    assert nothing.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=20), st.integers(1, 9), st.integers(-9, 9)
)
def test_whitening_undoes_scale_and_shift(xs: list[int], scale: int, shift: int) -> None:
    torch.testing.assert_close(
        whiten_list([float(x) for x in xs]),
        whiten_list([float(scale * x + shift) for x in xs]),
        rtol=1e-4,
        atol=1e-4,
    )


def test_kinds_are_whitened_apart_by_hand() -> None:
    advantages = torch.tensor([[1.0, 5.0, 9.0], [3.0, 7.0, NAN], [2.0, NAN, NAN]])
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    found = normalize_advantages(advantages, mask, kinds=torch.arange(3).expand(3, 3))
    root = math.sqrt(1.5)  # 1 over the deviation of 1, 2, 3
    wanted = torch.tensor([[-root, -1.0, 0.0], [root, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(found, wanted)
    weights = torch.tensor([[3.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    found = normalize_advantages(advantages, mask, weights, kinds=torch.arange(3).expand(3, 3))
    # mean 1.5, variance (3 / 4 + 9 / 4) / 4
    torch.testing.assert_close(found[:, 0], torch.tensor([-0.5, 1.5, 0.5]) / math.sqrt(0.75))
