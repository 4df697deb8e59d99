"""Feedback as a teacher: what the loss is, against whole logits, and that the policy learns it."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hand_batch import LESSONS, make_batch, make_lessons, make_model
from torch import Tensor, nn

from rlef.learner.advantages import Scored
from rlef.learner.config import LearnerConfig, TeacherSettings
from rlef.learner.models import ActionLogprobs
from rlef.learner.objective import Minibatch, policy_loss
from rlef.learner.teacher import TeacherTokens, cross_entropy
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch

BASE: dict[str, Any] = {"lr": 1e-2, "minibatch": 5, "warmup_updates": 0, "grad_clip": 1e9}
ALONE = BASE | {"advantage": "reinforce++", "kl": "none"}
TAUGHT, ACTIONS = 12, 24


def new_learner(**changes: Any) -> LocalLearner:
    config = LearnerConfig(**(BASE | {"teacher": {"weight": 2.0, "top": 4}} | changes))
    return LocalLearner(make_model(), config, seed=0)


def without_rewards() -> RolloutBatch:
    batch = make_batch()
    return replace(batch, rewards=torch.zeros_like(batch.rewards))


def slow_terms(policy: nn.Module, top: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Sums over all taught tokens of cross-entropy and KL divergence, from whole logits."""
    batch, lessons, teacher = make_batch(), make_lessons(), make_model()
    away, apart = torch.zeros(()), torch.zeros(())
    for number, (row, turn) in enumerate(LESSONS):
        answer = lessons.answers
        length = int(answer.lengths[number])
        theirs = teacher(input_ids=answer.token_ids[number : number + 1, :length]).logits[0]
        ours = policy(input_ids=batch.token_ids[row : row + 1]).logits[0]
        there = (answer.turn_ids[number] == 0).nonzero()[:, 0] - 1
        here = (batch.turn_ids[row] == turn).nonzero()[:, 0] - 1
        for i, j in zip(there.tolist(), here.tolist(), strict=True):
            q, ids = (theirs[i] / temperature).softmax(0).detach().topk(top)
            q = q / q.sum()
            logp = (ours[j] / temperature).log_softmax(0)[ids]
            away = away - (q * logp).sum()
            apart = apart + (q * (q.log() - logp)).sum()
    return away, apart


def test_one_taught_token_of_four_by_hand() -> None:
    """q = (3/4, 1/4), p = (1/2, 1/4): cross-entropy 5/4 ln 2, entropy 2 ln 2 - 3/4 ln 3."""
    logs = torch.tensor([[0.5, 0.25]]).log()
    q = torch.tensor([[0.0, 0.0], [0.75, 0.25]])
    one = cross_entropy(logs, q[1:])
    assert float(one) == pytest.approx(1.25 * math.log(2))
    batch = make_batch().select(torch.tensor([1]))  # 5 tokens of prompt, 4 of an answer
    places = torch.zeros((1, 9), dtype=torch.int64)
    places[0, 6] = 1
    teacher = TeacherTokens(places=places, ids=torch.zeros((2, 2), dtype=torch.int32), probs=q)
    zeros = torch.zeros((1, 9))
    now = ActionLogprobs(zeros, zeros, (places * one).float())
    old = Scored(
        old_logprobs=zeros, entropy=zeros, ref_logprobs=None, penalty=None, old_values=None,
        values_per_token=False, advantages=zeros, teacher=teacher,
    )  # fmt: skip
    config = LearnerConfig(**ALONE, teacher=TeacherSettings(weight=2.0))
    minibatch = Minibatch.of(batch, torch.tensor([0])).with_teacher(teacher)
    loss, metrics = policy_loss(config, batch, old, now, minibatch)
    assert minibatch.taught == 1
    assert float(loss) == pytest.approx(2 * 1.25 * math.log(2) / 4)
    apart = 1.25 * math.log(2) - (2 * math.log(2) - 0.75 * math.log(3))
    assert float(metrics["teacher_kl"]) == pytest.approx(apart)


def test_the_gradient_is_that_of_whole_logits() -> None:
    policy = make_model()
    away, apart = slow_terms(policy, top=4)
    (2.0 * away / ACTIONS).backward()
    norm = torch.stack([p.grad.norm() for p in policy.parameters() if p.grad is not None]).norm()
    for micro_batch_tokens in (1, 10_000):
        learner = new_learner(**ALONE, micro_batch_tokens=micro_batch_tokens)
        metrics = learner.update(without_rewards(), 1, make_lessons())
        assert metrics["taught_tokens"] == TAUGHT and metrics["action_tokens"] == ACTIONS
        assert metrics["loss/teacher"] == pytest.approx(away.item() / ACTIONS, rel=1e-4)
        assert metrics["teacher_kl"] == pytest.approx(apart.item() / TAUGHT, rel=1e-3)
        assert metrics["grad_norm/policy"] == pytest.approx(float(norm), rel=1e-4)
        assert "kl" not in metrics


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({}, 1e-4),
        ({"kl": "loss_k3", "advantage": "token_critic"}, 1e-4),
        ({"lora": {"rank": 2}}, 1e-4),
        ({"lora": {"rank": 2}, "kl": "none", "gradient_checkpointing": True}, 1e-4),
        ({"critic_lora": {"rank": 2}, "kl": "none"}, 1e-4),
        ({"precision": "bfloat16", "frozen_dtype": "bfloat16", "offload": "all"}, 0.05),
        ({"precision": "bfloat16", "lora": {"rank": 2}, "entropy_bonus": 0.1}, 0.05),
    ],
)
def test_any_networks_have_the_first_weights_as_a_teacher(
    changes: dict[str, Any], near: float
) -> None:
    learner = new_learner(**changes)
    away, _ = slow_terms(make_model(), top=4)
    metrics = learner.update(make_batch(), 2, make_lessons())
    assert metrics["policy_steps"] == 2 and metrics["skipped_steps"] == 0
    lessons = make_lessons()
    first = LocalLearner(make_model(), LearnerConfig(**BASE), seed=0).reference
    assert first is not None and learner.reference is not None
    packed = learner.policy.lay_out(lessons.answers)
    with learner.autocast():  # it stays where it is while the policy moves
        probs = learner.reference.likeliest(packed, 4)[1]
        torch.testing.assert_close(probs, first.likeliest(packed, 4)[1], rtol=near, atol=near)
    again = new_learner(**changes).update(make_batch(), 1, make_lessons())
    assert again["loss/teacher"] == pytest.approx(away.item() / ACTIONS, rel=near)


def test_the_policy_comes_nearer_to_the_teacher() -> None:
    learner = new_learner(**(ALONE | {"lr": 3e-3}))
    batch, lessons = without_rewards(), make_lessons()
    apart = [learner.update(batch, 1, lessons)["teacher_kl"] for _ in range(25)]
    assert apart[-1] < 0.3 * apart[0]


def test_without_lessons_a_batch_is_learnt_from_as_ever() -> None:
    taught, plain = new_learner(), new_learner(teacher=None)
    metrics, others = (one.update(make_batch(), 2) for one in (taught, plain))
    assert metrics.pop("taught_tokens") == 0 and metrics.keys() == others.keys()
    for x, y in zip(taught.policy.parameters(), plain.policy.parameters(), strict=True):
        assert x.equal(y)


def test_some_rows_of_a_teachers_tokens() -> None:
    places = torch.tensor([[0, 1, 2, 0], [0, 0, 0, 3], [4, 0, 5, 0]])
    ids = torch.arange(12, dtype=torch.int32).reshape(6, 2)
    probs = torch.cat([torch.zeros(1, 2), torch.rand(5, 2)])
    whole = TeacherTokens(places=places, ids=ids, probs=probs)
    part = whole.select(torch.tensor([2, 0]), 3)
    assert part.places.tolist() == [[1, 0, 2], [0, 3, 4]]
    assert part.ids.tolist() == ids[[0, 4, 5, 1, 2]].tolist()
    assert part.probs.equal(probs[[0, 4, 5, 1, 2]])
    found, chances = part.at(torch.tensor([2, 1, 4]))
    assert found.tolist() == ids[[5, 0, 1]].tolist() and chances.equal(probs[[5, 0, 1]])
    none = whole.select(torch.tensor([1]), 3)
    assert none.ids.tolist() == [[0, 1]] and not none.mask.any()
