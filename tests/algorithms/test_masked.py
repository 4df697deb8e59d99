import math

import pytest
import torch

from rlef.algorithms import masked_mean

NAN = math.nan


def test_mean_of_kept_entries() -> None:
    x = torch.tensor([[1.0, NAN], [5.0, NAN]])
    mask = torch.tensor([[True, False], [True, False]])
    assert masked_mean(x, mask).item() == 3.0
    assert masked_mean(x, mask, denominator=4).item() == 1.5
    assert masked_mean(x, mask, denominator=torch.tensor(3)).item() == 2.0


def test_nothing_kept_is_zero_without_gradient() -> None:
    x = torch.full((2, 2), NAN, requires_grad=True)
    mean = masked_mean(x, torch.zeros(2, 2, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0.0
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.bool, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_computes_in_float32_or_wider(dtype: torch.dtype, expected: torch.dtype) -> None:
    # In bfloat16 the running sum would stop growing at 256.
    mean = masked_mean(torch.ones(1000, dtype=dtype), torch.ones(1000, dtype=torch.bool), 1)
    assert mean.dtype is expected
    assert mean.item() == 1000.0


def test_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"mask has shape \(3,\), but x has shape \(3, 1\)"):
        masked_mean(torch.ones(3, 1), torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize("denominator", [0, -1.0])
def test_refuses_denominator(denominator: float) -> None:
    with pytest.raises(ValueError, match="denominator must be above 0"):
        masked_mean(torch.ones(3), torch.ones(3, dtype=torch.bool), denominator)
