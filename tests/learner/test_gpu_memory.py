"""On a GPU: the plan against the card's own count, and what rests off the device."""

import gc
from typing import Any

import pytest
import torch
from hand_batch import make_rollout
from test_plan import all_states, all_weights, tokens_of
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlef.learner.config import LearnerConfig
from rlef.learner.plan import LearnerPlan
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CONFIG = Qwen2Config(
    vocab_size=32000, hidden_size=512, intermediate_size=1536, num_hidden_layers=8,
    num_attention_heads=8, num_key_value_heads=2, tie_word_embeddings=True,
    max_position_embeddings=4096,
)  # fmt: skip
CASES: list[dict[str, Any]] = [
    {},
    {"gradient_checkpointing": True, "offload": "all"},
    {"critic_lora": {"rank": 8}},
    {"lora": {"rank": 8}, "gradient_checkpointing": True},
]


def make_learner(changes: dict[str, Any]) -> LocalLearner:
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(CONFIG)
    model.train(False)
    settings: dict[str, Any] = {
        "minibatch": 8, "micro_batch_tokens": 4096, "precision": "bfloat16",
        "advantage": "token_critic", "lr": 1e-4, "warmup_updates": 0,
    }  # fmt: skip
    return LocalLearner(model.to("cuda"), LearnerConfig(**settings | changes), seed=0)


def make_batch() -> RolloutBatch:
    rollouts = [make_rollout([(20, 500), (20, 480)], seed=i) for i in range(8)]
    return RolloutBatch.from_rollouts(rollouts, num_turns=2)


def peak_of(call: Any) -> int:
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_plan_is_what_the_card_counts(changes: dict[str, Any]) -> None:
    learner, batch = make_learner(changes), make_batch()
    learner.update(batch, steps=1)
    plan = LearnerPlan.of(CONFIG, learner.config, "cuda")
    policy, critic = learner.policy, learner.critic
    assert critic is not None
    most = learner.config.micro_batch_tokens
    phases = [
        plan.scoring(tokens_of(policy, batch, 2 * most)),
        plan.policy_step(tokens_of(policy, batch, most)),
        plan.critic_step(tokens_of(critic, batch, most)),
    ]
    planned = max(phase.total for phase in phases)
    counted = peak_of(lambda: learner.update(batch, steps=1))
    print(changes, "planned", planned, "counted", counted, planned / counted)
    assert planned == pytest.approx(counted, rel=0.1)
    scored = peak_of(lambda: learner.score(batch)) if learner.config.offload == "none" else None
    assert scored is None or phases[0].total == pytest.approx(scored, rel=0.1)


def test_what_rests_is_not_on_the_device() -> None:
    learners = [make_learner({"offload": offload}) for offload in ("none", "all")]
    batch = make_batch()
    for learner in learners:
        learner.update(batch, steps=2)
    stays, rests = learners
    assert all(s.is_cuda for s in all_states(stays))
    assert not any(s.is_cuda for s in all_states(rests) if s.ndim)
    assert all(s.is_pinned() for s in all_states(rests) if s.ndim)
    assert rests.reference is not None
    assert not any(p.is_cuda for p in rests.reference.parameters())
    assert all(p.is_cuda for p in all_weights(stays))
    before = [p.detach().clone() for p in rests.policy.parameters()]
    for state in all_states(rests):
        assert state.isfinite().all()
    rests.update(batch, steps=1)
    assert any(
        not torch.equal(a, b) for a, b in zip(before, rests.policy.parameters(), strict=True)
    )


def test_adamw_is_the_fused_one() -> None:
    learner = make_learner({})
    assert learner.policy_descent.optimizer.param_groups[0]["fused"]


def test_a_gradient_that_is_not_finite_is_skipped_on_the_device() -> None:
    learner, batch = make_learner({}), make_batch()
    learner.update(batch, steps=1)
    before = [p.detach().clone() for p in learner.policy.parameters()]
    next(learner.policy.parameters()).register_hook(lambda grad: grad * float("nan"))
    metrics = learner.update(batch, steps=1)
    assert metrics["skipped_steps"] == 1
    assert all(map(torch.equal, before, learner.policy.parameters()))
    assert learner.policy_descent.skipped_in_a_row == 1
