"""Imitation of solved rollouts, against whole logits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model, slow_logprobs
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from rlef.learner.config import LearnerConfig
from rlef.study.imitation import ImitationLearner


def settings(**changes: Any) -> LearnerConfig:
    return LearnerConfig(**({"lr": 1e-2, "minibatch": 5, "warmup_updates": 0} | changes))


def test_imitation_is_of_the_last_answers_of_solved_rollouts() -> None:
    """Rollouts 1 and 2 are solved: 4 tokens of a first turn, 6 of a second."""
    learner = ImitationLearner(make_model(), settings(), seed=0)
    assert learner.critic is None and learner.reference is None
    batch, model = make_batch(), make_model()
    slow = slow_logprobs(model, batch, 1.0)
    last = torch.cat([slow[1][batch.turn_ids[1] == 0], slow[2][batch.turn_ids[2] == 1]])
    assert len(last) == 10
    (-last.mean()).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    metrics = learner.update(batch, steps=1)
    assert metrics["loss/policy"] == pytest.approx(-float(last.detach().mean()), rel=1e-5)
    assert metrics["grad_norm/policy"] == pytest.approx(float(norm), rel=1e-4)
    assert metrics["policy_steps"] == 1 and learner.version == 1 and learner.policy_moved
    assert "clipfrac" not in metrics and "explained_variance" not in metrics


def test_where_nothing_is_solved_nothing_is_learnt() -> None:
    learner = ImitationLearner(make_model(), settings(), seed=0)
    learner.update(make_batch(), steps=1)  # so that the optimizer has momentum
    before = [p.detach().clone() for p in learner.policy.parameters()]
    failed = replace(make_batch(), solved=torch.zeros(5, dtype=torch.bool))
    metrics = learner.update(failed, steps=1)
    assert metrics["policy_steps"] == 0 and "loss/policy" not in metrics
    assert learner.version == 2 and not learner.policy_moved
    for a, b in zip(before, learner.policy.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("changes", [{}, {"lora": {"rank": 2}}], ids=str)
def test_it_goes_on_exactly_and_micro_batches_change_nothing(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()))
    learner = ImitationLearner(make_model(), settings(**changes), seed=0, tokenizer=tokenizer)
    first = [p.detach().clone() for p in learner.policy.parameters()]
    learner.update(make_batch(), steps=2)
    learner.save(tmp_path)
    other = ImitationLearner(make_model(), settings(**changes), seed=0)
    other.restore(tmp_path)
    cut = ImitationLearner(make_model(), settings(**changes, micro_batch_tokens=1), seed=0)
    cut.update(make_batch(), steps=2)
    for one in (learner, other, cut):
        one.update(make_batch(), steps=2)
    assert not all(map(torch.equal, first, learner.policy.parameters()))
    for a, b in zip(learner.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(learner.policy.parameters(), cut.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
