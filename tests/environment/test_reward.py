import pytest

from rlef.environment import EpisodeRecord, RewardConfig, StopReason, TurnRecord, turn_rewards

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
