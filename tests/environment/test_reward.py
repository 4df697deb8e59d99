import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlef.environment import EpisodeRecord, RewardConfig, StopReason, TurnRecord, turn_rewards
from rlef.environment.reward import potential_differences, public_share
from rlef.sandbox import Verdict

CODE = TurnRecord(response="", program="a", public_verdicts=(), feedback="f")
TALK = TurnRecord(response="", program=None, public_verdicts=(), feedback="f")


def record(
    *turns: TurnRecord, solved: bool = False, stop: StopReason = StopReason.TURN_LIMIT
) -> EpisodeRecord:
    return EpisodeRecord(
        problem="p", family=None, hidden_detail=None, turns=turns, stop=stop, solved=solved,
        final_verdict=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("turns", "solved", "rewards"),
    [
        ((CODE,), True, (1.0,)),
        ((CODE,), False, (-1.0,)),
        ((CODE, CODE, CODE), True, (0.0, 0.0, 1.0)),
        ((CODE, TALK, CODE), True, (0.0, -0.2, 1.0)),
        ((TALK, TALK, CODE), False, (-0.2, -0.2, -1.0)),
        ((CODE, TALK), False, (0.0, -1.0)),
        ((TALK,), False, (-1.0,)),
        ((), False, ()),
    ],
)
def test_the_papers_rewards(
    turns: tuple[TurnRecord, ...], solved: bool, rewards: tuple[float, ...]
) -> None:
    assert turn_rewards(record(*turns, solved=solved)) == rewards


def test_other_rewards() -> None:
    config = RewardConfig(solved=2.0, failed=0.0, invalid=-0.5)
    assert turn_rewards(record(TALK, CODE, solved=True), config) == (-0.5, 2.0)
    assert turn_rewards(record(TALK, CODE), config) == (-0.5, 0.0)


def test_an_infrastructure_error_is_neither_right_nor_wrong() -> None:
    assert turn_rewards(record(TALK, CODE, stop=StopReason.INFRA_ERROR)) == (-0.2, 0.0)


def test_a_context_limit_is_a_failure() -> None:
    assert turn_rewards(record(CODE, stop=StopReason.CONTEXT_LIMIT)) == (-1.0,)


def tried(passed: int, of: int) -> TurnRecord:
    verdicts = (Verdict.AC,) * passed + (Verdict.WA,) * (of - passed)
    return TurnRecord(response="", program="a", public_verdicts=verdicts, feedback="f")


@pytest.mark.parametrize(
    ("share", "solved", "rewards"),
    [
        (1.0, True, (-0.2, 1.0)),
        (0.75, False, (-0.2, 0.5)),  # -1 + 0.75 * 2
        (0.0, False, (-0.2, -1.0)),
    ],
)
def test_graded_by_the_share_of_tests(
    share: float, solved: bool, rewards: tuple[float, ...]
) -> None:
    episode = replace(record(TALK, CODE, solved=solved), passed_share=share)
    assert turn_rewards(episode, RewardConfig(graded=True)) == rewards


def test_graded_needs_the_share() -> None:
    with pytest.raises(ValueError, match="the record on 'p' lacks passed_share"):
        turn_rewards(record(CODE), RewardConfig(graded=True))
    broken = record(CODE, stop=StopReason.INFRA_ERROR)
    assert turn_rewards(broken, RewardConfig(graded=True)) == (0.0,)


@pytest.mark.parametrize(
    ("turns", "solved", "last"),
    [(1, True, 1.0), (2, True, 0.6), (3, True, 0.28), (3, False, -1.0)],
)
def test_discounted_by_turn(turns: int, solved: bool, last: float) -> None:
    # -1 + 0.8 ** (turns - 1) * 2: a late success is still better than a failure
    rewards = turn_rewards(record(*[CODE] * turns, solved=solved), RewardConfig(discount=0.8))
    assert rewards == pytest.approx((*[0.0] * (turns - 1), last))


def test_potential_differences_by_hand() -> None:
    turns = (tried(1, 4), TALK, tried(3, 4))
    # 0.5 * (0.25, -0.25, 0.75) on top of (0, -0.2, -1)
    rewards = turn_rewards(record(*turns), RewardConfig(potential=0.5))
    assert rewards == pytest.approx((0.125, -0.325, -0.625))


def test_a_program_that_failed_before_is_told_apart() -> None:
    config = RewardConfig(repeated=-0.3)
    a, b = (replace(tried(1, 4), program=name) for name in "ab")
    passed = replace(tried(4, 4), program="a")
    assert turn_rewards(record(a, a, a), config) == (0.0, -0.3, -1.3)
    assert turn_rewards(record(a, b, a), config) == (0.0, 0.0, -1.3)
    assert turn_rewards(record(TALK, TALK, a), config) == (-0.2, -0.2, -1.0)
    assert turn_rewards(record(CODE, CODE), config) == (0.0, -1.0)  # no public test failed
    # told nothing, an episode goes on behind a program that passed, and may well repeat it
    assert turn_rewards(record(passed, passed, passed, solved=True), config) == (0.0, 0.0, 1.0)
    lost = record(a, a, stop=StopReason.INFRA_ERROR)
    assert turn_rewards(lost, config) == (0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=6))
def test_potential_differences_telescope(counts: list[tuple[int, int]]) -> None:
    turns = [tried(min(passed, of), of) for passed, of in counts]
    shares = [public_share(turn) for turn in turns]
    assert sum(potential_differences(shares)) == pytest.approx(shares[-1])
    plain = turn_rewards(record(*turns))
    shaped = turn_rewards(record(*turns), RewardConfig(potential=0.3))
    assert sum(shaped) - sum(plain) == pytest.approx(0.3 * shares[-1])


@pytest.mark.parametrize(
    "words", [{"discount": 1.5}, {"discount": -0.1}, {"potential": -1.0}, {"repeated": 0.1}]
)
def test_numbers_out_of_range(words: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=rf"{next(iter(words))}\n.*(greater|less) than or equal to [01] "
    ):
        RewardConfig(**words)


@pytest.mark.parametrize("name", ["solved", "failed", "invalid", "repeated", "potential"])
def test_rewards_are_finite(name: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=rf"{name}\n  Input should be "):
            RewardConfig(**{name: value})
