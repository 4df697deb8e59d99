"""How good a critic is: explained variance and calibration of its values."""

from typing import NamedTuple

import torch
from torch import Tensor

from rlef.algorithms.masked import check_same_shape, widen

_ROUNDING = 1e-6
_CALIBRATION_BINS = 10


@torch.no_grad()
def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """``1 - Var(returns - values) / Var(returns)`` over the entries that count.

    1: perfect; 0: no better than a constant; below: worse.

    Args:
        values: Any shape.
        returns: Same shape.
        mask: Same shape, True = counts.

    Returns:
        Scalar, float32 or wider; NaN where the returns do not vary by more than rounding.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(values=values, returns=returns, mask=mask)
    kept_values, kept_returns = widen(values)[mask.bool()], widen(returns)[mask.bool()]
    spread = kept_returns.max() - kept_returns.min() if kept_returns.numel() else torch.tensor(0.0)
    if bool(spread <= _ROUNDING * (1 + kept_returns.abs().sum() / max(1, kept_returns.numel()))):
        return kept_returns.new_full((), torch.nan)
    residual = (kept_returns - kept_values).var(correction=0)
    return 1 - residual / kept_returns.var(correction=0)


class CalibrationBin(NamedTuple):
    """Values of about one size, and what became of them."""

    turns: int
    value: float
    """Their mean."""
    solved: float
    """Share whose episode was solved."""


@torch.no_grad()
def calibration(values: Tensor, solved: Tensor, mask: Tensor) -> tuple[CalibrationBin, ...]:
    """Sorts values into ten bins from -1 to 1, for a reliability diagram.

    A value of V stands for a solve rate of (V + 1) / 2 where rewards are those of RLEF and there
    is no penalty.

    Args:
        values: Any shape; those beyond -1 or 1 count in the outer bins.
        solved: Same shape, True = the episode was solved.
        mask: Same shape, True = counts.

    Returns:
        The bins, from the lowest; empty ones too, with NaN for their means.

    Raises:
        ValueError: Shapes differ.
    """
    check_same_shape(values=values, solved=solved, mask=mask)
    kept, outcomes = widen(values)[mask.bool()], widen(solved.float())[mask.bool()]
    places = ((kept + 1) * (_CALIBRATION_BINS / 2)).floor().clamp(0, _CALIBRATION_BINS - 1)
    bins = []
    for place in range(_CALIBRATION_BINS):
        here = places == place
        bins.append(
            CalibrationBin(int(here.sum()), float(kept[here].mean()), float(outcomes[here].mean()))
        )
    return tuple(bins)
