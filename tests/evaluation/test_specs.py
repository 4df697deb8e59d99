import json
import math
import random
from statistics import fmean

import numpy as np
import pytest
from episode_makers import failed, false_friend, infra, runs, solved
from hypothesis import given, settings
from hypothesis import strategies as st

from rlef.environment.types import EpisodeRecord
from rlef.evaluation import n_at_k, pass_at_k
from rlef.evaluation.specs import MetricSpec, measure, parse_metrics, values_by_problem

ONE_OF_THREE = MetricSpec(1, 3)


def test_parsing() -> None:
    assert parse_metrics("1@3, 10@100,pass@10") == (
        MetricSpec(1, 3),
        MetricSpec(10, 100),
        MetricSpec(None, 10),
    )
    assert [spec.name for spec in parse_metrics("1@1,pass@1")] == ["1@1", "pass@1"]


@pytest.mark.parametrize(
    "text", ["", "1@", "@3", "0@3", "1@0", "pass@", "1@3,", "pass@1.5", "-1@3"]
)
def test_words_that_are_no_metric(text: str) -> None:
    with pytest.raises(ValueError, match=r"^metric '.*' is not known; allowed: n@k and pass@k .*$"):
        parse_metrics(text)


def test_metrics_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="'3@1' submits more than it samples; allowed: n up to k"):
        parse_metrics("3@1")
    with pytest.raises(ValueError, match="'1@3' is named twice"):
        parse_metrics("1@3,pass@1,1@3")


@pytest.mark.parametrize(
    ("name", "turn_limit", "episodes", "turns"),
    [
        ("1@3", 3, 1, 3),
        ("10@100", 3, 33, 3),
        ("10@100", 1, 100, 1),
        ("1@1", 3, 1, 1),
        ("1@2", 3, 1, 2),
        ("1@5", 3, 1, 3),
        ("1@6", 3, 2, 3),
        ("pass@10", 3, 10, 3),
    ],
)
def test_every_turn_counts_as_a_sample(
    name: str, turn_limit: int, episodes: int, turns: int
) -> None:
    (spec,) = parse_metrics(name)
    assert (spec.episodes(turn_limit), spec.turns(turn_limit)) == (episodes, turns)


RUN = [
    *[solved("easy", 1), solved("easy", 2), false_friend("easy", 1), failed("easy", 3)],
    *[solved("hard", 3), failed("hard", 3), failed("hard", 3), false_friend("hard", 2)],
]


def test_solved_within_so_many_turns() -> None:
    # easy: 1, 2, 2 of 4; hard: 0, 0, 1 of 4.
    assert [measure(RUN, MetricSpec(1, k), 3).estimate for k in (1, 2, 3)] == [1 / 8, 2 / 8, 3 / 8]
    assert measure(RUN, MetricSpec(None, 1), 3).estimate == 3 / 8
    # The same run, as a limit of two turns would have ended it.
    assert measure(RUN, MetricSpec(1, 2), 2) == measure(RUN, MetricSpec(1, 2), 3)


def test_submissions_are_chosen_by_public_tests() -> None:
    # Two episodes drawn, one submitted. easy: of 6 pairs one good+good, two good+false friend
    # (1/2 each), two good+bad (1 each), one false friend+bad (0); hard: good+false 1/2, good+bad 1
    # twice, and three without the good one.
    assert measure(RUN, MetricSpec(1, 6), 3).estimate == pytest.approx((4 / 6 + 2.5 / 6) / 2)
    # Cut to one turn, four samples are all four episodes: one good and one false friend pass.
    assert measure(RUN, MetricSpec(1, 4), 1).estimate == pytest.approx((1 / 2 + 0) / 2)
    assert measure(RUN, MetricSpec(None, 2), 3).estimate == pytest.approx((5 / 6 + 3 / 6) / 2)


def test_counts() -> None:
    measured = measure(RUN, ONE_OF_THREE, 3)
    assert (measured.problems, measured.left_out, measured.episodes) == (2, 0, 8)
    assert measured.samples == 7 + 11
    assert measure(RUN, MetricSpec(1, 1), 3).samples == 8


def test_too_few_episodes() -> None:
    message = "10@100 at a turn limit of 3 needs 33 episodes per problem, but problem 'easy' has 4"
    with pytest.raises(ValueError, match=f"^{message}$"):
        measure(RUN, MetricSpec(10, 100), 3)
    with pytest.raises(ValueError, match=r"pass@5 .* needs 5 episodes per problem"):
        measure(RUN, MetricSpec(None, 5), 3)
    with pytest.raises(ValueError, match="turn_limit must be at least 1, not 0"):
        measure(RUN, ONE_OF_THREE, 0)


def test_infrastructure_errors_leave_a_problem_out_but_break_no_metric() -> None:
    records = [*RUN, *[infra("easy")] * 3, infra("lost"), solved("half"), infra("half")]
    one = measure(records, ONE_OF_THREE, 3)
    assert (one.estimate, one.problems, one.left_out) == ((2 / 4 + 1 / 4 + 1) / 3, 3, 1)
    two = measure([r for r in records if r.problem != "lost"], MetricSpec(None, 2), 3)
    assert (two.problems, two.left_out) == (2, 1)
    assert two.estimate == measure(RUN, MetricSpec(None, 2), 3).estimate


def test_nothing_is_null() -> None:
    measured = measure([infra("a")], ONE_OF_THREE, 3)
    assert (measured.problems, measured.left_out) == (0, 1)
    for values in (measured, measure([], MetricSpec(2, 9), 3)):
        data = json.loads(json.dumps(values.to_json(), allow_nan=False))
        assert {data[key] for key in ("estimate", "low", "high", "low_problems")} == {None}


def many(problems: int, samples: int, seed: int) -> list[EpisodeRecord]:
    rng = random.Random(seed)
    ends = (solved, false_friend, failed)
    return [
        rng.choices(ends, (rate, 0.2, 1))[0](f"p{i}", 1)
        for i, rate in enumerate(rng.expovariate(2) for _ in range(problems))
        for _ in range(samples)
    ]


def test_interval_of_single_results_has_the_width_of_a_share() -> None:
    measured = measure(many(50, 40, seed=1), ONE_OF_THREE, 3, draws=1000)
    p = measured.estimate
    width = 2 * 1.96 * math.sqrt(p * (1 - p) / 2000)
    assert measured.high - measured.low == pytest.approx(width, rel=0.1)
    # Samples of one problem resemble each other: other problems would move it more.
    assert measured.high_problems - measured.low_problems > 2 * width


def test_interval_of_several_episodes_is_that_of_resampled_ones() -> None:
    """Against the slow way: each problem's episodes drawn one by one, n@k of what was drawn."""
    records, spec = many(6, 20, seed=2), MetricSpec(2, 6)
    rng = np.random.default_rng(5)
    means = []
    for _ in range(400):
        values = []
        for i in range(6):
            own = [record for record in records if record.problem == f"p{i}"]
            drawn = [own[j] for j in rng.integers(20, size=20)]
            public, good = [r.passed_public for r in drawn], [r.solved for r in drawn]
            values.append(n_at_k(public, good, 2, 6))
        means.append(fmean(values))
    measured = measure(records, spec, 1, draws=400)
    assert (measured.low, measured.high) == pytest.approx(
        tuple(np.percentile(means, [2.5, 97.5])), abs=0.02
    )
    assert measured.low < measured.estimate < measured.high
    assert measured == measure(records, spec, 1, draws=400)


@given(runs(samples=6), st.integers(1, 3))
@settings(deadline=None)
def test_metrics_grow_with_samples_and_submissions(
    records: list[EpisodeRecord], turn_limit: int
) -> None:
    episodes = sum(record.problem == "problem 0" for record in records)

    def rate(n: int | None, k: int) -> float:
        return measure(records, MetricSpec(n, k), turn_limit, draws=1).estimate

    largest = episodes * turn_limit
    for k in range(1, largest + 1):
        for n in range(1, k):
            assert rate(n, k) <= rate(n + 1, k) + 1e-9  # more submissions
    for k in range(1, episodes + 1):  # with everything submitted, n@k is pass@k of the episodes
        assert rate(k * turn_limit, k * turn_limit) == pytest.approx(rate(None, k))
    for k in range(1, episodes):
        assert rate(None, k) <= rate(None, k + 1) + 1e-9
    for k in range(1, turn_limit):
        assert rate(1, k) <= rate(1, k + 1) + 1e-9


@given(runs(), st.integers(1, 3))
def test_intervals_are_within_0_and_1(records: list[EpisodeRecord], k: int) -> None:
    measured = measure(records, MetricSpec(1, k), 3, draws=20)
    assert 0 <= measured.low <= measured.high <= 1
    assert 0 <= measured.low_problems <= measured.high_problems <= 1
    values = values_by_problem(records, MetricSpec(1, k), 3)
    assert measured.estimate == pytest.approx(fmean(map(fmean, values.values())))


def human_eval_estimate(num_samples: list[int], num_correct: list[int], k: int) -> float:
    """Mean pass@k as openai/human-eval computes it (evaluation.py, after Chen et al. 2021, fig. 3).

    Per problem ``1 - prod(1 - k / i)`` over i from n - c + 1 to n, and 1 where n - c < k.
    """
    values = []
    for n, c in zip(num_samples, num_correct, strict=True):
        wrong = n - c
        terms = 1.0 - k / np.arange(wrong + 1, n + 1)
        values.append(1.0 if wrong < k else 1.0 - float(np.prod(terms)))
    return float(np.mean(values))


@given(
    st.lists(st.tuples(st.integers(10, 60), st.floats(0, 1)), min_size=1, max_size=8),
    st.sampled_from([1, 2, 10]),
)
def test_pass_at_k_is_that_of_human_eval(problems: list[tuple[int, float]], k: int) -> None:
    totals = [total for total, _ in problems]
    correct = [round(share * total) for total, share in problems]
    records = [
        (solved if j < c else failed)(f"p{i}")
        for i, (total, c) in enumerate(zip(totals, correct, strict=True))
        for j in range(total)
    ]
    expected = human_eval_estimate(totals, correct, k)
    assert measure(records, MetricSpec(None, k), 1, draws=1).estimate == pytest.approx(
        expected, abs=1e-12
    )
    mean = fmean(pass_at_k(n, c, k) for n, c in zip(totals, correct, strict=True))
    assert mean == pytest.approx(expected, abs=1e-12)
