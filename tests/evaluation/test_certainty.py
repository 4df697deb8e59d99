"""The interval over problems and seeds: by hand, and how often it is wrong of arms that are alike.

``benchmarks/study_luck.py`` has the whole table, other rules beside it.
"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rlef.evaluation.certainty import change_table, half_width, same_for, spread
from rlef.evaluation.compare import difference_over_seeds

STUDIES = 1000


def test_the_interval_by_hand() -> None:
    lower = {0: {"a": [0.0], "b": [0.0]}, 1: {"a": [0.0], "b": [0.0]}}
    higher = {0: {"a": [1.0], "b": [0.0]}, 1: {"a": [1.0], "b": [1.0]}}
    difference, by_seed = difference_over_seeds("x", lower, higher)
    assert by_seed == (0.5, 1.0)
    # Problems 1 and 0.5: variance 1/8, of the mean 1/16; so have the seeds. What is left of
    # ((1, 0), (1, 1)) is ±1/4 in each of four places: square 1/4 of one degree, by four 1/16.
    assert spread(np.array([[1.0, 0.0], [1.0, 1.0]])) == (1 / 16, 1 / 16, 1 / 16)
    half = 12.7062 / 4  # t of one degree of freedom, nothing left for the problems
    assert difference.difference == 0.75
    assert difference.high - 0.75 == pytest.approx(half, rel=1e-4)
    assert 0.75 - difference.low == pytest.approx(half, rel=1e-4)


def test_seeds_that_agree_leave_the_problems_and_seeds_that_differ_widen_it() -> None:
    problems = np.array([0.1, 0.2, 0.15] * 100)
    error = problems.std(ddof=1) / math.sqrt(300)
    alike = np.array([problems] * 3)
    assert half_width(alike) == pytest.approx(1.96 * error)
    assert half_width(alike[:1]) == pytest.approx(1.96 * error)  # nothing is known of seeds
    lucky = alike + np.array([[0.1, -0.1] * 150, [-0.1, 0.1] * 150, [0.0] * 300])  # seeds equal
    assert half_width(lucky) == pytest.approx(1.96 * error)  # and not less
    apart = alike + np.array([[-0.15], [0.0], [0.15]])
    both = math.hypot(1.96 * error, 4.30265 * 0.15 / math.sqrt(3))
    assert half_width(apart) == pytest.approx(both, rel=1e-4)


def test_a_policy_that_is_the_same_with_every_seed_is_pooled() -> None:
    untrained = same_for([0, 1], {0: {"a": [1.0], "b": [0.0]}, 7: {"a": [0.0], "b": [0.0]}})
    trained = {0: {"a": [1.0], "b": [1.0]}, 1: {"a": [1.0], "b": [0.0]}}
    difference, by_seed = difference_over_seeds("x", untrained, trained)
    assert (difference.a, difference.b, by_seed) == (0.25, 0.75, (0.75, 0.25))
    table = np.array([[0.5, 1.0], [0.5, 0.0]])
    assert difference.high - difference.difference == pytest.approx(half_width(table))


def test_what_is_missing_and_what_nobody_knows() -> None:
    table = change_table(
        [{"a": [0.0], "b": [0.0], "c": [0.0]}, {"a": [0.5], "b": [], "c": [0.0]}],
        [{"a": [1.0], "b": [1.0]}, {"a": [1.0], "b": [1.0], "d": [1.0]}],
    )
    assert table.tolist()[0] == [1.0, 1.0] and table[1, 0] == 0.5 and math.isnan(table[1, 1])
    assert half_width(table) > 0
    unknown = change_table([{"a": [0.0], "b": [0.0]}], [{"a": [math.nan], "b": [1.0]}])
    assert np.isnan(unknown).all() and math.isnan(half_width(unknown))
    assert math.isnan(half_width(np.array([[0.5], [1.0]])))  # one problem
    assert change_table([{"a": []}], [{"a": [1.0]}]).shape == (0, 0)


def test_the_parts_are_without_bias() -> None:
    """Of tables made of known variances, the mean of each part is what it is said to estimate."""
    rng = np.random.default_rng(0)
    seeds, problems = 3, 20
    sums = np.zeros(3)
    for _ in range(STUDIES):
        table = rng.normal(0, 2, (seeds, 1)) + rng.normal(0, 3, problems)
        sums += spread(table + rng.normal(0, 4, (seeds, problems)))
    both = 16 / 60
    expected = [9 / 20 + both, 4 / 3 + both, both]
    assert sums / STUDIES == pytest.approx(expected, rel=0.1)


def alike(seeds: int, problems: int, spread_points: float, of_arms: float) -> NDArray[np.float64]:
    """(studies, seeds, problems): solved by one arm less solved by the other, both alike.

    Problems differ in difficulty, what arms find easy by ``of_arms`` logits at random, and
    trainings of either arm by ``spread_points`` of their solve rate.
    """
    rng = np.random.default_rng([seeds, problems])
    easy = rng.normal(-0.5, 1.5, (STUDIES, 1, 1, problems))
    training = rng.normal(0, spread_points / 15.5, (STUDIES, 2, seeds, 1))
    arm = rng.normal(0, of_arms, (STUDIES, 2, 1, problems))
    solved = rng.random((STUDIES, 2, seeds, problems)) < 1 / (1 + np.exp(-(easy + training + arm)))
    return np.subtract(solved[:, 1], solved[:, 0], dtype=float)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("spread_points", "of_arms"), [(0.0, 0.0), (4.0, 1.0), (9.0, 0.0)])
def test_arms_that_are_alike_seldom_seem_better(
    seeds: int, spread_points: float, of_arms: float
) -> None:
    tables = alike(seeds, 100, spread_points, of_arms)
    means = tables.mean(axis=(1, 2))
    halves = np.array([half_width(table) for table in tables])
    # What docs/study.md states, and two standard errors.
    assert np.mean(means > halves) <= 0.025 + 0.01
    assert np.mean(means < -halves) <= 0.025 + 0.01
    if spread_points == 9.0:  # what an interval over problems alone would say
        by_problem = tables.mean(axis=1).std(axis=1, ddof=1) / 10
        assert np.mean(np.abs(means) > 1.96 * by_problem) > 0.15
