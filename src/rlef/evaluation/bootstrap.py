"""Bootstrap intervals: how far a solve rate would move with other draws.

Results come as a mapping from problem to the results of its samples (0 or 1, or one n@k per
problem). The rate is the mean over problems of the mean over their samples; problems without
results (all of them infrastructure errors) are left out. Where a result is NaN, nobody knows the
rate: all is NaN.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
"""Resamples of every interval. The paper takes 200, which leaves a half width of 5.5 points open by
0.4 to the seed alone."""
PERCENTILES = (2.5, 97.5)
_AT_ONCE = 2**21
"""Draws of problems that are held in memory."""


class Interval(NamedTuple):
    """An estimate with its 2.5 and 97.5 percentiles; all NaN where there are no results."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    values_by_problem: Mapping[str, Sequence[float]],
    *,
    unit: Literal["problem", "result"] = "problem",
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Interval of a solve rate.

    ``unit="problem"``, the default, draws whole problems with replacement (a cluster bootstrap):
    what would another set of such problems give? The samples of one problem resemble each other,
    so drawing single results would make the interval too narrow. ``unit="result"`` is the
    paper's: pool the N results of all samples and draw N of them with replacement; the estimate
    is then the pool's mean. With one result per problem the two are the same.

    Args:
        values_by_problem: Problem name to its results.
        unit: What is drawn.
        draws: Resamples.
        seed: Seed of the draws: the same seed gives the same interval.

    Returns:
        Estimate, 2.5 and 97.5 percentile.

    Raises:
        ValueError: ``draws`` below 1, or an unknown unit.
    """
    if unit == "problem":
        results = _problem_means(values_by_problem)
    elif unit == "result":
        results = np.array([x for xs in values_by_problem.values() for x in xs], dtype=float)
    else:
        raise ValueError(f"unit is {unit!r}: allowed are 'problem' and 'result'")
    return _interval_of_mean(results, draws, seed)


def paired_difference_interval(
    a_by_problem: Mapping[str, Sequence[float]],
    b_by_problem: Mapping[str, Sequence[float]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Interval of rate(b) - rate(a) on the same problems, such as after less before training.

    Draws problems with replacement, each with both of its results, so that hard and easy
    problems cancel. An interval without 0 is a difference that other problems would show too.

    Args:
        a_by_problem: Problem name to its results, before.
        b_by_problem: The same problems, after. Numbers of samples may differ.
        draws: Resamples.
        seed: Seed of the draws.

    Returns:
        Estimate, 2.5 and 97.5 percentile. Problems without results on either side are left out.

    Raises:
        ValueError: The problems differ, or ``draws`` is below 1.
    """
    only_one_side = sorted(a_by_problem.keys() ^ b_by_problem.keys())
    if only_one_side:
        raise ValueError(
            f"{len(only_one_side)} problems have results on one side only, "
            f"such as {only_one_side[0]!r}: both sides must hold the same problems"
        )
    both = [name for name in a_by_problem if len(a_by_problem[name]) and len(b_by_problem[name])]
    before = _problem_means({name: a_by_problem[name] for name in both})
    after = _problem_means({name: b_by_problem[name] for name in both})
    return _interval_of_mean(after - before, draws, seed)


def ratio_interval(
    parts_by_problem: Mapping[str, tuple[float, float]], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Interval of a rate whose denominator differs from problem to problem.

    Such as a repair rate: turns that solved their problem, of all turns after the first. The later
    turns of a problem resemble each other, and how many there are depends on how hard it is; so
    whole problems are drawn, each with its part of the numerator and of the denominator.

    Args:
        parts_by_problem: Problem name to numerator and denominator.
        draws: Resamples. Those that happen to hold an empty denominator say nothing of the rate
            and are left out; without any other, the bounds are NaN.
        seed: Seed of the draws.

    Returns:
        The sum of numerators over the sum of denominators, 2.5 and 97.5 percentile.

    Raises:
        ValueError: ``draws`` is below 1.

    Example:
        >>> ratio_interval({"easy": (1, 1), "hard": (1, 4)}).estimate
        0.4
    """
    parts = np.array(list(parts_by_problem.values()), dtype=float).reshape(-1, 2)
    if np.isnan(parts).any() or not parts[:, 1].any():
        return Interval(math.nan, math.nan, math.nan)
    means = resampled_means(parts, draws, seed)
    known = means[means[:, 1] > 0]
    whole = parts.sum(axis=0)
    if not len(known):
        return Interval(float(whole[0] / whole[1]), math.nan, math.nan)
    low, high = np.percentile(known[:, 0] / known[:, 1], PERCENTILES)
    return Interval(float(whole[0] / whole[1]), float(low), float(high))


def resampled_means(values: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Means over problems that are drawn with replacement.

    Args:
        values: (N, M): M numbers of each of N problems, at least one.
        draws: Resamples; the same problems are drawn for all M.
        seed: Seed of the draws.

    Returns:
        (draws, M)

    Raises:
        ValueError: ``draws`` is below 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    count = len(values)
    rng = np.random.default_rng(seed)
    means = np.empty((draws, values.shape[1]))
    rows = max(1, _AT_ONCE // count)
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        places = rng.integers(count, size=(size, count))
        if values.shape[1] <= 2:
            means[start : start + size] = values[places].mean(axis=1)
        else:  # how often each problem was drawn, once for all numbers
            places += count * np.arange(size)[:, None]
            times = np.bincount(places.ravel(), minlength=size * count).reshape(size, count)
            means[start : start + size] = times @ values / count
    return means


def _problem_means(values_by_problem: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    return np.array([math.fsum(xs) / len(xs) for xs in values_by_problem.values() if len(xs)])


def _interval_of_mean(results: NDArray[np.float64], draws: int, seed: int) -> Interval:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    if not len(results) or np.isnan(results).any():
        return Interval(math.nan, math.nan, math.nan)
    means = resampled_means(results[:, None], draws, seed)[:, 0]
    low, high = np.percentile(means, PERCENTILES)
    return Interval(float(results.mean()), float(low), float(high))
