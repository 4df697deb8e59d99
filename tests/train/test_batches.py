"""Which rollouts are asked for, and which make up a batch, whatever order they end in."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from rlef.engines import EngineError, Weights
from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.problems import Problem, Test
from rlef.rollout import EpisodeRequest, Rollout
from rlef.rollout.ledger import Ledger
from rlef.train.batches import Batches
from rlef.train.requests import RequestSource

TESTS = (Test("1\n", "1\n"),)
PROBLEMS = [
    Problem(name=f"p{n}", statement="s", public_tests=TESTS, private_tests=TESTS) for n in range(3)
]


def rollout(seed: int, *versions: int) -> Rollout:
    """One token per turn, sampled by these versions."""
    turns = len(versions)
    turn = TurnRecord(response="r", program=None, public_verdicts=(), feedback=None)
    return Rollout(
        record=EpisodeRecord(
            problem="p",
            family=None,
            hidden_detail=None,
            turns=(turn,) * turns,
            stop=StopReason.TURN_LIMIT,
            solved=False,
            final_verdict=None,
        ),
        token_ids=np.zeros(2 * turns, np.int32),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=np.array([t for turn in range(turns) for t in (-1, turn)], np.int32),
        logprobs=np.zeros(2 * turns, np.float32),
        prompt_ends=np.arange(0, 2 * turns, 2, dtype=np.int32),
        rewards=np.zeros(turns, np.float32),
        policy_versions=np.array(versions, np.int64),
        seed=seed,
    )


class Scripted:
    """Rollouts that end as the test says: ``Rollouts``.

    Args:
        ends: Indices that end with each call that may wait; then all that are under way, last one
            first.

    Attributes:
        asked: all indices so far, in order.
        version: of the policy that samples.
        versions: of an index's turns, where a test says so.
        most: episodes under way, at most.
    """

    def __init__(self, *ends: Sequence[int]) -> None:
        self.asked: list[int] = []
        self.version = 0
        self.versions: dict[int, tuple[int, ...]] = {}
        self.under_way: dict[int, EpisodeRequest] = {}
        self.most = 0
        self._ends = list(ends)

    def submit(self, index: int, request: EpisodeRequest) -> None:
        assert index not in self.under_way
        self.asked.append(index)
        self.under_way[index] = request
        self.most = max(self.most, len(self.under_way))

    def finished(self, timeout_s: float) -> list[tuple[int, Rollout]]:
        if not timeout_s:
            return []
        assert self.under_way, "waits for nothing"
        ends = self._ends.pop(0) if self._ends else sorted(self.under_way, reverse=True)
        return [
            (index, rollout(self.under_way.pop(index).seed, *self.versions.get(index, [0])))
            for index in ends
        ]

    def use(self, weights: Weights) -> None:
        raise AssertionError("not of batches")


def make(
    folder: Path, rollouts: Scripted, *, max_staleness: int = 0, total: int = 3, steps: int = 1
) -> tuple[Batches, Ledger]:
    """Batches of 4."""
    ledger = Ledger(folder)
    batches = Batches(
        RequestSource(PROBLEMS, 1, 0),
        rollouts,
        ledger,
        size=4,
        total=total,
        max_staleness=max_staleness,
        updates_per_batch=steps,
    )
    return batches, ledger


def test_in_turns_a_batch_is_the_next_indices_whatever_ends_first(tmp_path: Path) -> None:
    rollouts = Scripted([3], [1, 2], [0], [7, 6, 5], [4])
    batches, ledger = make(tmp_path, rollouts)
    source = RequestSource(PROBLEMS, 1, 0)
    for number in range(3):
        taken = batches.take(number)
        wanted = tuple(range(4 * number, 4 * number + 4))
        assert (taken.number, taken.indices, taken.dropped) == (number, wanted, 0)
        assert [r.seed for r in taken.rollouts] == [source.request(i).seed for i in wanted]
        assert batches.staleness_metrics(taken) == {}
    assert rollouts.asked == list(range(12)) and rollouts.most == 4
    assert ledger.pending == [] and rollouts.under_way == {}


@pytest.mark.parametrize("max_staleness", [1, 2])
def test_side_by_side_a_batch_is_what_ends_first_and_no_more_are_under_way_than_may_be(
    tmp_path: Path, max_staleness: int
) -> None:
    rollouts = Scripted([5], [2, 1], [7, 0])
    batches, ledger = make(tmp_path, rollouts, max_staleness=max_staleness, total=6)
    most = 4 * (1 + max_staleness)
    rollouts.versions = dict.fromkeys(range(most, 99), (5,))
    taken = batches.take(0)
    assert taken.indices == (1, 2, 5, 7) and ledger.pending == [0]
    assert rollouts.asked == list(range(most)) and rollouts.most == most
    batches.take(1)
    assert rollouts.asked == list(range(most + 4)) and rollouts.most == most
    for number in range(2, 6):
        batches.take(number)
        assert len(rollouts.under_way) + len(ledger.pending) <= most


class OfItsTime(Scripted):
    """Each rollout is of the version at which it was asked for."""

    def submit(self, index: int, request: EpisodeRequest) -> None:
        super().submit(index, request)
        self.versions[index] = (self.version,)


def test_where_the_sampler_is_ahead_of_the_learner_rollouts_do_not_grow_old(tmp_path: Path) -> None:
    rollouts = OfItsTime()
    batches, _ = make(tmp_path, rollouts, max_staleness=3, total=12)
    found = []
    for number in range(12):
        rollouts.version = number
        taken = batches.take(number)
        found.append(max(batches.staleness(one, number) for one in taken.rollouts))
        batches.settle()  # all that was asked for ends before the learner comes again
    assert found[:4] == [0, 1, 2, 3] and found[-4:] == [1] * 4, found
    assert sorted(rollouts.asked) == list(range(48))


def test_where_the_learner_is_ahead_of_the_sampler_all_that_may_be_is_under_way(
    tmp_path: Path,
) -> None:
    rollouts = OfItsTime(*[range(4 * n, 4 * n + 4) for n in range(12)])
    batches, ledger = make(tmp_path, rollouts, max_staleness=2, total=12)
    for number in range(10):
        rollouts.version = number
        batches.take(number)
        assert len(rollouts.under_way) + len(ledger.pending) == 8


def test_at_the_end_nothing_beyond_the_last_batch_is_asked_for(tmp_path: Path) -> None:
    rollouts = Scripted()
    batches, ledger = make(tmp_path, rollouts, max_staleness=2, total=4)
    seen = []
    for number in range(4):
        rollouts.versions = dict.fromkeys(range(16), (number,))
        seen += batches.take(number).indices
    assert sorted(seen) == rollouts.asked == list(range(16))
    assert ledger.pending == [] and rollouts.under_way == {}


def test_what_is_too_old_by_its_oldest_turn_is_dropped_counted_and_asked_for_anew(
    tmp_path: Path,
) -> None:
    rollouts = Scripted([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11])
    batches, ledger = make(tmp_path, rollouts, max_staleness=1, total=4, steps=2)
    assert batches.take(0).indices == (0, 1, 2, 3)
    # Two steps a batch: version 1 is still of batch 0; the policy of batch 2 is version 4.
    rollouts.versions = {4: (4,), 5: (1, 4), 6: (2, 4), 7: (3, 4), 8: (4, 1), 9: (3,), 10: (4,)}
    rollouts.versions |= dict.fromkeys(range(11, 20), (4,))
    batches.settle()
    assert rollouts.under_way == {} and ledger.pending == [4, 5, 6, 7]
    batches = make(tmp_path, rollouts, max_staleness=1, total=4, steps=2)[0]
    taken = batches.take(1)  # to the policy of batch 1 none is too old
    assert (taken.indices, taken.dropped) == ((4, 5, 6, 7), 0)
    taken = batches.take(2)
    assert 8 not in taken.indices and taken.dropped == 1
    found = batches.staleness_metrics(taken)
    assert found["dropped_stale"] == 1
    assert found["staleness/0"] + found["staleness/1"] == 4
    behind = [2 - min(r.policy_versions) // 2 for r in taken.rollouts]
    assert found["staleness"] == sum(behind) / 4 and found["staleness/1"] == behind.count(1)
    assert sorted(rollouts.asked) == list(range(len(rollouts.asked)))  # each index once
    last = batches.take(3)
    assert not {*last.indices} & {*taken.indices, 8}
    assert len(rollouts.asked) == 16 + 1  # one more for the one that was dropped


def test_a_sampler_that_keeps_its_old_weights_ends_the_run(tmp_path: Path) -> None:
    batches, ledger = make(tmp_path, Scripted(), max_staleness=1, total=9)
    batches.take(0)
    batches.take(1)  # of version 0, as all that follow
    with pytest.raises(EngineError, match=r"samples old weights: 4[0-9] rollouts that ended"):
        batches.take(2)
    assert ledger.batches == 2 and ledger.pending == []


def test_what_ends_meanwhile_goes_to_disk_and_an_interrupt_waits_for_nothing(
    tmp_path: Path,
) -> None:
    rollouts = Scripted([0, 1, 2, 3])
    batches, ledger = make(tmp_path, rollouts, max_staleness=1, total=4)
    batches.take(0)
    ended = Event()

    def finished(timeout_s: float) -> list[tuple[int, Rollout]]:
        ended.set()
        return [(i, rollout(i, 0)) for i in sorted(rollouts.under_way) if rollouts.under_way.pop(i)]

    rollouts.finished = finished  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), batches.collecting():
        assert ended.wait(10)
        raise KeyboardInterrupt
    assert ledger.pending == [4, 5, 6, 7] == list(Ledger(tmp_path).pending)

    def broken(timeout_s: float) -> list[tuple[int, Rollout]]:
        ended.set()
        raise EngineError("gone")

    rollouts.finished = broken  # type: ignore[method-assign]
    ended.clear()
    with pytest.raises(EngineError, match="gone"), batches.collecting():
        assert ended.wait(10)


def test_a_run_that_goes_on_asks_for_the_missing_ones_only(tmp_path: Path) -> None:
    first = Scripted()
    batches, ledger = make(tmp_path, first)
    taken = batches.take(0)
    ledger.add([(index, rollout(index, 1)) for index in (6, 4)])  # then it was killed
    again = Scripted()
    batches, ledger = make(tmp_path, again)
    assert [r.seed for r in batches.take(0).rollouts] == [r.seed for r in taken.rollouts]
    assert again.asked == []
    taken = batches.take(1)
    assert again.asked == [5, 7] and taken.indices == (4, 5, 6, 7)
    assert [taken.rollouts[place].seed for place in (0, 2)] == [4, 6]
    assert batches.take(2).indices == (8, 9, 10, 11) and ledger.pending == []


def test_a_rollout_without_a_turn_is_of_the_present_policy(tmp_path: Path) -> None:
    batches, _ = make(tmp_path, Scripted(), max_staleness=1, steps=2)
    assert batches.staleness(rollout(0), 5) == 0
    assert batches.staleness(rollout(0, 9, 6), 5) == 2
