"""Solved answers that are learnt once more: the gradient, against whole logits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model, make_rollouts, slow_logprobs

from rlef.learner.config import LearnerConfig
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.rollout.replay import solved_answers

BASE: dict[str, Any] = {"lr": 1e-2, "minibatch": 5, "warmup_updates": 0, "grad_clip": 1e9}
ALONE = BASE | {"advantage": "reinforce++", "kl": "none"}


def new_learner(**changes: Any) -> LocalLearner:
    config = LearnerConfig(**(BASE | {"replay": {"weight": 2.0}} | changes))
    return LocalLearner(make_model(), config, seed=0)


def without_rewards() -> RolloutBatch:
    batch = make_batch()
    return replace(batch, rewards=torch.zeros_like(batch.rewards))


def make_replay() -> RolloutBatch:
    """Answers of 6, 6, 2 and 1 tokens."""
    rollouts = make_rollouts()
    everything = [replace(one, record=replace(one.record, solved=True)) for one in rollouts]
    return RolloutBatch.from_rollouts(
        solved_answers([rollouts[2], *everything[1:4], everything[0]]), 3
    )


def test_the_gradient_is_that_of_whole_logits() -> None:
    replay = make_replay()
    tokens = int(replay.action_mask.sum())
    policy = make_model()
    loss = -slow_logprobs(policy, replay, 1.0).sum() / tokens
    (2.0 * loss).backward()
    norm = torch.stack([p.grad.norm() for p in policy.parameters() if p.grad is not None]).norm()
    for micro_batch_tokens in (1, 10_000):
        learner = new_learner(**ALONE, micro_batch_tokens=micro_batch_tokens)
        metrics = learner.update(without_rewards(), 1, replay=replay)
        assert metrics["loss/replay"] == pytest.approx(loss.item(), rel=1e-4)
        assert metrics["grad_norm/policy"] == pytest.approx(float(norm), rel=1e-4)
        assert metrics["loss/policy"] == 0


@torch.no_grad()
def mean_nll(part: RolloutBatch) -> float:
    return -float(slow_logprobs(make_model(), part, 1.0).sum() / part.action_mask.sum())


def test_steps_share_the_answers_in_order() -> None:
    learner, replay = new_learner(lr=1e-9), make_replay()
    metrics = learner.update(make_batch(), 2, replay=replay)
    means = [mean_nll(replay.select(torch.arange(*ends))) for ends in ((0, 2), (2, 4))]
    assert metrics["loss/replay"] == pytest.approx(sum(means) / 2, rel=1e-4)
    one = replay.select(torch.tensor([3]))
    fewer = new_learner(lr=1e-9).update(make_batch(), 2, replay=one)
    assert fewer["loss/replay"] == pytest.approx(mean_nll(one), rel=1e-4)
    assert fewer["policy_steps"] == 2


@pytest.mark.parametrize(
    "changes",
    [{"lora": {"rank": 2}}, {"precision": "bfloat16"}, {"ratio": "turn", "entropy_bonus": -0.2}],
)
def test_answers_become_likelier(changes: dict[str, Any]) -> None:
    learner, replay = new_learner(**({"lr": 3e-3} | changes)), make_replay()
    found = [learner.update(make_batch(), 1, replay=replay)["loss/replay"] for _ in range(20)]
    assert found[-1] < 0.5 * found[0]


def test_without_answers_a_batch_is_learnt_from_as_ever() -> None:
    learners = new_learner(), new_learner(replay=None)
    metrics, others = (one.update(make_batch(), 2) for one in learners)
    assert "loss/replay" not in metrics and metrics.keys() == others.keys()
    ours, theirs = (one.policy.model.state_dict() for one in learners)
    assert all(ours[name].equal(theirs[name]) for name in ours)
