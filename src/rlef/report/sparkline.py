"""A curve in one line of text."""

import math
import sys
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"
"""For terminals that have no other signs."""


def output_signs() -> str:
    """The signs that stdout can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return BLOCKS if encoding.lower().startswith("utf") else ASCII


def sparkline(
    values: Sequence[float | None],
    width: int,
    *,
    low: float | None = None,
    high: float | None = None,
    signs: str = BLOCKS,
) -> str:
    """Returns a curve of at most ``width`` characters, from the lowest sign to the highest.

    Args:
        values: From left to right; what is missing, NaN or infinite leaves a space. Where there are
            more than ``width``, a sign stands for the mean of several that follow one another.
        width: Characters, 1 or more.
        low: What the lowest sign stands for; ``None``: the least value.
        high: What the highest sign stands for; ``None``: the largest value.
        signs: From low to high.

    Example:
        >>> sparkline([0.0, 0.5, None, 1.0], 10)
        '▁▅ █'
        >>> sparkline([1, 1, 3, 3], 2)
        '▁█'
    """
    means = _means(values, width)
    known = [value for value in means if value is not None]
    if not known:
        return " " * len(means)
    low = min(known) if low is None else low
    high = max(known) if high is None else high
    return "".join(" " if value is None else signs[_level(value, low, high, len(signs))]
                   for value in means)  # fmt: skip


def _means(values: Sequence[float | None], width: int) -> list[float | None]:
    count = len(values)
    parts = min(width, count)
    found: list[float | None] = []
    for part in range(parts):
        some = values[part * count // parts : (part + 1) * count // parts]
        known = [value for value in some if value is not None and math.isfinite(value)]
        found.append(sum(known) / len(known) if known else None)
    return found


def _level(value: float, low: float, high: float, levels: int) -> int:
    if high <= low:
        return levels // 2
    share = (value - low) / (high - low)
    return min(levels - 1, max(0, int(share * levels)))
