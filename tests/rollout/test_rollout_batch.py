from dataclasses import replace

import numpy as np
import pytest
import torch

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout, RolloutBatch


def make_rollout(
    turns: int,
    tail: int = 2,
    stop: StopReason = StopReason.TURN_LIMIT,
    first: int = 10,
    name: str = "p",
) -> Rollout:
    """Each turn has 3 prompt tokens and ``tail`` action tokens."""
    record = EpisodeRecord(
        problem=name, family=None, hidden_detail=None,
        turns=(TurnRecord(response="", program=None, public_verdicts=(), feedback=None),) * turns,
        stop=stop, solved=False, final_verdict=None,
    )  # fmt: skip
    turn_ids = [t if i >= 3 else -1 for t in range(turns) for i in range(3 + tail)]
    return Rollout(
        record=record,
        token_ids=np.arange(first, first + len(turn_ids), dtype=np.int32),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=np.array(turn_ids, np.int32),
        logprobs=np.array([-1.0 if t >= 0 else 0.0 for t in turn_ids], np.float32),
        prompt_ends=np.array([2 + (3 + tail) * t for t in range(turns)], np.int32),
        rewards=np.array((0.0,) * (turns - 1) + (-1.0,), np.float32),
        policy_versions=np.zeros(turns, np.int64),
        seed=0,
    )


def test_a_batch_by_hand() -> None:
    batch = RolloutBatch.from_rollouts([make_rollout(1), make_rollout(2, tail=1)], num_turns=3)
    assert batch.token_ids.tolist() == [
        [10, 11, 12, 13, 14, 0, 0, 0],
        [10, 11, 12, 13, 14, 15, 16, 17],
    ]
    assert batch.turn_ids.tolist() == [
        [-1, -1, -1, 0, 0, -1, -1, -1],
        [-1, -1, -1, 0, -1, -1, -1, 1],
    ]
    assert batch.sequence_ids.tolist() == [[0, 0, 0, 0, 0, -1, -1, -1], [0] * 8]
    assert batch.prompt_ends.tolist() == [[2, 0, 0], [2, 6, 0]]
    assert batch.turn_mask.tolist() == [[True, False, False], [True, True, False]]
    assert batch.rewards.tolist() == [[-1, 0, 0], [0, -1, 0]]
    assert batch.lengths.tolist() == [5, 8] and len(batch) == 2
    assert batch.action_mask.sum(1).tolist() == [2, 2]


def test_select_drops_columns_that_are_only_padding() -> None:
    batch = RolloutBatch.from_rollouts([make_rollout(1), make_rollout(3)], num_turns=3)
    part = batch.select(torch.tensor([0]))
    assert part.token_ids.shape == (1, 5) and part.turn_mask.shape == (1, 3)
    assert part.token_mask.all()


@pytest.mark.parametrize(
    "rollouts",
    [[], [make_rollout(1, stop=StopReason.INFRA_ERROR)], [make_rollout(2)]],
    ids=["none", "infrastructure", "turns"],
)
def test_what_cannot_be_trained_on_is_refused(rollouts: list[Rollout]) -> None:
    with pytest.raises(ValueError, match="allowed: 1"):
        RolloutBatch.from_rollouts(rollouts, num_turns=1)


def test_rollouts_of_one_problem_are_a_group() -> None:
    rollouts = [make_rollout(1, name=name) for name in ("b", "a", "b", "c", "a")]
    batch = RolloutBatch.from_rollouts(rollouts, num_turns=1)
    assert batch.groups.tolist() == [0, 1, 0, 2, 1]
    assert batch.select(torch.tensor([4, 1])).groups.tolist() == [1, 1]


def test_private_tokens_stand_in_front_of_each_sequence_for_the_critic_alone() -> None:
    two = replace(make_rollout(2), sequence_starts=np.array([0, 5], np.int32))
    one = make_rollout(1, first=30)
    told = two.behind([7, 8])
    assert told.token_ids.tolist() == [7, 8, *range(10, 15), 7, 8, *range(15, 20)]
    assert told.turn_ids.tolist() == [*[-1] * 5, 0, 0, *[-1] * 5, 1, 1]
    assert told.prompt_ends.tolist() == [4, 11] and told.sequence_starts.tolist() == [0, 7]
    assert told.logprobs.sum() == two.logprobs.sum() and told.token_ids.dtype == np.int32
    batch = RolloutBatch.from_rollouts([two, one], 3, [[7, 8], []])
    assert batch.token_ids.tolist()[0] == list(range(10, 20))
    assert batch.critic is not None
    assert batch.critic.token_ids.tolist()[1] == [*range(30, 35), *[0] * 9]
    assert batch.critic.prompt_ends.tolist() == [[4, 11, 0], [2, 0, 0]]
    assert batch.critic.sequence_ids.tolist()[0] == [0] * 7 + [1] * 7
    part = batch.select(torch.tensor([1])).to("cpu").without_actions()
    assert part.critic is not None and part.critic.token_ids.shape == (1, 5)
    assert not part.critic.turn_mask.any()
    assert RolloutBatch.from_rollouts([one], 3).select(torch.tensor([0])).critic is None
