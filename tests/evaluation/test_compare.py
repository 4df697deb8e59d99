import dataclasses
import json
import math
import random
from itertools import product

import numpy as np
import pytest
from episode_makers import failed, infra, runs, solved
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from rlef.environment.types import EpisodeRecord
from rlef.evaluation.compare import ComparedRun, compare_runs, paired_difference, sign_flip_p_value
from rlef.evaluation.specs import MetricSpec, parse_metrics

ONE = MetricSpec(1, 3)


def run(label: str, records: list[EpisodeRecord], **more: object) -> ComparedRun:
    return ComparedRun(label=label, records=records, turn_limit=3, **more)  # type: ignore[arg-type]


BEFORE = [*[failed("a", 3)] * 2, *[failed("b", 3)] * 2, *[solved("c")] * 2, solved("gone")]
AFTER = [solved("a", 2), failed("a", 3), *[solved("b", 3)] * 2, *[solved("c")] * 2, solved("new")]


def test_by_hand() -> None:
    comparison = compare_runs(run("before", BEFORE), run("after", AFTER), parse_metrics("1@3,1@1"))
    assert (comparison.problems, comparison.only_a, comparison.only_b) == (3, ("gone",), ("new",))
    solve, first = comparison.metrics
    assert (solve.a, solve.b) == pytest.approx((1 / 3, 2.5 / 3))
    assert solve.difference == pytest.approx(0.5)  # +1/2, +1 and 0
    assert (solve.better, solve.worse, solve.problems) == (2, 0, 3)
    assert solve.low <= 0.5 <= solve.high
    assert solve.p_value == 0.5  # of four choices of signs, ++ and -- reach 1.5
    assert (first.difference, first.p_value, first.low, first.high) == (0, 1, 0, 0)


def test_equal_cost_counts_every_turn() -> None:
    comparison = compare_runs(run("before", BEFORE), run("after", AFTER), [])
    assert comparison.metrics == ()
    rows = comparison.equal_cost["turns"]
    assert [row.metric for row in rows] == [
        "within 1 turn",
        *(f"within {k} turns" for k in (2, 3, 5)),
    ]
    # After two turns a is solved if its good episode came first; b takes three.
    assert [row.difference for row in rows] == pytest.approx([0, 1 / 6, 1 / 2, 2 / 3])
    assert list(comparison.equal_cost) == ["turns"]  # nothing is known of tokens


def test_runs_of_different_turn_limits() -> None:
    single = ComparedRun(
        label="single", records=[*[failed("a")] * 2, solved("a"), *[failed("b")] * 3], turn_limit=1
    )
    multi = run("multi", [failed("a", 3), solved("b", 3)])
    (both,) = compare_runs(single, multi, [MetricSpec(3, 3)]).metrics
    assert (both.a, both.b) == (0.5, 0.5)
    assert (both.better, both.worse) == (1, 1)
    with pytest.raises(ValueError, match=r"^single: 1@6 at a turn limit of 1 needs 6 episodes"):
        compare_runs(single, multi, [MetricSpec(1, 6)])


def test_equal_names_of_different_problems_are_left_out() -> None:
    a = run("x", BEFORE, hashes={"a": "1", "b": "2", "c": "3"})
    b = run("y", AFTER, hashes={"a": "1", "b": "9"})
    comparison = compare_runs(a, b, [ONE])
    assert (comparison.problems, comparison.changed) == (2, ("b",))
    assert comparison.metrics[0].difference == pytest.approx(0.25)
    assert comparison.notes() == [
        "2 problems in both, rates in %; difference: y less x, in points; better / worse: problems",
        "1 left out, only in x: gone",
        "1 left out, only in y: new",
        "1 left out, in both under the same name, but not the same problem: b",
    ]


def test_runs_that_share_nothing() -> None:
    with pytest.raises(ValueError, match=r"^x and y share no problem; allowed: runs on the same"):
        compare_runs(run("x", [solved("a")]), run("y", [solved("b")]), [ONE])
    with pytest.raises(ValueError, match="share no problem"):
        compare_runs(run("x", []), run("y", []), [ONE])


def test_table_and_json() -> None:
    comparison = compare_runs(run("before", BEFORE), run("after", AFTER), [ONE])
    assert comparison.headings()[:4] == ["", "before", "after", "difference"]
    row = comparison.rows()[0]
    assert row[:4] == ["1@3", "33.3", "83.3", "+50.0"]
    assert (row[5], row[6]) == ("0.5", "2 / 0")
    assert all(len(cells) == len(comparison.headings()) for cells in comparison.rows())
    data = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert data["metrics"][0]["better"] == 2
    assert data["only_b"] == ["new"]
    assert data["equal_cost"]["turns"][0]["metric"] == "within 1 turn"


def test_problems_without_results_on_one_side_are_left_out() -> None:
    comparison = compare_runs(
        run("x", [infra("a"), solved("b")]), run("y", [solved("a"), solved("b")]), [ONE]
    )
    assert comparison.metrics[0].problems == 1
    nothing = compare_runs(run("x", [infra("a")]), run("y", [solved("a")]), [ONE])
    assert math.isnan(nothing.metrics[0].p_value)
    assert nothing.rows() == [["1@3", *["-"] * 6]]
    json.dumps(nothing.to_json(), allow_nan=False)


def test_a_seed_of_infrastructure_errors_only_says_nothing() -> None:
    seeds = {0: [failed("a"), solved("b")], 1: [solved("a"), solved("b")]}
    whole = run("x", [one for each in seeds.values() for one in each], by_seed=seeds)
    with_third = dataclasses.replace(whole, by_seed={**seeds, 2: [infra("a"), infra("b")]})
    other = run("y", [failed("a"), failed("b")])
    assert compare_runs(other, with_third, [ONE]) == compare_runs(other, whole, [ONE])
    one_left = dataclasses.replace(whole, by_seed={0: seeds[0], 1: [infra("a")]})
    assert compare_runs(other, one_left, [ONE]).seeds == 1


def with_seeds(label: str, **rates: float) -> ComparedRun:
    """A run of 40 problems; ``s3=0.5`` is a seed that solves the first half."""
    by_seed = {
        int(seed[1:]): [(solved if n < 40 * rate else failed)(f"p{n}") for n in range(40)]
        for seed, rate in rates.items()
    }
    return run(label, [one for each in by_seed.values() for one in each], by_seed=by_seed)


def test_trainings_with_other_seeds_are_compared_over_seeds_too() -> None:
    a = with_seeds("a", s0=0.3, s1=0.5, s2=0.4)
    same = compare_runs(a, with_seeds("b", s0=0.6, s1=0.45, s2=0.5), [ONE])
    for seeds in ((3, 4, 5), (2, 3, 4), (1, 2, 3)):
        names = (f"s{seed}" for seed in seeds)
        b = with_seeds("b", **dict(zip(names, (0.6, 0.45, 0.5), strict=True)))
        found = compare_runs(a, b, [ONE])
        assert found.metrics == same.metrics and found.seeds == 3 and found.unpaired == ((), ())
    assert same.metrics[0].low < 0 < same.metrics[0].high


def test_seeds_that_one_side_lacks_are_told() -> None:
    a = with_seeds("a", s0=0.3, s1=0.5, s2=0.4)
    b = with_seeds("b", s1=0.6, s2=0.5)
    found = compare_runs(a, b, [ONE])
    assert found.unpaired == ((0,), ()) and found.seeds == 2
    assert found.metrics[0].a == pytest.approx(0.45)
    assert "left out, as the other side has fewer seeds: a, 0" in found.notes()
    assert compare_runs(b, a, [ONE]).unpaired == ((), (0,))
    one = compare_runs(with_seeds("c", s7=0.2), a, [ONE])
    assert one.unpaired == ((), ()) and one.seeds == 3


@given(runs(problems=5), runs(problems=5), st.sampled_from([ONE, MetricSpec(1, 1)]))
@settings(max_examples=40)
def test_changing_places_changes_signs(
    first: list[EpisodeRecord], second: list[EpisodeRecord], spec: MetricSpec
) -> None:
    a, b = run("a", first), run("b", second)
    there, back = compare_runs(a, b, [spec], draws=50), compare_runs(b, a, [spec], draws=50)
    assert (there.only_a, there.only_b) == (back.only_b, back.only_a)
    rows = zip(
        (*there.metrics, *there.equal_cost["turns"]),
        (*back.metrics, *back.equal_cost["turns"]),
        strict=True,
    )
    for x, y in rows:
        assert x.difference == pytest.approx(-y.difference, abs=1e-12)
        assert (x.low, x.high) == pytest.approx((-y.high, -y.low), abs=1e-12)
        assert (x.a, x.b, x.p_value) == (y.b, y.a, y.p_value)
        assert (x.better, x.worse) == (y.worse, y.better)


@given(st.lists(st.integers(-3, 3).map(lambda x: x / 3), min_size=1, max_size=9))
def test_p_value_by_enumeration(differences: list[float]) -> None:
    total = abs(sum(differences))
    flipped = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    expected = sum(value >= total - 1e-9 for value in flipped) / len(flipped)
    assert sign_flip_p_value(differences) == pytest.approx(expected)


def test_p_value_is_scipys() -> None:
    rng = random.Random(3)
    few = [rng.gauss(0.3, 1) for _ in range(10)]

    def scipys(values: list[float], resamples: int) -> float:
        result = permutation_test(
            (np.array(values),), np.mean, permutation_type="samples", n_resamples=resamples
        )
        return float(result.pvalue)

    assert sign_flip_p_value(few) == pytest.approx(scipys(few, 2000))
    many = [rng.gauss(0.15, 1) for _ in range(120)]
    assert sign_flip_p_value(many) == pytest.approx(scipys(many, 5000), abs=0.03)
    assert sign_flip_p_value(many) == sign_flip_p_value([-x for x in many])


def test_p_values_at_the_ends() -> None:
    assert math.isnan(sign_flip_p_value([]))
    assert sign_flip_p_value([0.0, 0.0]) == 1
    assert sign_flip_p_value([1.0]) == 1  # one problem proves nothing
    assert sign_flip_p_value([1.0] * 16) == 2 / 2**16
    assert sign_flip_p_value([1.0] * 40) == 1 / 10_001
    assert sign_flip_p_value([0.1] * 3 + [-0.1] * 3) == 1


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = random.Random(1)
    values = [
        sign_flip_p_value([rng.choice((-1.0, 0.0, 1.0)) for _ in range(14)]) for _ in range(150)
    ]
    assert np.mean(np.array(values) <= 0.05) < 0.1
    assert 0.4 < np.mean(values) < 0.75


def test_any_number_can_be_compared() -> None:
    length = paired_difference("chars", {"p": [10, 20], "q": [5]}, {"p": [30], "q": [5, 5]})
    assert (length.a, length.b, length.difference) == (10, 17.5, 7.5)


def test_rounding_is_no_difference() -> None:
    third = paired_difference("x", {"p": [0.1 + 0.2], "q": [1]}, {"p": [0.3], "q": [1]})
    assert (third.better, third.worse, third.p_value) == (0, 0, 1)
