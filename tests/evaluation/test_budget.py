import dataclasses
from dataclasses import dataclass
from itertools import pairwise, permutations
from statistics import fmean

import numpy as np
import pytest
from episode_makers import episode, failed, false_friend, infra, runs, solved
from hypothesis import given
from hypothesis import strategies as st

from rlef.environment.types import EpisodeRecord, TurnRecord
from rlef.evaluation import pass_at_k
from rlef.evaluation.budget import (
    Unit,
    budget_steps,
    chances_by_problem,
    cost_curve,
    known_units,
    largest_budget,
)


def by_enumeration(records: list[EpisodeRecord], budget: int, turn_limit: int) -> float:
    """All orders of one problem's episodes, played turn by turn."""
    hits = []
    for order in permutations(records):
        left, hit = budget, False
        for record in order:
            turns = record.turns[:turn_limit]
            left -= len(turns)
            if left < 0 or hit:
                break
            hit = record.solved and len(record.turns) <= turn_limit
        hits.append(hit)
    return fmean(hits)


def test_by_hand() -> None:
    # One is solved in its second turn, one costs three turns for nothing. Half the time the good
    # one comes first: solved after 2 turns, otherwise after 5.
    records = [solved("p", 2), failed("p", 3)]
    curve = chances_by_problem(records, 3, [1, 2, 3, 4, 5, 6])["p"]
    assert curve == pytest.approx([0, 0.5, 0.5, 0.5, 1, 1])
    # Cut to one turn, neither is solved.
    assert chances_by_problem(records, 1, [1, 2])["p"] == pytest.approx([0, 0])


def test_problems_weigh_the_same() -> None:
    records = [solved("a"), solved("a"), solved("b", 2), failed("b", 3)]
    points = cost_curve(records, 3)
    assert [point.budget for point in points] == [1, 2, 3, 5]
    assert [point.estimate for point in points] == pytest.approx([0.5, 0.75, 0.75, 1])
    assert all(point.low <= point.estimate <= point.high for point in points)
    assert cost_curve(records, 3, budgets=[2, 4])[1].estimate == pytest.approx(0.75)


@given(runs(problems=1, samples=5), st.integers(1, 3))
def test_against_all_orders(records: list[EpisodeRecord], turn_limit: int) -> None:
    budgets = range(1, largest_budget(records, turn_limit) + 1)
    (curve,) = chances_by_problem(records, turn_limit, budgets).values()
    expected = [by_enumeration(records, budget, turn_limit) for budget in budgets]
    assert curve == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 60), st.data())
def test_one_turn_is_pass_at_k(total: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, total))
    records = [*[solved("p")] * correct, *[false_friend("p")] * (total - correct)]
    budgets = range(1, total + 1)
    curve = chances_by_problem(records, 3, budgets)["p"]
    expected = [pass_at_k(total, correct, k) for k in budgets]
    assert curve == pytest.approx(expected, abs=1e-10)


def test_two_hundred_long_episodes_stay_exact() -> None:
    records = [*[solved("p", 3)] * 5, *[failed("p", 3)] * 195]
    curve = chances_by_problem(records, 3, range(1, 601))["p"]
    # All cost three turns, so a budget of 3 k is pass@k.
    expected = [pass_at_k(200, 5, k) for k in range(1, 201)]
    assert curve[2::3] == pytest.approx(expected, abs=1e-10)
    assert curve[0] == pytest.approx(0, abs=1e-12)


@given(runs(), st.integers(1, 3))
def test_more_buys_more(records: list[EpisodeRecord], turn_limit: int) -> None:
    budgets = range(1, largest_budget(records, turn_limit) + 1)
    curve = cost_curve(records, turn_limit, budgets=budgets, draws=2)
    assert all(a.estimate <= b.estimate + 1e-9 for a, b in pairwise(curve))
    assert all(0 <= point.low <= point.high <= 1 for point in curve)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedTurn(TurnRecord):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def with_tokens(record: EpisodeRecord, prompt: int, completion: int) -> EpisodeRecord:
    fields = ("response", "program", "public_verdicts", "feedback")
    turns = tuple(
        CountedTurn(
            **{name: getattr(turn, name) for name in fields},
            prompt_tokens=prompt * (i + 1),
            completion_tokens=completion,
        )
        for i, turn in enumerate(record.turns)
    )
    return dataclasses.replace(record, turns=turns)


def test_tokens_by_hand() -> None:
    records = [with_tokens(solved("p", 2), 100, 10), with_tokens(failed("p", 1), 50, 5)]
    assert known_units(records) == ("turns", "tokens", "completion_tokens")
    # 100 + 10 + 200 + 10 for the good one, 55 for the other.
    curve = chances_by_problem(records, 3, [319, 320, 374, 375], "tokens")["p"]
    assert curve == pytest.approx([0, 0.5, 0.5, 1], abs=0.06)
    assert (curve[0], curve[3]) == (0, 1)
    answers = chances_by_problem(records, 3, [19, 24, 25], "completion_tokens")["p"]
    assert answers == pytest.approx([0, 0.5, 1], abs=0.06)
    assert largest_budget(records, 3, "tokens") == 640


def test_orders_drawn_agree_with_the_exact_curve() -> None:
    """A token per answer: the two ways to compute must meet."""
    plain = [solved("p", 1), solved("p", 3), false_friend("p", 2), *[failed("p", 3)] * 6]
    records = [with_tokens(record, 1, 1) for record in plain]
    budgets = range(1, largest_budget(records, 3) + 1)
    exact = chances_by_problem(records, 3, budgets)["p"]
    drawn = chances_by_problem(records, 3, budgets, "completion_tokens")["p"]
    assert np.abs(exact - drawn).max() < 0.06
    again = chances_by_problem(records, 3, budgets, "completion_tokens")["p"]
    assert (drawn == again).all()


def test_episodes_without_counts() -> None:
    records = [with_tokens(solved("p"), 9, 9), solved("q")]
    assert known_units(records) == ("turns",)
    with pytest.raises(ValueError, match=r"^an episode on problem 'q' holds no counts of tokens"):
        cost_curve(records, 3, "tokens")


def test_how_far_the_episodes_reach() -> None:
    assert largest_budget([], 3) == 0
    assert largest_budget([infra("p")], 3) == 0
    assert cost_curve([infra("p")], 3) == ()
    # Never solved, and two wrong programs passed the public tests at once: 1 + 1 + 3 turns.
    records = [false_friend("p"), false_friend("p"), failed("p", 3)]
    assert largest_budget(records, 3) == 5
    # Solved at once: as far as three episodes of three turns would reach, were they needed.
    easy = [solved("e")] * 3
    assert largest_budget(easy, 3) == 3
    assert largest_budget([*easy, *[failed("p", 3)] * 4], 3) == 9
    with pytest.raises(ValueError, match=r"^a budget of 6 turns per problem .* last for 1 to 5"):
        cost_curve(records, 3, budgets=[6])
    with pytest.raises(ValueError, match="a budget of 0 turns"):
        cost_curve(records, 3, budgets=[0])


def test_infrastructure_errors_cost_nothing() -> None:
    records = [solved("p", 2), failed("p", 3)]
    assert cost_curve([*records, infra("p"), infra("q")], 3) == cost_curve(records, 3)


def test_steps() -> None:
    assert budget_steps(1) == (1,)
    assert budget_steps(0) == ()
    assert budget_steps(100) == (1, 2, 3, 5, 10, 20, 30, 50, 100)
    assert budget_steps(1999, "tokens") == (100, 200, 300, 500, 1000)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="turn_limit must be at least 1, not 0"):
        largest_budget([solved("p")], 0)
    unknown: Unit = "euros"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="unit is 'euros': allowed are turns, tokens"):
        cost_curve([solved("p")], 3, unknown)


def test_a_problem_whose_prompt_did_not_fit_is_never_solved() -> None:
    records = [solved("p", 1), failed("p", 3), episode("q"), episode("q")]
    assert [point.estimate for point in cost_curve(records, 3, budgets=[1, 4])] == [0.25, 0.5]
    assert largest_budget(records, 3) == 6
    # Among others, such an episode costs nothing.
    assert cost_curve([episode("p"), solved("p", 2)], 3, budgets=[1, 2])[1].estimate == 1
    assert cost_curve([episode("q")], 3) == ()
