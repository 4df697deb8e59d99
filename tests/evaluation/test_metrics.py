import random
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlef.evaluation import n_at_k, pass_at_k

samples_strategy = st.lists(
    st.sampled_from([(False, False), (True, False), (True, True)]), min_size=1, max_size=6
)


def columns(samples: list[tuple[bool, bool]]) -> tuple[list[bool], list[bool]]:
    return [public for public, _ in samples], [everything for _, everything in samples]


@pytest.mark.parametrize(
    ("num_samples", "num_correct", "k", "expected"),
    [(4, 1, 1, 0.25), (4, 1, 2, 0.5), (4, 2, 2, 5 / 6), (4, 0, 4, 0.0), (4, 1, 4, 1.0)],
)
def test_pass_at_k_by_hand(num_samples: int, num_correct: int, k: int, expected: float) -> None:
    assert pass_at_k(num_samples, num_correct, k) == expected


def test_human_eval_check_value() -> None:
    # Chen et al. 2021 compute the same as 1 - prod(1 - k / i) over i in n - c + 1 .. n.
    product = float(np.prod(1.0 - 10 / np.arange(200 - 7 + 1, 200 + 1)))
    assert pass_at_k(200, 7, 10) == pytest.approx(1 - product, rel=1e-12)


@given(samples_strategy, st.data())
def test_pass_at_k_by_enumeration(samples: list[tuple[bool, bool]], data: st.DataObject) -> None:
    _, correct = columns(samples)
    k = data.draw(st.integers(1, len(samples)))
    draws = list(combinations(correct, k))
    assert pass_at_k(len(correct), sum(correct), k) == pytest.approx(
        sum(map(any, draws)) / len(draws)
    )


def test_n_at_k_by_hand() -> None:
    # Two of four pass public, one of them everything; two drawn, one submitted. Of the 6 pairs:
    # good+false friend 1/2, good+bad (2 pairs) 1, false friend+bad 0, bad+bad 0.
    public, everything = [True, True, False, False], [True, False, False, False]
    assert n_at_k(public, everything, n=1, k=2) == pytest.approx(2.5 / 6)
    assert n_at_k(public, everything, n=2, k=2) == pytest.approx(0.5)
    assert n_at_k(public, everything, n=1, k=1) == pytest.approx(0.25)


@given(samples_strategy, st.integers(1, 7), st.data())
def test_n_at_k_by_enumeration(
    samples: list[tuple[bool, bool]], n: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(samples)))
    # Each order of the samples is equally likely: draw the first k, submit in that order.
    outcomes = []
    for order in permutations(samples):
        submitted = sorted(order[:k], key=lambda sample: not sample[0])[:n]
        outcomes.append(any(everything for _, everything in submitted))
    assert n_at_k(*columns(samples), n, k) == pytest.approx(sum(outcomes) / len(outcomes))


@pytest.mark.parametrize(("n", "k"), [(10, 33), (1, 3), (3, 60)])
def test_n_at_k_by_simulation(n: int, k: int) -> None:
    samples = [(True, True)] * 2 + [(True, False)] * 20 + [(False, False)] * 45
    rng = random.Random(0)
    hits, trials = 0, 4000
    for _ in range(trials):
        drawn = rng.sample(samples, k)
        hits += any(everything for _, everything in sorted(drawn, key=lambda s: not s[0])[:n])
    exact = n_at_k(*columns(samples), n, k)
    standard_error = (exact * (1 - exact) / trials) ** 0.5
    assert abs(hits / trials - exact) < 4 * standard_error


@given(samples_strategy, st.data())
def test_n_at_least_k_is_pass_at_k(samples: list[tuple[bool, bool]], data: st.DataObject) -> None:
    public, everything = columns(samples)
    k = data.draw(st.integers(1, len(samples)))
    n = data.draw(st.integers(k, 9))
    assert n_at_k(public, everything, n, k) == pytest.approx(
        pass_at_k(len(samples), sum(everything), k)
    )


def test_many_samples_stay_exact_and_in_range() -> None:
    public = np.array([True] * 1500 + [False] * 500)
    everything = np.array([True] * 1499 + [False] * 501)
    assert 0.999999 < n_at_k(public, everything, 10, 1000) <= 1.0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="k is 5, but there are 4 samples"):
        pass_at_k(4, 1, 5)
    with pytest.raises(ValueError, match="k is 0"):
        pass_at_k(4, 1, 0)
    with pytest.raises(ValueError, match="num_correct is 5"):
        pass_at_k(4, 5, 1)
    with pytest.raises(ValueError, match="k is 3, but there are 2 samples"):
        n_at_k([True, False], [True, False], 1, 3)
    with pytest.raises(ValueError, match="n must be at least 1"):
        n_at_k([True], [True], 0, 1)
    with pytest.raises(ValueError, match="sample 1 passes all tests but not the public ones"):
        n_at_k([True, False], [True, True], 1, 1)
    with pytest.raises(ValueError, match="passed_public has 2 samples, but passed_all has 1"):
        n_at_k([True, False], [True], 1, 1)
