"""The settings of the learner: what each changes, and that none of them breaks a step."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model, make_rollout, make_rollouts, slow_logprobs
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from rlef.algorithms import turn_kl_penalty, turn_sums
from rlef.learner.advantages import ADVANTAGES, Scored, at_turn_starts, rewards_less_penalty
from rlef.learner.attention import enable_packing
from rlef.learner.config import LearnerConfig
from rlef.learner.models import Critic, Policy
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch

BASE = {"lr": 1e-2, "minibatch": 5, "warmup_updates": 0, "beta": 0.5}
GROUPS = torch.tensor([0, 1, 0, 1, 0])
SETTINGS: list[dict[str, Any]] = [
    {"advantage": "token_critic"},
    {"advantage": "token_critic", "kl": "reward_token", "lam": 0.9, "normalize": "tokens"},
    {"advantage": "grpo", "kl": "loss_k3"},
    {"advantage": "dr_grpo", "kl": "none"},
    {"advantage": "rloo"},
    {"advantage": "reinforce++", "normalize": "turn_index"},
    {"normalize": "none"},
    {"advantage": "reinforce++", "kl": "reward_token"},
    {"ratio": "turn"},
    {"ratio": "turn", "importance": "decoupled"},
    {"ratio": "turn", "importance": "none"},
    {"ratio": "turn_mean", "clip": 3e-4, "clip_high": 4e-4},
    {"ratio": "cispo", "clip": 1.0, "clip_high": 4.0},
    {"importance": "decoupled", "importance_cap": 1.0},
    {"importance": "none", "kl": "loss_k2"},
    {"entropy_bonus": 0.1},
    {"target_kl": 1e-4},
    {"epochs": 2},
    {"critic_epochs": 3, "value_clip": None},
    {"critic_head_lr": 0.1},
    {"critic_head_lr": 0.1, "lora": {"rank": 2}},
    {"critic_warmup_updates": 1},
    {"critic_warmup_updates": 3},
    {"lora": {"rank": 2}},
    {"lora": {"rank": 2}, "advantage": "token_critic", "gradient_checkpointing": True},
    {"lora": {"rank": 2}, "advantage": "rloo", "kl": "none"},
    {"critic_lora": {"rank": 2}},
    {"critic_lora": {"rank": 2}, "kl": "none", "gradient_checkpointing": True},
    {"lora": {"rank": 2}, "critic_lora": {"rank": 3}},
    {"frozen_dtype": "bfloat16", "precision": "bfloat16"},
    {"frozen_dtype": "bfloat16", "precision": "bfloat16", "lora": {"rank": 2}},
    {"frozen_dtype": "bfloat16", "precision": "bfloat16", "critic_lora": {"rank": 2}},
]


def settings(**changes: Any) -> LearnerConfig:
    return LearnerConfig(**(BASE | changes))


def make_grouped() -> RolloutBatch:
    return replace(make_batch(), groups=GROUPS)


def trained(learner: LocalLearner) -> list[Tensor]:
    critic = [] if learner.critic is None else [*learner.critic.parameters()]
    return [p for p in [*learner.policy.parameters(), *critic] if p.requires_grad]


def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()))


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_every_setting_moves_the_weights_and_goes_on_exactly(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    config = settings(**changes)
    learner = LocalLearner(make_model(), config, seed=0, tokenizer=tokenizer())
    before = [p.detach().clone() for p in trained(learner)]
    metrics = learner.update(make_grouped(), steps=2)
    undefined = {key for key, value in metrics.items() if not math.isfinite(value)}
    assert undefined <= {"explained_variance/turn_3"}  # one rollout has a third turn
    assert any(not torch.equal(a, b) for a, b in zip(before, trained(learner), strict=True))
    learner.save(tmp_path)
    other = LocalLearner(make_model(), config, seed=0)
    other.restore(tmp_path)
    both = [one.update(make_grouped(), steps=2) | {"score_s": 0.0} for one in (learner, other)]
    assert str(both[0]) == str(both[1])  # NaN is not equal to itself
    assert other.version == learner.version == 4
    for a, b in zip(trained(learner), trained(other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("changes", [s for s in SETTINGS if "precision" not in s], ids=str)
def test_micro_batches_change_nothing(changes: dict[str, Any]) -> None:
    results = []
    for tokens in (1, 10_000):
        learner = LocalLearner(make_model(), settings(**changes, micro_batch_tokens=tokens), seed=0)
        learner.update(make_grouped(), steps=2)
        results.append(trained(learner))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


# --- critics ----------------------------------------------------------------------------------


def test_values_of_tokens_are_read_in_front_of_them() -> None:
    model, batch = make_model(), make_batch()
    per_turn = Critic(copy.deepcopy(model), seed=0)
    per_token = Critic(copy.deepcopy(model), seed=0, per_token=True)
    values = per_token(batch)
    for row, length in enumerate(batch.lengths.tolist()):
        for t in range(1, length):
            if batch.turn_ids[row, t] >= 0:
                states = model.base_model(input_ids=batch.token_ids[row : row + 1, :t])
                wanted = per_token.head(states.last_hidden_state[0, -1])[0]
                torch.testing.assert_close(values[row, t], wanted)
    assert (values[~batch.action_mask] == 0).all()
    torch.testing.assert_close(at_turn_starts(values, batch), per_turn(batch))


def test_a_critic_of_tokens_learns_its_returns() -> None:
    learner = LocalLearner(make_model(), settings(advantage="token_critic"), seed=0)
    found = [learner.update(make_batch(), steps=1) for _ in range(40)]
    assert found[-1]["explained_variance"] > 0.9 > found[0]["explained_variance"]
    assert found[-1]["explained_variance/turn_1"] > 0.9


@pytest.mark.parametrize("packs", [True, False])
def test_a_critic_that_sees_more_reads_it_in_front_and_the_policy_does_not(
    packs: bool,
) -> None:
    model, rollouts = make_model(), make_rollouts()
    assert not packs or enable_packing(model, "float32")
    private = [[5, 6, 7], [8], [], [9, 10], [11]]
    batch = RolloutBatch.from_rollouts(rollouts, 3, private)
    critic = Critic(copy.deepcopy(model), seed=0)
    values = critic(batch)
    for row, tokens in enumerate(private):
        for turn in range(int(batch.turn_mask[row].sum())):
            prompt = batch.token_ids[row, : int(batch.prompt_ends[row, turn]) + 1].tolist()
            states = model.base_model(input_ids=torch.tensor([tokens + prompt]))
            wanted = critic.head(states.last_hidden_state[0, -1])[0]
            torch.testing.assert_close(values[row, turn], wanted)
    assert (values[~batch.turn_mask] == 0).all()
    per_token = Critic(copy.deepcopy(model), seed=0, per_token=True)(batch)
    for row, t in batch.action_mask.nonzero().tolist():
        before = private[row] + batch.token_ids[row, :t].tolist()
        states = model.base_model(input_ids=torch.tensor([before]))
        wanted = critic.head(states.last_hidden_state[0, -1])[0]
        torch.testing.assert_close(per_token[row, t], wanted)
    assert (per_token[~batch.action_mask] == 0).all()
    policy = Policy(model)
    ours, theirs = policy(batch), policy(make_batch())
    assert torch.equal(ours.logprobs, theirs.logprobs)
    assert torch.equal(ours.entropy, theirs.entropy)


def test_what_only_the_critic_sees_explains_what_nothing_else_can() -> None:
    """Rollouts of equal tokens and other ends: other problems with the same statement."""
    rollouts = [make_rollout([(3, 2), (4, 3)], seed=1, solved=solved) for solved in (True, False)]
    found = []
    for private in (None, [[5], [7, 7]]):
        batch = RolloutBatch.from_rollouts(rollouts, 2, private)
        learner = LocalLearner(make_model(), settings(beta=0, micro_batch_tokens=1), seed=0)
        found.append([learner.update(batch, steps=2)["explained_variance"] for _ in range(30)][-1])
    assert found[0] < 0.01 and found[1] > 0.9


def test_the_head_of_a_critic_has_a_rate_of_its_own() -> None:
    """The first step of Adam is as long as the rate, whatever the gradient."""
    config = settings(critic_lr=1e-3, critic_head_lr=0.05, weight_decay=0, warmup_updates=2)
    learner = LocalLearner(make_model(), config, seed=0)
    before = copy.deepcopy(learner.critic)
    learner.update(make_batch(), steps=1)
    assert before is not None and learner.critic is not None
    for parts, rate in ((lambda c: c.head, 0.05), (lambda c: c.backbone.layers, 1e-3)):
        pairs = zip(parts(before).parameters(), parts(learner.critic).parameters(), strict=True)
        longest = max(float((a - b).abs().max().detach()) for a, b in pairs)
        assert longest == pytest.approx(rate / 2, rel=1e-3)


def test_only_the_critic_learns_in_its_warm_up() -> None:
    config = settings(critic_warmup_updates=3, warmup_updates=2)
    learner = LocalLearner(make_model(), config, seed=0)
    first = copy.deepcopy(learner.policy.state_dict())
    metrics = learner.update(make_batch(), steps=2)
    assert learner.policy_moved  # as far as it should
    assert metrics["policy_steps"] == 0 and "loss/policy" not in metrics
    assert metrics["loss/value"] > 0
    assert all(torch.equal(first[n], t) for n, t in learner.policy.state_dict().items())
    metrics = learner.update(make_batch(), steps=2)
    assert metrics["policy_steps"] == 1
    assert any(not torch.equal(first[n], t) for n, t in learner.policy.state_dict().items())
    # its own warm-up begins with its first step
    assert learner.policy_descent.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


@pytest.mark.parametrize("advantage", ["grpo", "dr_grpo", "rloo", "reinforce++"])
def test_without_a_critic_there_is_none(advantage: str) -> None:
    config = settings(advantage=advantage, kl="loss_k3")
    learner = LocalLearner(make_model(), config, seed=0)
    metrics = learner.update(make_grouped(), steps=1)
    assert learner.critic is None and learner.critic_descent is None
    assert not {"value", "return", "explained_variance", "loss/value"} & set(metrics)
    assert ("flat_groups" in metrics) == (advantage != "reinforce++")


def test_no_penalty_no_reference() -> None:
    learner = LocalLearner(make_model(), settings(kl="none"), seed=0)
    passes: list[object] = []
    learner.policy.register_forward_hook(lambda *_: passes.append(1))
    metrics = learner.update(make_batch(), steps=1)
    assert learner.reference is None and "kl" not in metrics
    assert len(passes) == 2


# --- credit -----------------------------------------------------------------------------------


def credit_inputs(seed: int = 0) -> tuple[RolloutBatch, Tensor, Tensor]:
    batch = make_grouped()
    generator = torch.Generator().manual_seed(seed)
    shape = batch.turn_ids.shape
    old, ref = (-2 * torch.rand(shape, generator=generator) for _ in range(2))
    mask = batch.action_mask
    return batch, old * mask, ref * mask


def assign_credit(
    config: LearnerConfig, batch: RolloutBatch, values: Tensor | None, old: Tensor, ref: Tensor
) -> tuple[Tensor, Tensor | None]:
    penalty = turn_kl_penalty(old, ref, batch.turn_ids, 3)
    scored = Scored(
        old_logprobs=old,
        entropy=old,
        ref_logprobs=ref,
        penalty=penalty,
        old_values=values,
        values_per_token=config.values_per_token,
    )
    rewards = rewards_less_penalty(config, batch, scored)
    return ADVANTAGES[config.advantage](config, batch, rewards, scored)


def test_token_rewards_add_up_to_those_of_turns() -> None:
    """With gamma = lambda = 1 and a critic that says 0, the first token's return is the turn's."""
    batch, old, ref = credit_inputs()
    by_token = settings(advantage="token_critic", kl="reward_token")
    _, tokens = assign_credit(by_token, batch, torch.zeros_like(old), old, ref)
    summed = batch.rewards - 0.5 * turn_sums(old - ref, batch.turn_ids, 3)
    whole = replace(batch, rewards=summed)
    _, turns = assign_credit(settings(kl="none"), whole, torch.zeros_like(summed), old, ref)
    assert tokens is not None and turns is not None
    torch.testing.assert_close(at_turn_starts(tokens, batch), turns)
    # within a turn, a token's return leaves out what the tokens before it have paid
    row, first = 1, int(batch.prompt_ends[1, 0]) + 1
    paid = 0.5 * (old - ref)[row, first]
    torch.testing.assert_close(tokens[row, first + 1], tokens[row, first] + paid)


def test_groups_are_compared_by_whole_episodes() -> None:
    batch, old, ref = credit_inputs()
    advantages, returns_ = assign_credit(settings(advantage="rloo"), batch, None, old, ref)
    assert returns_ is None
    penalty = turn_kl_penalty(old, ref, batch.turn_ids, 3)
    returns = [float((batch.rewards - 0.5 * penalty)[row].sum()) for row in range(5)]
    for row in range(5):
        others = [returns[i] for i in range(5) if GROUPS[i] == GROUPS[row] and i != row]
        wanted = returns[row] - sum(others) / len(others)
        found = advantages[row][batch.action_mask[row]]
        torch.testing.assert_close(found, torch.full_like(found, wanted))
    assert (advantages[~batch.action_mask] == 0).all()


@pytest.mark.parametrize(("normalize", "per_turn"), [("turns", True), ("tokens", False)])
def test_whitening_of_tokens_counts_turns_or_tokens(normalize: str, per_turn: bool) -> None:
    batch, old, ref = credit_inputs()
    config = settings(advantage="token_critic", normalize=normalize)
    values = torch.rand(old.shape, generator=torch.Generator().manual_seed(3)) * batch.action_mask
    advantages, _ = assign_credit(config, batch, values, old, ref)
    weights = torch.zeros_like(old)
    for row in range(len(batch)):
        for turn in range(3):
            here = batch.turn_ids[row] == turn
            if here.any():
                weights[row][here] = 1 / here.sum() if per_turn else 1.0
    assert float((weights * advantages).sum()) == pytest.approx(0, abs=1e-4)
    variance = (weights * advantages.square()).sum() / weights.sum()
    assert float(variance) == pytest.approx(1, abs=1e-4)


def test_without_whitening_advantages_are_returns_less_values() -> None:
    batch, old, ref = credit_inputs()
    values = 0.1 * torch.arange(15.0).view(5, 3) * batch.turn_mask
    advantages, returns = assign_credit(settings(normalize="none"), batch, values, old, ref)
    assert returns is not None
    torch.testing.assert_close(at_turn_starts(advantages, batch), returns - values)
    assert (advantages[~batch.action_mask] == 0).all()


@pytest.mark.parametrize("advantage", ["turn_critic", "token_critic", "reinforce++"])
def test_turns_are_whitened_among_those_of_their_index(advantage: str) -> None:
    batch, old, ref = credit_inputs()
    config = settings(advantage=advantage, normalize="turn_index")
    shape = old if config.values_per_token else batch.rewards
    values = torch.rand(shape.shape, generator=torch.Generator().manual_seed(3))
    found, _ = assign_credit(config, batch, values, old, ref)
    for turn in (0, 1):
        of_turns = [found[row][batch.turn_ids[row] == turn].double() for row in range(5)]
        of_turns = [one for one in of_turns if len(one)]
        mean = sum(float(one.mean()) for one in of_turns) / len(of_turns)
        assert mean == pytest.approx(0, abs=1e-5)
        square = sum(float(one.square().mean()) for one in of_turns) / len(of_turns)
        assert square == pytest.approx(1, abs=1e-5)


@given(st.sampled_from(["turn_critic", "token_critic", "reinforce++", "grpo"]))
def test_a_penalty_in_the_loss_or_none_leaves_rewards_alone(advantage: str) -> None:
    batch, old, ref = credit_inputs()
    values = {"turn_critic": torch.zeros_like(batch.rewards), "token_critic": torch.zeros_like(old)}
    found = [
        assign_credit(settings(advantage=advantage, kl=kl), batch, values.get(advantage), old, r)
        for kl, r in (("loss_k3", ref), ("none", old))
    ]
    assert torch.equal(found[0][0], found[1][0])


# --- the policy's loss ------------------------------------------------------------------------


def policy_gradient(
    config: LearnerConfig, monkeypatch: pytest.MonkeyPatch, shift: float = 0.02
) -> tuple[LocalLearner, list[Tensor]]:
    """The gradient of one step with policy and reference apart."""
    learner = LocalLearner(make_model(), config, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for p in learner.policy.parameters():
            p.add_(shift * torch.randn_like(p))
    for descent in (learner.policy_descent, learner.critic_descent):
        assert descent is not None
        monkeypatch.setattr(descent, "step", lambda version: 1.0)  # so that the gradient stays
    learner.update(make_grouped(), steps=1)
    return learner, [p.grad.clone() for p in learner.policy.parameters() if p.grad is not None]


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_penalty_in_the_loss_against_whole_logits(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plain = policy_gradient(settings(kl="none"), monkeypatch)
    learner, ours = policy_gradient(settings(kl=f"loss_{estimator}"), monkeypatch)
    learner.policy.zero_grad()
    batch = make_batch()
    now = slow_logprobs(learner.policy.model, batch, 1.0)
    assert isinstance(learner.reference, Policy)
    first = slow_logprobs(learner.reference.model, batch, 1.0).detach()
    d = (now - first)[batch.action_mask]
    terms = {"k2": d.square() / 2, "k3": (-d).exp() - 1 + d}[estimator]
    (0.5 * terms.mean()).backward()
    for a, b, p in zip(ours, plain, learner.policy.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(a, b + p.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bonus", [0.3, -0.2])
def test_entropy_bonus_against_whole_logits(bonus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plain = policy_gradient(settings(kl="none"), monkeypatch)
    learner, ours = policy_gradient(settings(kl="none", entropy_bonus=bonus), monkeypatch)
    learner.policy.zero_grad()
    batch, entropies = make_batch(), []
    for row, length in enumerate(batch.lengths.tolist()):
        logits = learner.policy.model(input_ids=batch.token_ids[row : row + 1, :length]).logits[0]
        logprobs = logits.log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        entropies += [entropy[t - 1] for t in range(1, length) if batch.turn_ids[row, t] >= 0]
    (-bonus * torch.stack(entropies).mean()).backward()
    for a, b, p in zip(ours, plain, learner.policy.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(a, b + p.grad, rtol=1e-3, atol=1e-5)


def test_an_entropy_bonus_spreads_the_policy_and_a_penalty_narrows_it() -> None:
    entropies = []
    for bonus in (-10.0, 0.0, 10.0):
        learner = LocalLearner(make_model(), settings(entropy_bonus=bonus), seed=0)
        found = [learner.update(make_batch(), steps=1)["entropy"] for _ in range(6)]
        entropies.append(found[-1])
    assert entropies[0] < entropies[1] < entropies[2]


def test_an_early_stop_spares_the_policy_and_not_the_critic() -> None:
    free = LocalLearner(make_model(), settings(), seed=0)
    assert free.update(make_batch(), steps=5)["policy_steps"] == 5
    learner = LocalLearner(make_model(), settings(target_kl=1e-9), seed=0)
    critic = copy.deepcopy(learner.critic)
    metrics = learner.update(make_batch(), steps=5)
    # the first step finds no divergence, the second one finds that of the first
    assert metrics["policy_steps"] == 1 and learner.version == 5
    assert critic is not None and learner.critic is not None
    assert not torch.equal(critic.head.weight, learner.critic.head.weight)
    assert all(p.grad is None for p in learner.policy.parameters())
