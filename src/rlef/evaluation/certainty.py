"""How sure a difference of trained policies is: other problems and other seeds would move it.

A way to train is tried with a few seeds, and all policies are examined on the same problems. So a
difference has two sources of chance: which problems there are, of which there are hundreds, and
how each training went, of which there are a few. An interval over problems alone takes the second
for certain. A bootstrap that draws seeds too, and problems within them, is too narrow as well:
three seeds drawn with replacement spread by only two thirds of the true variance, and nothing in
it pays for how little three seeds say of that. ``benchmarks/study_luck.py`` counts what each rule
calls real where there is nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, Sequence[float]]
"""Problem to the results of its episodes."""
_Z = 1.96
"""97.5 percentile of the normal distribution."""
_Floats = NDArray[np.float64]


class Spread(NamedTuple):
    """Variances of the mean of a table of seeds and problems, by where they come from."""

    problems: float
    """Of other problems: the variance of the problems' means over seeds, by their number."""
    seeds: float
    """Of other seeds: the variance of the seeds' means over problems, by their number; 0 for
    one."""
    both: float
    """What is in each of the two: that a seed does well on some problems, and the luck of single
    episodes; 0 for one seed."""


def half_width(table: _Floats) -> float:
    """Half of the 95 % interval of a mean over seeds and problems.

    The larger of 1.96 sqrt(P) and sqrt(1.96² (P - B) + t² S): P, S and B are the variances of
    ``spread``, t is the 97.5 percentile of Student's distribution with one degree of freedom less
    than seeds (12.7 for two, 4.3 for three, 2.8 for five). S holds all chance that another training
    brings, single episodes among it, and is known from a few numbers, so t; P - B is left for the
    problems. It is exact where either source of chance is alone, and a little too wide in between.
    By luck seeds may agree to the digit: so no interval is narrower than the one over problems,
    1.96 sqrt(P), which is also that of a single seed (these policies, other problems).

    Args:
        table: (seeds, problems): differences, NaN where one is missing.

    Returns:
        Half of the width; NaN for fewer than two problems, or where all is NaN.
    """
    from scipy.special import stdtrit

    if table.shape[1] < 2 or np.isnan(table).all():
        return math.nan
    found = spread(table)
    seeds = 0.0
    if len(table) > 1:
        seeds = float(stdtrit(len(table) - 1, 0.975)) ** 2 * found.seeds
    crossed = _Z**2 * (found.problems - found.both) + seeds
    return math.sqrt(max(crossed, _Z**2 * found.problems))


def spread(table: _Floats) -> Spread:
    """Splits the variance of a table's mean, as a two-way analysis of variance does.

    With s² the variance of seeds, p² that of problems and e² that of what is left, n seeds and m
    problems, the three estimate p²/m + e²/nm, s²/n + e²/nm and e²/nm without bias.

    Args:
        table: (seeds, problems), NaN where a result is missing; none of it may be empty.
    """
    count, width = table.shape
    by_problem, by_seed = np.nanmean(table, axis=0), np.nanmean(table, axis=1)
    problems = float(np.var(by_problem, ddof=1)) / width
    if count < 2:
        return Spread(problems, 0.0, 0.0)
    rest = table - by_problem - by_seed[:, None] + by_seed.mean()
    both = float(np.nanmean(rest**2)) / ((count - 1) * (width - 1))
    return Spread(problems, float(np.var(by_seed, ddof=1)) / count, both)


def change_table(lower: Sequence[Values], higher: Sequence[Values]) -> _Floats:
    """Differences of the problems that both sides have, by seed.

    Args:
        lower: For each seed, problem to results.
        higher: Likewise.

    Returns:
        (seeds, problems): NaN where a seed lacks a problem on either side. Seeds and problems of
        which nothing is left are left out. All NaN where a result is: nobody knows it.
    """
    names = [
        name
        for name, values in pooled(lower).items()
        if len(values) and any(len(side.get(name, ())) for side in higher)
    ]
    everything = (x for side in (*lower, *higher) for name in names for x in side.get(name, ()))
    if any(map(math.isnan, everything)):
        return np.full((len(lower), len(names)), math.nan)
    rows = [
        [_mean(after, name) - _mean(before, name) for name in names]
        for before, after in zip(lower, higher, strict=True)
    ]
    table = np.array(rows, dtype=float).reshape(len(rows), len(names))
    table = table[:, ~np.isnan(table).all(axis=0)]
    rows_left: _Floats = table[~np.isnan(table).all(axis=1)]
    return rows_left


def same_for(seeds: Iterable[int], by_seed: Mapping[int, Values]) -> dict[int, Values]:
    """Results of a policy that is the same with every seed, such as an untrained model.

    All of its episodes stand under each seed, so that its luck is one of problems and not of
    trainings.
    """
    values = pooled(list(by_seed.values()))
    return dict.fromkeys(seeds, values)


def pooled(by_seed: Sequence[Values]) -> dict[str, list[float]]:
    """Problem to its results with all seeds."""
    names = dict.fromkeys(name for values in by_seed for name in values)
    return {name: [x for values in by_seed for x in values.get(name, ())] for name in names}


def mean_rate(values: Values) -> float:
    """Over problems, of the means of their results."""
    return fmean(fmean(xs) for xs in values.values() if len(xs))


def _mean(values: Values, name: str) -> float:
    results = values.get(name, ())
    return fmean(results) if len(results) else math.nan
