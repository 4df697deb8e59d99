"""The sample ratio: by hand, where it is a bound, and how often its interval holds the truth."""

import dataclasses
import math

import numpy as np
import pytest
from episode_makers import failed, false_friend, infra, solved
from numpy.typing import NDArray

from rlef.evaluation.metrics import n_at_k, pass_at_k
from rlef.evaluation.sample_ratio import independent_curves, sample_ratio

Curves = dict[str, NDArray[np.float64]]


def test_curves_are_the_exact_means_over_choices() -> None:
    records = [
        *[solved("a"), false_friend("a"), failed("a"), failed("a", 3)],
        *[solved("b", 2), failed("b"), false_friend("b"), solved("b"), infra("b")],
        infra("c"),
    ]
    any_right = independent_curves(records)
    assert sorted(any_right) == ["a", "b"]  # "solved at turn 2" is a failed first answer
    for name in any_right:
        assert any_right[name] == pytest.approx([pass_at_k(4, 1, k) for k in (1, 2, 3, 4)])
    public, right = [True, True, False, False], [True, False, False, False]
    one, two = (independent_curves(records, n)["a"] for n in (1, 2))
    assert one == pytest.approx([n_at_k(public, right, 1, k) for k in (1, 2, 3, 4)])
    assert two == pytest.approx([n_at_k(public, right, 2, k) for k in (1, 2, 3, 4)])
    with pytest.raises(ValueError, match="submissions is 0"):
        independent_curves(records, 0)
    assert independent_curves([]) == {}


def test_what_nobody_knows_of_is_no_wrong_answer() -> None:
    blind = dataclasses.replace(solved("a", 3), blind=True)
    with pytest.raises(ValueError, match="not known of episodes without feedback that went on"):
        independent_curves([blind, solved("a")])
    assert independent_curves([dataclasses.replace(solved("a"), blind=True)])["a"] == [1.0]


def test_problems_with_more_answers_than_others_use_them() -> None:
    curves = independent_curves([*[solved("a")], *[failed("a")] * 3, solved("b"), failed("b")])
    assert curves["a"] == pytest.approx([1 / 4, 1 / 2])
    assert curves["b"] == pytest.approx([1 / 2, 1])


def curves_of(*rates: float, problems: int = 2) -> Curves:
    return {f"p{i}": np.array(rates) for i in range(problems)}


def trained(*solved_share: float, seeds: int = 1) -> dict[int, dict[str, list[float]]]:
    return {seed: {f"p{i}": [x] for i, x in enumerate(solved_share)} for seed in range(seeds)}


def test_by_hand() -> None:
    # Means of the curves: 0.2, 0.4, 0.7, 0.9. The trained policy solves 0.6: two thirds of the way
    # from two answers to three.
    found = sample_ratio(trained(0.6, 0.6), 3, curves_of(0.2, 0.4, 0.7, 0.9))
    assert found.answers == pytest.approx(2 + 2 / 3)
    assert (found.low, found.high) == pytest.approx((found.answers, found.answers))
    assert found.ratio(found.answers) == pytest.approx(8 / 9)
    assert (found.trained, found.independent, found.most, found.turns) == (0.6, 0.9, 4, 3)
    assert found.text() == "2.7 (2.7 to 2.7)"
    assert found.text(per_turn=True) == "0.9 (0.9 to 0.9)"
    assert sample_ratio(trained(0.4, 0.4), 3, curves_of(0.2, 0.4, 0.7)).answers == 2


def test_a_curve_that_does_not_get_there_is_a_bound() -> None:
    found = sample_ratio(trained(0.95, 0.95), 3, curves_of(0.2, 0.4, 0.7, 0.9))
    assert (found.answers, found.low, found.high) == (math.inf,) * 3
    assert found.text() == "> 4 (> 4 to > 4)"
    assert found.text(per_turn=True) == "> 1.33 (> 1.33 to > 1.33)"
    as_json = found.to_json()
    assert (as_json["answers"], as_json["most"], as_json["text"]) == (None, 4, found.text())
    fewer = sample_ratio(trained(0.1, 0.1), 3, curves_of(0.2, 0.4))
    assert (fewer.answers, fewer.low, fewer.high) == (0, 0, 0)
    assert fewer.text() == "< 1 (< 1 to < 1)"


def test_the_interval_turns_the_comparison_around() -> None:
    """Differences ±0.1 around the mean: their standard error over 100 problems is 0.01005."""
    curve = np.linspace(0.01, 1, 100)
    curves = {f"p{i}": curve for i in range(100)}
    policy = {0: {f"p{i}": [0.6 if i % 2 else 0.4] for i in range(100)}}
    found = sample_ratio(policy, 3, curves)
    half = 1.96 * 0.1 * math.sqrt(100 / 99) / 10
    assert found.answers == pytest.approx(50)
    assert (found.low, found.high) == pytest.approx((50 - 100 * half, 50 + 100 * half))
    # Three seeds, 0.1 apart: the t of two degrees of freedom.
    seeds = {s: {name: [x[0] + 0.1 * (s - 1)] for name, x in policy[0].items()} for s in range(3)}
    wide = sample_ratio(seeds, 3, curves)
    half = math.hypot(half, 4.30265 * 0.1 / math.sqrt(3))
    assert (wide.low, wide.high) == pytest.approx((50 - 100 * half, 50 + 100 * half))
    assert (wide.seeds, wide.problems) == (3, 100)


def test_only_problems_of_both_count_and_nan_stays_nan() -> None:
    found = sample_ratio({0: {"p0": [1.0], "other": [0.0]}}, 3, curves_of(0.5, 1.0))
    assert (found.problems, found.trained, found.answers) == (1, 1.0, 2)
    with pytest.raises(ValueError, match="different problems"):
        sample_ratio({0: {"x": [1.0]}}, 3, curves_of(0.5))
    unknown = sample_ratio(trained(math.nan, 1.0), 3, curves_of(0.5, 1.0))
    assert math.isnan(unknown.answers) and unknown.text() == "-"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_holds_the_truth(seeds: int) -> None:
    """Of 200 simulated evaluations at least 92 % do (two standard errors below 95)."""
    rng = np.random.default_rng(seeds)
    held, problems, most = 0, 60, 40
    easy = rng.beta(0.6, 2, 20000)
    rates = 1 - np.mean((1 - easy[:, None]) ** np.arange(1, most + 1), axis=0)
    by_count = [
        np.array([pass_at_k(most, count, k) for k in range(1, most + 1)])
        for count in range(most + 1)
    ]
    power = 8.0  # the trained policy does what so many answers would
    truth = np.interp(np.mean(1 - (1 - easy) ** power), rates, np.arange(1, most + 1))
    for _ in range(200):
        chances = rng.beta(0.6, 2, problems)
        right = rng.binomial(most, chances)
        curves = {f"p{i}": by_count[count] for i, count in enumerate(right)}
        luck = rng.normal(0, 0.2, seeds) if seeds > 1 else np.zeros(1)
        policies = {
            s: {
                f"p{i}": [float(rng.random() < 1 - (1 - p) ** (power * math.exp(luck[s])))]
                for i, p in enumerate(chances)
            }
            for s in range(seeds)
        }
        found = sample_ratio(policies, 3, curves)
        held += found.low <= truth <= found.high
    assert held >= 0.92 * 200
