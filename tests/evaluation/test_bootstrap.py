import math

import pytest

from rlef.evaluation import bootstrap_interval, paired_difference_interval


def test_estimate_weighs_problems_equally() -> None:
    values = {"a": [1.0, 1.0, 1.0], "b": [0.0], "c": []}
    assert bootstrap_interval(values).estimate == 0.5
    assert bootstrap_interval(values, unit="result").estimate == 0.75


def test_width_matches_the_normal_approximation() -> None:
    values = {str(i): [float(i % 4 == 0)] for i in range(400)}
    interval = bootstrap_interval(values, draws=2000)
    half_width = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert interval.estimate == 0.25
    assert interval.low == pytest.approx(0.25 - half_width, abs=0.005)
    assert interval.high == pytest.approx(0.25 + half_width, abs=0.005)


def test_with_one_result_per_problem_both_units_agree() -> None:
    values = {str(i): [float(i % 3 == 0)] for i in range(30)}
    assert bootstrap_interval(values) == bootstrap_interval(values, unit="result")


def test_samples_of_one_problem_are_no_new_problems() -> None:
    # Ten problems, each always or never solved: 50 samples of each tell nothing more.
    values = {str(i): [float(i < 5)] * 50 for i in range(10)}
    by_problem = bootstrap_interval(values)
    by_result = bootstrap_interval(values, unit="result")
    assert by_problem.high - by_problem.low > 4 * (by_result.high - by_result.low)


def test_seed_decides() -> None:
    values = {str(i): [i / 50] for i in range(50)}
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_paired_difference_is_free_of_difficulty() -> None:
    before = {str(i): [i / 100] for i in range(100)}
    after = {str(i): [i / 100 + 0.1, i / 100 + 0.1] for i in reversed(range(100))}
    interval = paired_difference_interval(before, after)
    assert interval == pytest.approx((0.1, 0.1, 0.1))


def test_paired_difference_leaves_out_problems_without_results() -> None:
    interval = paired_difference_interval({"a": [0.0], "b": [0.0]}, {"a": [1.0], "b": []})
    assert interval == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("values", [{}, {"a": []}])
def test_nothing_is_nan(values: dict[str, list[float]]) -> None:
    assert all(map(math.isnan, bootstrap_interval(values)))
    assert all(map(math.isnan, paired_difference_interval(values, values)))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="2 problems have results on one side only, such as 'a'"):
        paired_difference_interval({"a": [1.0]}, {"b": [1.0]})
    with pytest.raises(ValueError, match="draws must be at least 1"):
        bootstrap_interval({"a": [1.0]}, draws=0)
    with pytest.raises(ValueError, match="allowed are 'problem' and 'result'"):
        bootstrap_interval({"a": [1.0]}, unit="turn")  # type: ignore[arg-type]
