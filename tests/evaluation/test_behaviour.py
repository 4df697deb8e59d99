import json
import math
from dataclasses import dataclass

import pytest
from episode_makers import AC, RE, TLE, WA, episode, infra, runs, turn
from hypothesis import given

from rlef.environment.types import EpisodeRecord, TurnRecord
from rlef.evaluation import episode_statistics
from rlef.evaluation.behaviour import Fixed, episode_behaviour

RECORDS = [
    episode("a", turn("aa", AC), solved=True),
    episode("a", turn("bb", WA), turn("bbcc", AC), solved=True),
    episode("a", turn("ee", WA), turn("ee", WA), turn("ff", AC), solved=True),
    episode("b", turn("gg", WA), turn("hhhh", RE), turn("hhhh", RE)),
    episode("b", turn("ii", TLE), turn(None), turn("jj", WA)),
    episode("b", turn("kk", RE), turn("ll", AC)),  # public passed, private not
    episode("b", turn("mm", AC)),
    infra("b"),
]


def test_transitions() -> None:
    assert episode_behaviour(RECORDS, 3).transitions == (
        {"RE": {"private": 1}, "TLE": {"invalid": 1}, "WA": {"RE": 1, "WA": 1, "solved": 1}},
        {"RE": {"RE": 1}, "WA": {"solved": 1}, "invalid": {"WA": 1}},
    )


def test_what_becomes_of_first_errors() -> None:
    assert episode_behaviour(RECORDS, 3).fixed == {
        "RE": Fixed(episodes=1, by_turn=(0, 0)),
        "TLE": Fixed(episodes=1, by_turn=(0, 0)),
        "WA": Fixed(episodes=3, by_turn=(1, 2)),
        "private": Fixed(episodes=1, by_turn=(0, 0)),
    }


def test_rates_and_lengths_by_turn() -> None:
    found = episode_behaviour(RECORDS, 3, count_tokens=lambda program: len(program) // 2)
    assert found.episodes == (7, 5, 3)
    assert found.invalid_rate == (0, 1 / 5, 0)
    assert found.repeated_rate == (1 / 4, 1 / 2)
    assert found.program_chars == pytest.approx((2, (4 + 2 + 4 + 2) / 4, 8 / 3))
    assert found.program_tokens == pytest.approx((1, 6 / 4, 4 / 3))
    assert found.response_chars == pytest.approx((4, (6 + 4 + 6 + 2 + 4) / 5, 14 / 3))
    assert all(map(math.isnan, found.response_tokens))
    assert all(map(math.isnan, episode_behaviour(RECORDS, 3).program_tokens))
    # bb to bbcc is a change in part; ee to ee none; the others have nothing in common.
    assert 2 / 4 < found.code_change[0] < 3 / 4
    assert found.code_change[1] == pytest.approx(1 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedTurn(TurnRecord):
    completion_tokens: int | None = None


def counted_turn(verdict: object, tokens: int | None) -> CountedTurn:
    return CountedTurn(
        response="r",
        program="p",
        public_verdicts=(verdict,),  # type: ignore[arg-type]
        feedback=None,
        completion_tokens=tokens,
    )


def test_tokens_as_sampled() -> None:
    records = [
        episode("p", counted_turn(WA, 10), counted_turn(AC, 5), solved=True),
        episode("p", counted_turn(WA, 20), counted_turn(WA, None)),
    ]
    first, second = episode_behaviour(records, 2).response_tokens
    assert first == 15
    assert math.isnan(second)


@given(runs(samples=8))
def test_sums_agree_with_the_statistics(records: list[EpisodeRecord]) -> None:
    found, statistics = episode_behaviour(records, 3), episode_statistics(records, 3)
    for cause, count in statistics.error_types_by_turn[0].items():
        assert found.fixed[cause].episodes == count
        assert list(found.fixed[cause].by_turn) == sorted(found.fixed[cause].by_turn)
    for i in range(2):
        arrived = [to for row in found.transitions[i].values() for to in row.items()]
        assert sum(count for _, count in arrived) == found.episodes[i + 1]
        for cause, count in statistics.error_types_by_turn[i + 1].items():
            assert sum(number for to, number in arrived if to == cause) == count
        solved = sum(number for to, number in arrived if to == "solved")
        before = sum(fixed.by_turn[i - 1] for fixed in found.fixed.values()) if i else 0
        assert sum(fixed.by_turn[i] for fixed in found.fixed.values()) == before + solved


def test_nothing_is_null() -> None:
    data = json.loads(json.dumps(episode_behaviour([infra("p")], 2).to_json(), allow_nan=False))
    assert data["episodes"] == [0, 0]
    assert data["transitions"] == [{}]
    assert data["fixed"] == {}
    assert data["code_change"] == [None]
    assert data["invalid_rate"] == data["program_chars"] == [None, None]
    assert episode_behaviour([episode("p")], 1).episodes == (0,)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="an episode has 3 turns, but turn_limit is 2"):
        episode_behaviour(RECORDS, 2)
    with pytest.raises(ValueError, match="turn_limit must be at least 1"):
        episode_behaviour(RECORDS, 0)
