"""How sure a difference of two arms is: other problems and other seeds would move it.

Each arm is trained with a few seeds, and all policies are examined on the same problems. So a
difference has two sources of chance: which problems there are, of which there are hundreds, and
how each training went, of which there are a few. An interval over problems alone takes the second
for certain, and calls a third of the differences between equal arms real where one seed is
trained.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from rlef.evaluation.compare import Difference, paired_difference

_Z = 1.96
"""97.5 percentile of the normal distribution."""
Values = Mapping[str, Sequence[float]]


def difference_over_seeds(
    metric: str, lower: Mapping[int, Values], higher: Mapping[int, Values]
) -> tuple[Difference, tuple[float, ...]]:
    """The difference of two arms, with its interval over problems and seeds.

    The half width is sqrt((1.96 a)^2 + (t b)^2): a is the standard error over problems (of the
    means over seeds), b that over seeds (of the means over problems), t the 97.5 percentile of
    Student's distribution with one degree of freedom less than seeds (12.7 for two, 4.3 for three).
    It is exact where either source of chance is alone, and a little too wide in between. With one
    seed nothing is known of others: the interval is over problems.

    Args:
        metric: What is compared.
        lower: Seed to problem to results; at least one seed.
        higher: Likewise, of the same seeds.

    Returns:
        The difference, and that of each seed.
    """
    seeds = sorted(lower)
    before, after = (pooled([side[seed] for seed in seeds]) for side in (lower, higher))
    difference = paired_difference(metric, before, after)
    by_seed = tuple(mean_rate(higher[seed]) - mean_rate(lower[seed]) for seed in seeds)
    if len(seeds) > 1:
        half = half_width(_changes(before, after), by_seed)
        middle = difference.difference
        difference = replace(difference, low=middle - half, high=middle + half)
    return difference, by_seed


def half_width(by_problem: Sequence[float], by_seed: Sequence[float]) -> float:
    """Half of the 95 % interval of a difference, see ``difference_over_seeds``.

    Args:
        by_problem: Differences of the problems, means over seeds.
        by_seed: Differences of the seeds, means over problems; two or more.

    Returns:
        Half of its width; NaN for fewer than two problems.
    """
    from scipy.special import stdtrit

    if len(by_problem) < 2:
        return math.nan
    problems, seeds = (float(np.var(xs, ddof=1)) / len(xs) for xs in (by_problem, by_seed))
    t = float(stdtrit(len(by_seed) - 1, 0.975))
    return math.sqrt(_Z**2 * problems + t**2 * seeds)


def _changes(before: Values, after: Values) -> list[float]:
    both = [name for name in before if len(before[name]) and len(after.get(name, ()))]
    return [fmean(after[name]) - fmean(before[name]) for name in both]


def pooled(by_seed: Sequence[Values]) -> dict[str, list[float]]:
    """Problem to its results with all seeds."""
    names = dict.fromkeys(name for values in by_seed for name in values)
    return {name: [x for values in by_seed for x in values.get(name, ())] for name in names}


def mean_rate(values: Values) -> float:
    """Over problems, of the means of their results."""
    return fmean(fmean(xs) for xs in values.values() if len(xs))
