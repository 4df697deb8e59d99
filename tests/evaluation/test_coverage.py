"""Of many simulated evaluations, how many intervals hold the true rate."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rlef.evaluation import bootstrap_interval, paired_difference_interval
from rlef.evaluation.bootstrap import ratio_interval

EVALUATIONS, PROBLEMS, DRAWS = 300, 150, 400
HOLDS = (0.92, 0.98)
"""Of 300 intervals of exactly 95 %, 92 to 98 % hold the true rate (2.4 standard errors)."""

Counts = NDArray[np.int64]


def chances(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Chances that an answer is right, one per problem: many hard ones, some easy ones."""
    return rng.beta(0.5, 1.5, size=shape)


def later_turns(rng: np.random.Generator, episodes: int) -> tuple[Counts, Counts, Counts]:
    """Of each problem of each evaluation: episodes solved, repairs and later turns, of three."""
    right = chances(rng, (EVALUATIONS, PROBLEMS))[..., None]
    answers = rng.random((EVALUATIONS, PROBLEMS, episodes, 3)) < right[..., None]
    first, second, third = (answers[..., turn] for turn in range(3))
    repaired = ~first & (second | third)
    later = ~first * 1 + (~first & ~second) * 1
    solved = first | repaired
    return solved.sum(-1), repaired.sum(-1), later.sum(-1)


def true_repair_rate() -> float:
    p = chances(np.random.default_rng(99), (400_000,))
    return float(((1 - p) * (1 - (1 - p) ** 2)).mean() / ((1 - p) + (1 - p) ** 2).mean())


@pytest.mark.parametrize("episodes", [1, 10])
def test_repair_rates(episodes: int) -> None:
    truth = true_repair_rate()
    _, repaired, later = later_turns(np.random.default_rng(1), episodes)
    held = pooled = 0
    for parts, wholes in zip(repaired, later, strict=True):
        named = {str(i): pair for i, pair in enumerate(zip(parts, wholes, strict=True))}
        interval = ratio_interval(named, draws=DRAWS)
        held += interval.low <= truth <= interval.high
        rate = parts.sum() / wholes.sum()
        half = 1.96 * math.sqrt(rate * (1 - rate) / wholes.sum())  # turns as if independent
        pooled += abs(rate - truth) <= half
    assert HOLDS[0] <= held / EVALUATIONS <= HOLDS[1]
    if episodes == 10:
        assert pooled / EVALUATIONS < 0.8  # what this guards against


@pytest.mark.parametrize("episodes", [1, 10])
def test_solve_rates_and_their_differences(episodes: int) -> None:
    rng = np.random.default_rng(2)
    right = chances(rng, (EVALUATIONS, PROBLEMS))
    before = rng.binomial(episodes, right) / episodes
    after = rng.binomial(episodes, right**0.5) / episodes
    p = chances(np.random.default_rng(99), (400_000,))
    truth, gain = p.mean(), (p**0.5 - p).mean()
    held = gains = 0
    for a, b in zip(before, after, strict=True):
        one, two = ({str(i): [x] for i, x in enumerate(values)} for values in (a, b))
        interval = bootstrap_interval(one, draws=DRAWS)
        held += interval.low <= truth <= interval.high
        difference = paired_difference_interval(one, two, draws=DRAWS)
        gains += difference.low <= gain <= difference.high
    assert HOLDS[0] <= held / EVALUATIONS <= HOLDS[1]
    assert HOLDS[0] <= gains / EVALUATIONS <= HOLDS[1]


def test_a_ratio_by_hand() -> None:
    interval = ratio_interval({"a": (1, 1), "b": (0, 3), "c": (0, 0)})
    # Of 27 resamples: nothing (c c c) 1; the others from 0 (no a) to 1 (no b).
    assert interval == (0.25, 0.0, 1.0)
    assert all(map(math.isnan, ratio_interval({})))
    nine_without_turns = {str(i): (0.0, 0.0) for i in range(9)}
    lucky, unlucky = (
        ratio_interval({**nine_without_turns, "a": (1, 2)}, draws=1, seed=seed) for seed in (1, 0)
    )
    assert lucky == (0.5, 0.5, 0.5)
    assert unlucky.estimate == 0.5 and math.isnan(unlucky.low) and math.isnan(unlucky.high)
    assert all(map(math.isnan, ratio_interval({"a": (0, 0)})))
    assert all(map(math.isnan, ratio_interval({"a": (1, 1), "b": (math.nan, 1)})))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        ratio_interval({"a": (1, 2)}, draws=0)


def test_more_episodes_of_a_problem_are_no_more_problems() -> None:
    # Ten problems, repaired always or never: ten times the episodes tell nothing more.
    one = {str(i): (float(i < 5), 1.0) for i in range(10)}
    ten = {name: (10 * part, 10 * whole) for name, (part, whole) in one.items()}
    assert ratio_interval(ten) == ratio_interval(one)
