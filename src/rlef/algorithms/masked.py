"""Arithmetic on the part of a tensor that a mask keeps."""

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor, denominator: Tensor | float | None = None) -> Tensor:
    """Sum of the kept entries over a denominator.

    With the denominator of the whole batch, the results of its micro-batches add up to the
    result of the batch, in value and in gradient.

    Args:
        x: Any shape and dtype; entries that are not kept may be anything, NaN too.
        mask: Same shape; True keeps.
        denominator: What to divide by; by default the number of kept entries.

    Returns:
        Scalar, float32 or wider. 0 with zero gradient where nothing is kept, so that a batch
        without a usable token leaves the weights alone.

    Raises:
        ValueError: Shapes differ, or the denominator is a number that is not above 0.
    """
    check_same_shape(x=x, mask=mask)
    if isinstance(denominator, int | float) and denominator <= 0:
        raise ValueError(f"denominator must be above 0, not {denominator}")
    kept = keep(x, mask)
    if denominator is None:
        denominator = mask.bool().sum().clamp(min=1)
    return kept.sum() / denominator


def turn_sums(x: Tensor, turn_ids: Tensor, num_turns: int) -> Tensor:
    """Sum over each turn's action tokens.

    Args:
        x: (B, L); entries outside turns may be anything, NaN too.
        turn_ids: (B, L) integers, the turn of an action token, -1 elsewhere.
        num_turns: U.

    Returns:
        (B, U), float32 or wider; 0 for turns without action tokens.

    Raises:
        ValueError: Shapes differ, or a turn id is not below ``num_turns``; of that only a CPU is
            asked, since the answer of a GPU would have to be waited for.
    """
    check_same_shape(x=x, turn_ids=turn_ids)
    if turn_ids.device.type == "cpu" and turn_ids.numel() and int(turn_ids.max()) >= num_turns:
        raise ValueError(
            f"turn_ids has turn {int(turn_ids.max())}, but num_turns is {num_turns}: "
            f"allowed are -1 to {num_turns - 1}"
        )
    # Not a scatter: its order of summation on a GPU changes from run to run.
    sums = [keep(x, turn_ids == turn).sum(dim=1) for turn in range(num_turns)]
    return torch.stack(sums, dim=1) if sums else widen(x).new_zeros((turn_ids.shape[0], 0))


def turn_counts(turn_ids: Tensor, num_turns: int) -> Tensor:
    """Number of action tokens of each turn: (B, U) int64."""
    return turn_sums(torch.ones_like(turn_ids), turn_ids, num_turns).long()


def keep(x: Tensor, mask: Tensor) -> Tensor:
    """``x`` in float32 or wider, with 0 in value and gradient wherever the mask is not True."""
    x = widen(x)
    return torch.where(mask.bool(), x, torch.zeros((), dtype=x.dtype, device=x.device))


def widen(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_same_shape(**tensors: Tensor) -> None:
    """Refuse tensors that would be broadcast against each other.

    Raises:
        ValueError: Shapes differ; names the first tensor and the one that differs from it.
    """
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != first.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, "
                f"but {first_name} has shape {tuple(first.shape)}: they must be equal"
            )
