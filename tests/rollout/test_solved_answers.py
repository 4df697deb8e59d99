"""Solved answers of a run so far."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from some_rollouts import make_rollout

from rlef.environment import EpisodeRecord, StopReason
from rlef.rollout import Rollout
from rlef.rollout.replay import SolvedAnswers, solved_answers
from rlef.sandbox import Verdict
from rlef.study.wrappers import after_first_turn

END = StopReason.TURN_LIMIT
BATCHES = [
    [make_rollout(3 * batch + i, turns=1 + i, stop=END) for i in range(3)] for batch in (0, 2, 5)
]


def solved(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The same, solved by the last answer after others that failed."""
    return [replace(one, record=repaired(one.record)) for one in rollouts]


def repaired(record: EpisodeRecord) -> EpisodeRecord:
    failed = [replace(turn, public_verdicts=(Verdict.WA,)) for turn in record.turns[:-1]]
    return replace(record, solved=True, turns=(*failed, record.turns[-1]))


def test_the_last_answers_of_what_feedback_solved() -> None:
    first, second, third = solved(BATCHES[0])
    failed = replace(third, record=replace(third.record, solved=False))
    found = solved_answers([first, failed, second, third])
    assert [one.seed for one in found] == [second.seed, third.seed]
    for one, rollout in zip(found, (second, third), strict=True):
        last = len(rollout.prompt_ends) - 1
        start = rollout.sequence_starts[-1]
        assert np.array_equal(one.token_ids, rollout.token_ids[start:])
        assert np.array_equal(one.turn_ids == 0, rollout.turn_ids[start:] == last)
        assert set(one.turn_ids.tolist()) == {-1, 0}
        assert one.prompt_ends.tolist() == [rollout.prompt_ends[last] - start]
        assert one.rewards.tolist() == [rollout.rewards[last]]
        assert one.sequence_starts.tolist() == [0]
    assert [len(one.sequence_starts) for one in (second, third)] == [2, 1]
    assert solved_answers([]) == []


def test_what_repairs_nothing_is_left_out() -> None:
    [rollout] = solved([make_rollout(0, turns=2, stop=END)])
    first, second = rollout.record.turns
    passed = replace(first, public_verdicts=(Verdict.AC,))
    for turns in ((passed, second), (second,)):  # told nothing, an episode goes on; solved at once
        record = replace(rollout.record, turns=turns)
        assert solved_answers([replace(rollout, record=record)]) == []
    assert len(solved_answers([after_first_turn(rollout)])) == 1  # which another model wrote
    lost = make_rollout(0, turns=2, stop=StopReason.INFRA_ERROR)
    assert solved_answers(solved([lost])) == []


@pytest.mark.parametrize("newest", [1, 3, 100])
def test_a_run_that_goes_on_holds_what_one_without_a_stop_does(newest: int) -> None:
    batches = [solved(batch) for batch in BATCHES]
    whole = SolvedAnswers(newest, seed=1)
    for number in range(3):
        whole.see(number, batches.__getitem__)
    assert len(whole) == min(newest, 6)
    late, back = SolvedAnswers(newest, seed=1), SolvedAnswers(newest, seed=1)
    late.see(2, batches.__getitem__)
    for number in (0, 1, 2, 0, 1, 2):  # from a checkpoint on, once more
        back.see(number, batches.__getitem__)
    for other in (late, back):
        assert len(other) == len(whole)
        ours, theirs = whole.draw(7), other.draw(7)
        assert ours is not None and theirs is not None
        assert ours.token_ids.equal(theirs.token_ids) and ours.turn_ids.equal(theirs.turn_ids)


def test_no_more_batches_are_read_than_are_needed() -> None:
    asked: list[int] = []

    def rollouts_of(number: int) -> list[Rollout]:
        asked.append(number)
        return solved(BATCHES[number])

    answers = SolvedAnswers(3, seed=0)
    answers.see(2, rollouts_of)
    assert asked == [2, 1]
    answers.see(2, rollouts_of)
    answers.see(0, rollouts_of)
    answers.see(1, rollouts_of)
    assert asked == [2, 1, 2, 1, 0, 1] and len(answers) == 3


def test_each_is_drawn_once_before_any_comes_again() -> None:
    answers = SolvedAnswers(10, seed=0)
    assert answers.draw(3) is None
    answers.see(0, lambda _: [])
    assert answers.draw(3) is None
    answers.see(1, lambda number: [one for batch in BATCHES for one in solved(batch)])
    assert len(answers) == 6
    for count in (6, 7, 13):
        drawn = answers.draw(count)
        assert drawn is not None and len(drawn) == count
        rows = [tuple(row.tolist()) for row in drawn.token_ids]
        times = [rows.count(row) for row in set(rows)]
        assert len(times) == 6 and max(times) - min(times) <= 1
        assert bool((drawn.action_mask.sum(1) == 7).all())
    again = answers.draw(6)
    first = answers.draw(6)
    assert again is not None and first is not None and again.token_ids.equal(first.token_ids)
    answers.see(2, lambda _: [])
    later = answers.draw(6)
    assert later is not None and not later.token_ids.equal(first.token_ids)
