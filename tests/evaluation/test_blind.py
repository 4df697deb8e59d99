"""Episodes that were told nothing: what nobody knows of them is NaN, not 0."""

import dataclasses
import json
import math
from typing import Any

import pytest
from episode_makers import AC, WA, episode, failed, solved, turn

from rlef.environment import Episode, EpisodeRecord, FeedbackOptions, StopReason
from rlef.evaluation import (
    ComparedRun,
    compare_runs,
    cost_curve,
    episode_behaviour,
    episode_statistics,
    measure,
    parse_metrics,
)
from rlef.evaluation.stage import stage_summary
from rlef.evaluation.statistics import is_known
from rlef.problems import PublicProblem, Test
from rlef.rollout.records import episode_from_json, episode_to_json
from rlef.sandbox import JudgeReport, TestReport


def blind(problem: str, *passed: bool, is_solved: bool = False) -> EpisodeRecord:
    """One turn for each word: whether its program passed the public tests."""
    turns = [turn(f"p{i}", AC if word else WA) for i, word in enumerate(passed)]
    return dataclasses.replace(episode(problem, *turns, solved=is_solved), blind=True)


RECORDS = [
    blind("a", True, True, True, is_solved=True),
    blind("a", False, True, False),
    blind("b", False, False, False),
]


def test_rates_below_the_limit_are_unknown() -> None:
    statistics = episode_statistics(RECORDS, 3)
    assert list(map(math.isnan, statistics.solve_rate_by_turn)) == [True, True, False]
    assert statistics.one_at_n == 0.25
    assert math.isnan(statistics.repair_rate)
    assert all(map(math.isnan, statistics.repair_rate_by_turn))
    assert statistics.error_types_by_turn == (
        {"WA": 2, "unjudged": 1},
        {"WA": 1, "unjudged": 2},
        {"WA": 2},
    )
    # Of the public tests passed before: a's first and second, then a's second.
    assert statistics.regression_rate == pytest.approx(1 / 3)


def test_so_they_are_where_every_answer_failed_its_public_tests() -> None:
    # Else a curve of batches would show 0 where all failed, and nothing where one did not.
    statistics = episode_statistics([blind("b", False, False)], 2)
    assert math.isnan(statistics.solve_rate_by_turn[0])
    assert statistics.one_at_n == 0


def test_single_turns_and_the_ends_of_episodes_are_known() -> None:
    assert episode_statistics([blind("a", True, is_solved=True)], 1).solve_rate_by_turn == (1.0,)
    early = dataclasses.replace(blind("a", False), stop=StopReason.CONTEXT_LIMIT)
    assert episode_statistics([early], 3).solve_rate_by_turn == (0.0, 0.0, 0.0)


def test_one_blind_episode_among_others_leaves_the_rate_unknown() -> None:
    statistics = episode_statistics([solved("a"), blind("b", True, True)], 2)
    assert math.isnan(statistics.solve_rate_by_turn[0])
    assert statistics.one_at_n == 0.5


def test_only_what_a_blind_episode_went_on_from_is_unknown() -> None:
    assert [is_known(blind("a", True, False), turns) for turns in (1, 2)] == [False, True]
    assert is_known(failed("a", 3), 1) and is_known(solved("a", 3), 2)


def test_the_mark_is_written_and_read() -> None:
    data = json.loads(json.dumps(episode_to_json(RECORDS[0])))
    assert episode_from_json(data) == RECORDS[0]


@pytest.mark.parametrize("kind", ["none", "full"])
def test_an_episode_says_whether_it_is_blind(kind: Any) -> None:
    problem = PublicProblem(name="p", statement="?", public_tests=(Test("1", "2"),))
    one = Episode(problem, max_turns=1, feedback_options=FeedbackOptions(kind=kind))
    one.answer("```python\nprint(1)\n```")
    one.observe(
        JudgeReport(
            verdict=WA, tests=(TestReport(verdict=WA, cpu_s=0, wall_s=0, memory_mb=0, message=""),)
        )
    )
    assert one.finish(None).blind is (kind == "none")


def test_summaries_hold_null() -> None:
    stage: Any = stage_summary(RECORDS, 3)
    assert [math.isnan(rate["mean"]) for rate in stage["solve_rate_by_turn"]] == [True, True, False]
    assert math.isnan(stage["repair_rate"]["mean"]) and math.isnan(stage["repair_rate"]["low"])
    assert stage["solve"]["mean"] == 0.25


def test_metrics_that_would_cut_them_are_unknown() -> None:
    first, last, two = (measure(RECORDS[:2], s, 3) for s in parse_metrics("1@1,1@3,2@2"))
    assert all(map(math.isnan, (first.estimate, first.low, first.high, first.low_problems)))
    assert math.isnan(two.estimate)
    assert last.estimate == 0.5
    assert first.to_json()["estimate"] is None
    curve = cost_curve(RECORDS[:2], 1)
    assert curve and all(math.isnan(point.estimate) for point in curve)
    assert not math.isnan(cost_curve(RECORDS[:2], 3)[0].estimate)


def test_a_comparison_shows_what_one_side_knows() -> None:
    told = ComparedRun(label="told", records=[solved("a", 2), failed("b", 3)], turn_limit=3)
    dark = ComparedRun(label="dark", records=RECORDS, turn_limit=3)
    first, last = compare_runs(told, dark, parse_metrics("1@2,1@3")).metrics
    assert (first.a, first.better, first.worse) == (0.5, 0, 0)
    assert math.isnan(first.b) and math.isnan(first.p_value) and math.isnan(first.low)
    assert last.b == 0.25
    rows = compare_runs(told, dark, parse_metrics("1@2")).rows()
    assert rows[0] == ["1@2", "50.0", *["-"] * 5]


def test_behaviour_tells_no_fixing() -> None:
    found = episode_behaviour(RECORDS, 3)
    assert found.fixed == {}
    assert found.transitions[0] == {"WA": {"WA": 1, "unjudged": 1}, "unjudged": {"unjudged": 1}}
