"""What an update tells of a few rollouts, against numbers worked out by hand."""

from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model, make_rollout, make_rollouts, slow_logprobs

from rlef.learner.advantages import Scored
from rlef.learner.config import LearnerConfig
from rlef.learner.scores import RolloutScores, first_scores
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.run.scores import SCORES
from rlef.train.score_rows import score_rows

# Two rollouts: 2 prompt and 2 action tokens, then 1 and 1; and 1 prompt token and 1 action token.
ROLLOUTS = [make_rollout([(2, 2), (1, 1)], seed=1), make_rollout([(1, 1)], seed=2)]
ACTIONS = torch.tensor([[0, 0, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0]]).bool()


def hand_scored(values: Any, *, per_token: bool, **more: Any) -> Scored:
    given = {
        "old_logprobs": torch.tensor([[9.0, 9, -1, -2, 9, -3], [9, -4, 0, 0, 0, 0]]),
        "entropy": torch.zeros(2, 6),
        "ref_logprobs": torch.tensor([[0.0, 0, -1.5, -2.5, 0, -3], [0, -5, 0, 0, 0, 0]]),
        "penalty": torch.tensor([[0.5, 0.0], [1.0, 0.0]]),
    }
    values = None if values is None else torch.tensor(values)
    returns = None if values is None else values + 1
    return Scored(**(given | more), old_values=values, returns=returns, values_per_token=per_token)


def told(scores: RolloutScores) -> dict[str, list[float] | None]:
    """Read as a reader of the file reads them."""
    (row,) = score_rows([7, 8], [scores], 4).to_pylist()
    assert (row.pop("index"), row.pop("update")) == (7, 4)
    return row


def test_scores_of_turns() -> None:
    batch = RolloutBatch.from_rollouts(ROLLOUTS, num_turns=2)
    assert batch.action_mask.equal(ACTIONS)
    advantages = torch.tensor([[0.0, 0, 0.1, 0.1, 0, -2], [0, 3, 0, 0, 0, 0]])
    scored = hand_scored([[0.25, 0.5], [0.75, 0.0]], per_token=False, advantages=advantages)
    first, second = first_scores(batch, scored, 32)
    assert told(first) == {
        "values": [0.25, 0.5],
        "returns": [1.25, 1.5],
        "advantages": [float(torch.tensor(0.1)), -2.0],  # of both tokens alike: to the bit
        "kl": [0.5, 0.0],
        "policy_logprobs": [0.0, 0.0, -1.0, -2.0, 0.0, -3.0],
        "ref_logprobs": [0.0, 0.0, -1.5, -2.5, 0.0, -3.0],
    }
    assert told(second) == {
        "values": [0.75],
        "returns": [1.75],
        "advantages": [3.0],
        "kl": [1.0],
        "policy_logprobs": [0.0, -4.0],
        "ref_logprobs": [0.0, -5.0],
    }
    assert first_scores(batch, scored, 0) == ()
    (alone,) = first_scores(batch, scored, 1)
    assert told(alone) == told(first)


def test_a_critic_of_tokens_is_told_at_the_first_token_of_each_turn() -> None:
    batch = RolloutBatch.from_rollouts(ROLLOUTS, num_turns=2)
    values = [[9.0, 9, 0.25, 0.75, 9, 0.5], [9, 1, 9, 9, 9, 9]]
    advantages = torch.tensor([[9.0, 9, 1, 2, 9, -2], [9, 3, 9, 9, 9, 9]])
    scored = hand_scored(values, per_token=True, advantages=advantages)
    found = [told(each) for each in first_scores(batch, scored, 2)]
    assert [each["values"] for each in found] == [[0.25, 0.5], [1.0]]
    assert [each["returns"] for each in found] == [[1.25, 1.5], [2.0]]
    assert [each["advantages"] for each in found] == [[1.5, -2.0], [3.0]]  # (1 + 2) / 2


def test_without_critic_or_reference_there_is_null() -> None:
    batch = RolloutBatch.from_rollouts(ROLLOUTS, num_turns=2)
    missing = {"ref_logprobs": None, "penalty": None}
    (first,) = first_scores(batch, hand_scored(None, per_token=False, **missing), 1)
    row = told(first)
    assert [name for name, value in row.items() if value is None] == [
        *("values", "returns", "advantages", "kl", "ref_logprobs")
    ]
    assert set(row) | {"index", "update"} == set(SCORES.names)


@pytest.mark.parametrize("changes", [{}, {"advantage": "rloo", "kl": "none"}], ids=["rlef", "rloo"])
def test_an_update_keeps_what_it_knew_before_it_learnt(changes: dict[str, Any]) -> None:
    config = LearnerConfig(**({"lr": 1e-2, "warmup_updates": 0, "normalize": "turns"} | changes))
    batch = make_batch()
    if changes:
        batch.groups.fill_(0)
    learner = LocalLearner(make_model(), config, 0, keep_scores=3)
    assert learner.scores() == ()
    before = slow_logprobs(make_model(), batch, 1.0)
    learner.update(batch, steps=2)
    scores = learner.scores()
    assert len(scores) == 3
    for row, (found, rollout) in enumerate(zip(scores, make_rollouts(), strict=False)):
        length, turns = len(rollout.token_ids), len(rollout.rewards)
        torch.testing.assert_close(torch.tensor(found.policy_logprobs), before[row, :length])
        assert found.advantages is not None and len(found.advantages) == turns
        if changes:
            assert found.values is found.returns is found.kl is found.ref_logprobs is None
            continue
        # the reference is the policy as it was: no KL, and a return is the last turn's reward
        assert found.kl is not None and abs(found.kl).max() < 1e-6
        assert found.values is not None and found.returns is not None
        assert found.returns.tolist() == pytest.approx([rollout.rewards[-1]] * turns, abs=1e-5)
    if changes:  # returns -1, 1, 1, -1, -1: each less the mean of the other four
        by_hand = [-1 - 0.0, 1 - (-0.5), 1 - (-0.5)]
        assert [float(one.advantages[-1]) for one in scores] == pytest.approx(by_hand)  # type: ignore[index]
