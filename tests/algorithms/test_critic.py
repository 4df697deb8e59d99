import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlef.algorithms import calibration, explained_variance

NAN = math.nan


def test_explained_variance_by_hand() -> None:
    returns = torch.tensor([1.0, 3.0, NAN])
    mask = torch.tensor([True, True, False])
    assert explained_variance(torch.tensor([1.0, 3.0, 9.0]), returns, mask).item() == 1.0
    assert explained_variance(torch.tensor([5.0, 7.0, NAN]), returns, mask).item() == 1.0
    assert explained_variance(torch.tensor([2.0, 2.0, NAN]), returns, mask).item() == 0.0
    assert explained_variance(torch.tensor([3.0, 1.0, NAN]), returns, mask).item() == -3.0


@pytest.mark.parametrize("count", [0, 1, 7])
def test_explained_variance_of_equal_returns_is_nan(count: int) -> None:
    mask = torch.ones(count).bool()
    assert explained_variance(torch.rand(count), torch.full((count,), 0.1), mask).isnan()


def test_calibration_by_hand() -> None:
    values = torch.tensor([[-0.9, -0.85, 0.5], [0.55, 1.0, 7.0], [-3.0, NAN, 0.19]])
    solved = torch.tensor([[False, True, True], [True, False, True], [False, True, False]])
    mask = torch.tensor([[True, True, True], [True, True, True], [True, False, True]])
    bins = calibration(values, solved, mask)
    assert [each.turns for each in bins] == [3, 0, 0, 0, 0, 1, 0, 2, 0, 2]
    assert bins[0].value == pytest.approx((-0.9 - 0.85 - 3.0) / 3)
    assert bins[0].solved == pytest.approx(1 / 3)
    assert (bins[7].value, bins[7].solved) == (pytest.approx(0.525), 1.0)
    assert (bins[9].value, bins[9].solved) == (4.0, 0.5)
    assert math.isnan(bins[1].value)
    assert math.isnan(bins[1].solved)


@given(st.lists(st.tuples(st.floats(-2, 2, width=32), st.booleans(), st.booleans()), max_size=30))
def test_every_turn_is_in_one_bin(turns: list[tuple[float, bool, bool]]) -> None:
    values = torch.tensor([value for value, _, _ in turns])
    solved, mask = (torch.tensor([turn[i] for turn in turns]).bool() for i in (1, 2))
    bins = calibration(values, solved, mask)
    kept = [turn for turn in turns if turn[2]]
    assert sum(each.turns for each in bins) == len(kept)
    found = [each for each in bins if each.turns]
    assert sum(each.turns * each.solved for each in found) == pytest.approx(
        sum(was_solved for _, was_solved, _ in kept)
    )
    assert sum(each.turns * each.value for each in found) == pytest.approx(
        sum(value for value, _, _ in kept), abs=1e-4
    )
    for place, each in enumerate(bins):
        if each.turns and 0 < place < 9:
            assert place / 5 - 1.0001 <= each.value <= (place + 1) / 5 - 0.9999
