"""Solve rates that are shown on the way."""

import random
from collections.abc import Sequence

import pytest

from rlef.evaluation.progress import Progress, Tally

TURNS = (1, 3, 3, 3)
"""Of four episodes one is solved at turn 1; the others fail and take three turns."""


def by_end(turns: Sequence[int]) -> list[int]:
    """Places in the order in which episodes end that all begin at once: solved ones first."""
    return sorted(range(len(turns)), key=lambda place: turns[place])


def test_what_ends_first_does_not_raise_the_rate() -> None:
    turns = TURNS * 25
    tally = Tally("eval", 100)
    for place in by_end(turns)[:25]:
        tally.add([(place, turns[place] == 1)])
        assert tally.progress().rate() == ""  # all that have ended are solved: says nothing
    for place in by_end(turns)[25:]:
        tally.add([(place, turns[place] == 1)])
        progress = tally.progress()
        assert progress.rate() in (
            "",
            *(f"25.0 % of the first {n} solved" for n in (20, 40, 60, 80)),
            "25.0 % solved",
        )
    assert tally.progress().rate() == "25.0 % solved"


def test_any_rate_shown_is_of_episodes_chosen_beforehand() -> None:
    rng = random.Random(3)
    for _ in range(50):
        total = rng.randint(1, 30)
        solved = [rng.random() < 0.4 for _ in range(total)]
        sets = {total * part // 5 for part in range(1, 6)} - {0}
        tally = Tally("eval", total)
        for place in rng.sample(range(total), total):
            tally.add([(place, solved[place])])
            progress = tally.progress()
            assert progress.first in {0, *sets}
            assert progress.solved == sum(solved[: progress.first])
            assert progress.counted == progress.first
        assert (progress.first, progress.done) == (total, total)


def test_means_of_what_is_shown_are_the_true_rate() -> None:
    """Over many streams in which solved episodes end first, at every fifth."""
    rng = random.Random(5)
    shown: dict[int, list[float]] = {}
    ended: list[float] = []
    for _ in range(400):
        turns = [1 if rng.random() < 0.3 else 3 for _ in range(20)]
        times = [turn * rng.uniform(0.8, 1.2) + place // 8 for place, turn in enumerate(turns)]
        tally = Tally("eval", 20)
        done: list[bool] = []
        for place in sorted(range(20), key=times.__getitem__):
            tally.add([(place, turns[place] == 1)])
            done.append(turns[place] == 1)
            progress = tally.progress()
            if progress.first and len(shown.setdefault(progress.first, [])) <= _:
                shown[progress.first].append(progress.solved / progress.first)
        ended.append(sum(done[:6]) / 6)
    assert sum(ended) / 400 > 0.6  # the rate over what has ended
    for rates in shown.values():
        if len(rates) == 400:
            assert sum(rates) / 400 == pytest.approx(0.3, abs=0.02)
    assert len(shown[20]) == 400


def test_infrastructure_errors_do_not_count() -> None:
    tally = Tally("eval", 5)
    tally.add(enumerate([True, None, False, None, None]))
    assert tally.progress() == Progress(
        name="eval", done=5, total=5, new=5, first=5, solved=1, counted=2, solved_by_turn=(1,)
    )
    nothing = Tally("eval", 1)
    nothing.add([(0, None)])
    assert nothing.progress().rate() == ""


def test_rates_by_turn_are_of_the_same_first_episodes() -> None:
    tally = Tally("eval", 10)
    for place, turn in enumerate((1, 3, 0, None, 1, 2, 2)):
        tally.add([(place, turn)])
    progress = tally.progress()
    assert (progress.first, progress.solved, progress.counted) == (6, 4, 5)
    assert progress.solved_by_turn == (2, 3, 4)
    assert Tally("eval", 10).progress().solved_by_turn == ()


def test_a_run_that_goes_on_counts_what_is_there() -> None:
    tally = Tally("eval", 10)
    tally.add([(place, True) for place in range(4)], new=False)
    assert (tally.progress().new, tally.progress().rate()) == (0, "100.0 % of the first 4 solved")
    tally.add([(9, True)])
    assert (tally.progress().new, tally.progress().done, tally.progress().first) == (1, 5, 4)
