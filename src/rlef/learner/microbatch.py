"""Cutting a batch into parts of similar length, so that little is computed on padding."""

from collections.abc import Iterator

import torch
from torch import Tensor


def micro_batches(lengths: Tensor, max_tokens: int) -> Iterator[Tensor]:
    """Yields the indices of each part, sorted by length, longest first.

    Args:
        lengths: (B,) int64 tokens of each rollout.
        max_tokens: Rows times the longest of a part; a single row may exceed it.
    """
    order = torch.argsort(lengths, descending=True, stable=True)
    start = 0
    while start < len(order):
        size = max(1, max_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size
