import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model, slow_logprobs
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from rlef.engines import HFEngine, SamplingParams
from rlef.learner.config import LearnerConfig
from rlef.learner.models import Policy
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch, derive_seed

CONFIG = LearnerConfig(lr=1e-2, minibatch=5, warmup_updates=0, beta=0.5, lam=0.9, gamma=0.95)


def weights(learner: LocalLearner) -> list[Tensor]:
    return [*learner.policy.parameters(), *learner.critic.parameters()]


def slow_gradients(config: LearnerConfig) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of one step from the formulas, rollout by rollout and turn by turn."""
    policy, batch = make_model(), make_batch()
    learner = LocalLearner(policy, config, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():  # so that policy and reference differ
        for p in policy.parameters():
            p.add_(0.02 * torch.randn_like(p))
    logprobs = slow_logprobs(policy, batch, 1.0)
    reference = slow_logprobs(learner.reference.model, batch, 1.0).detach()
    values = learner.critic(batch)
    turns, advantages, returns = [], [], []
    for row in range(len(batch)):
        count = int(batch.turn_mask[row].sum())
        tokens = [batch.turn_ids[row] == t for t in range(count)]
        rewards = [
            float(batch.rewards[row, t])
            - config.beta * float((logprobs[row] - reference[row])[tokens[t]].detach().mean())
            for t in range(count)
        ]
        for t in range(count):
            later = [*values[row, :count].detach().tolist(), 0.0]
            total = sum(
                (config.gamma * config.lam) ** (i - t)
                * (rewards[i] + config.gamma * later[i + 1] - later[i])
                for i in range(t, count)
            )
            turns.append((row, t, tokens[t]))
            advantages.append(total)
            returns.append(total + later[t])
    whitened = torch.tensor(advantages)
    whitened = (whitened - whitened.mean()) / whitened.std(correction=0)
    policy_loss, value_loss, count = torch.zeros(()), torch.zeros(()), 0
    for (row, t, tokens), advantage, target in zip(turns, whitened, returns, strict=True):
        now, behavior = logprobs[row][tokens], batch.behavior_logprobs[row][tokens]
        ratio = (now - now.detach()).exp() * (now.detach() - behavior).exp().clamp(max=1)
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        policy_loss = policy_loss - torch.minimum(ratio * advantage, clipped * advantage).sum()
        value_loss = value_loss + 0.5 * (values[row, t] - target) ** 2
        count += int(tokens.sum())
    (policy_loss / count).backward()
    (value_loss / len(turns)).backward()
    found = [[p.grad.clone() for p in m.parameters()] for m in (policy, learner.critic)]
    return found[0], found[1]


@pytest.mark.parametrize("micro_batch_tokens", [1, 24, 10_000])
def test_gradients_equal_a_slow_reference(
    micro_batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"grad_clip": 1e9, "micro_batch_tokens": micro_batch_tokens})
    wanted = slow_gradients(config)
    policy = make_model()
    learner = LocalLearner(policy, config, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.02 * torch.randn_like(p))
    seen: list[list[Tensor]] = []
    for optimizer in (learner.policy_descent.optimizer, learner.critic_descent.optimizer):
        parameters = optimizer.param_groups[0]["params"]
        monkeypatch.setattr(
            optimizer,
            "step",
            lambda parameters=parameters: seen.append([p.grad.clone() for p in parameters]),
        )
    metrics = learner.update(make_batch(), steps=1)
    for ours, theirs in zip(seen, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    norm = torch.stack([g.norm() for g in wanted[0]]).norm()
    assert metrics["grad_norm/policy"] == pytest.approx(float(norm), rel=1e-4)


class SlowAdamW:
    """Loshchilov and Hutter 2019, algorithm 2, on one list of parameters."""

    def __init__(self, parameters: list[Tensor], lr: float, config: LearnerConfig) -> None:
        self.parameters, self.lr, self.config, self.steps = parameters, lr, config, 0
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]

    def step(self) -> None:
        self.steps += 1
        one, two = self.config.adam_beta1, self.config.adam_beta2
        squares = sum(float(p.grad.double().square().sum()) for p in self.parameters)
        scale = min(1.0, self.config.grad_clip / (squares**0.5 + 1e-6))
        with torch.no_grad():
            for p, (mean, square) in zip(self.parameters, self.moments, strict=True):
                gradient = p.grad * scale
                mean.mul_(one).add_((1 - one) * gradient)
                square.mul_(two).add_((1 - two) * gradient**2)
                corrected = mean / (1 - one**self.steps)
                root = (square / (1 - two**self.steps)).sqrt() + 1e-8
                p.mul_(1 - self.lr * self.config.weight_decay).sub_(self.lr * corrected / root)
                p.grad = None


def slow_update(
    policy: Any, reference: Any, critic: Any, optimizers: list[SlowAdamW],
    config: LearnerConfig, batch: RolloutBatch, minibatches: list[list[int]],
) -> set[str]:  # fmt: skip
    """Rollout by rollout, turn by turn, token by token; returns which of the clips took hold."""
    old = slow_logprobs(policy, batch, 1.0).detach()
    penalty = old - slow_logprobs(reference, batch, 1.0).detach()
    old_values = critic(batch).detach()
    advantages: dict[tuple[int, int], float] = {}
    returns: dict[tuple[int, int], float] = {}
    for row in range(len(batch)):
        last = int(batch.turn_mask[row].sum()) - 1
        gae, value_after = 0.0, 0.0
        for turn in range(last, -1, -1):
            tokens = batch.turn_ids[row] == turn
            reward = float(batch.rewards[row, turn] - config.beta * penalty[row][tokens].mean())
            value = float(old_values[row, turn])
            delta = reward + config.gamma * value_after - value
            gae = delta + config.gamma * config.lam * gae
            advantages[row, turn], returns[row, turn] = gae, gae + value
            value_after = value
    found = torch.tensor(list(advantages.values()), dtype=torch.float64)
    mean, deviation = float(found.mean()), float(found.std(correction=0))
    clips: set[str] = set()
    for rows in minibatches:
        now, values = slow_logprobs(policy, batch, 1.0), critic(batch)
        policy_loss, value_loss, tokens_seen, turns_seen = 0.0, 0.0, 0, 0
        for row in rows:
            for turn in range(int(batch.turn_mask[row].sum())):
                advantage = (advantages[row, turn] - mean) / deviation
                for t in (batch.turn_ids[row] == turn).nonzero()[:, 0].tolist():
                    inner, outer, behavior = 1.0, 1.0, batch.behavior_logprobs[row, t]
                    if config.importance == "whole":
                        weight = float((now[row, t] - behavior).detach().exp())
                        inner = min(1.0, weight)
                    else:
                        weight = float((old[row, t] - behavior).exp())
                        outer = min(config.importance_cap, weight)
                    if weight > inner * outer:
                        clips.add("weight")
                    ratio = inner * (now[row, t] - old[row, t]).exp()
                    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
                    if clipped * advantage < ratio * advantage:
                        clips.add("ratio")
                    surrogate = torch.minimum(ratio * advantage, clipped * advantage)
                    policy_loss = policy_loss - outer * surrogate
                    tokens_seen += 1
                v, was, goal = values[row, turn], float(old_values[row, turn]), returns[row, turn]
                near = v.clamp(was - config.value_clip, was + config.value_clip)
                if (near - goal) ** 2 > (v - goal) ** 2:
                    clips.add("value")
                value_loss = value_loss + 0.5 * torch.maximum((v - goal) ** 2, (near - goal) ** 2)
                turns_seen += 1
        (policy_loss / tokens_seen).backward()
        (value_loss / turns_seen).backward()
        for optimizer in optimizers:
            optimizer.step()
    return clips


def beside_a_slow_one(
    config: LearnerConfig,
) -> tuple[LocalLearner, tuple[Any, Any, Any, list[SlowAdamW]], RolloutBatch]:
    """A learner, the same as ``slow_update`` takes it, and a batch of about its own samples."""
    policy = make_model()
    learner = LocalLearner(policy, config, seed=3)
    slow_policy, slow_critic = copy.deepcopy(policy), copy.deepcopy(learner.critic)
    optimizers = [
        SlowAdamW(list(slow_policy.parameters()), config.lr, config),
        SlowAdamW(list(slow_critic.parameters()), config.critic_lr or config.lr, config),
    ]
    batch = make_batch()
    # but for noise: so weights are on both sides of 1
    noise = 0.3 * torch.randn(
        batch.behavior_logprobs.shape, generator=torch.Generator().manual_seed(0)
    )
    own = slow_logprobs(policy, batch, 1.0).detach()
    batch = replace(batch, behavior_logprobs=(own + noise).clamp(max=0) * batch.action_mask)
    return learner, (slow_policy, copy.deepcopy(policy), slow_critic, optimizers), batch


def drawn(version: int) -> list[int]:
    """The order of the pass that begins there."""
    generator = torch.Generator().manual_seed(derive_seed(3, "minibatches", version))
    return torch.randperm(5, generator=generator).tolist()


def equal(learner: LocalLearner, slow: tuple[Any, ...]) -> None:
    for ours, theirs in ((learner.policy.model, slow[0]), (learner.critic, slow[2])):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("importance", ["whole", "decoupled"])
@pytest.mark.parametrize("micro_batch_tokens", [24, 10_000])
def test_three_steps_and_three_more_equal_a_slow_reference(
    micro_batch_tokens: int, importance: str
) -> None:
    """Ratios leave their clip and values theirs, as weights move between the steps."""
    config = CONFIG.model_copy(
        update={
            **{"micro_batch_tokens": micro_batch_tokens, "critic_lr": 0.003, "lam": 0.9},
            **{"weight_decay": 0.1, "grad_clip": 1.0, "warmup_updates": 0, "value_clip": 0.02},
            **{"importance": importance, "importance_cap": 1.2},
        }
    )
    learner, slow, batch = beside_a_slow_one(config)
    for first in (0, 3):
        order = drawn(first)
        clips = slow_update(*slow, config, batch, [order[:2], order[2:4], order[4:]])
        assert clips == {"ratio", "value", "weight"}
        learner.update(batch, steps=3)
        equal(learner, slow)


def test_two_passes_equal_a_slow_reference() -> None:
    """What is old, and the advantages, stay those of the first pass; the order does not."""
    config = CONFIG.model_copy(update={"epochs": 2, "critic_lr": 0.003, "value_clip": 0.02})
    learner, slow, batch = beside_a_slow_one(config)
    for first in (0, 4):
        one, other = drawn(first), drawn(first + 2)
        assert one != other
        slow_update(*slow, config, batch, [one[:3], one[3:], other[:3], other[3:]])
        metrics = learner.update(batch, steps=4)
        assert metrics["policy_steps"] == 4 and learner.version == first + 4
        equal(learner, slow)
    with pytest.raises(ValueError, match="steps is 3; allowed: a multiple of 2 epochs"):
        learner.update(batch, steps=3)


def test_passes_of_the_critic_alone_leave_the_policy_and_the_clock() -> None:
    """A step on all rollouts does not depend on their order."""
    found = {}
    for name, changes, steps in (
        ("plain", {}, 1),
        ("both", {"epochs": 3}, 3),
        ("critic", {"critic_epochs": 3}, 1),
    ):
        config = CONFIG.model_copy(update={"value_clip": 10.0, **changes})
        found[name], _, batch = beside_a_slow_one(config)
        metrics = found[name].update(batch, steps)
        assert found[name].version == metrics["policy_steps"] == steps
    plain, both, critic = found.values()
    for a, b in zip(critic.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(critic.critic.parameters(), both.critic.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
    assert not torch.equal(critic.critic.head.weight, plain.critic.head.weight)


def test_micro_batches_do_not_change_an_update() -> None:
    results = []
    for tokens in (1, 10_000):
        config = CONFIG.model_copy(update={"micro_batch_tokens": tokens})
        learner = LocalLearner(make_model(), config, seed=0)
        learner.update(make_batch(), steps=2)
        results.append(weights(learner))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_reference_stays_and_the_critic_is_its_own() -> None:
    learner = LocalLearner(make_model(), CONFIG, seed=0)
    first = copy.deepcopy(learner.reference.state_dict())
    learner.update(make_batch(), steps=2)
    for name, tensor in learner.reference.state_dict().items():
        assert torch.equal(tensor, first[name])
    ours = dict(learner.policy.model.base_model.named_parameters())
    for name, tensor in learner.critic.backbone.named_parameters():
        assert tensor.data_ptr() != ours[name].data_ptr()
        assert not torch.equal(tensor, ours[name])


def test_one_step_makes_solved_rollouts_likelier_and_failed_ones_less_likely() -> None:
    config = CONFIG.model_copy(update={"beta": 0.0, "lr": 1e-3})
    learner = LocalLearner(make_model(), config, seed=0)
    torch.nn.init.zeros_(learner.critic.head.weight)
    batch = make_batch()
    solved = batch.rewards.sum(1) > 0
    before = slow_logprobs(learner.policy.model, batch, 1.0).detach()
    learner.update(replace(batch, behavior_logprobs=before), steps=1)
    gains = (slow_logprobs(learner.policy.model, batch, 1.0) - before).sum(1)
    assert gains[solved].min() > 0 > gains[~solved].max()


def test_the_critic_learns_the_returns() -> None:
    learner = LocalLearner(make_model(), CONFIG, seed=0)
    explained = [learner.update(make_batch(), steps=1)["explained_variance"] for _ in range(40)]
    assert explained[-1] > 0.9 > explained[0]


def test_warm_up_is_linear() -> None:
    learner = LocalLearner(make_model(), CONFIG.model_copy(update={"warmup_updates": 4}), seed=0)
    rates = []
    for _ in range(6):
        learner.update(make_batch(), steps=1)
        rates.append(learner.policy_descent.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


def test_the_learning_rate_falls_linearly_to_its_final_share() -> None:
    config = CONFIG.model_copy(update={"final_lr_share": 0.5})
    learner = LocalLearner(make_model(), config, seed=0, total_updates=4)
    rates = []
    for _ in range(6):
        learner.update(make_batch(), steps=1)
        rates.append(learner.policy_descent.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.00875, 0.0075, 0.00625, 0.005, 0.005])


def test_a_gradient_that_is_not_finite_is_skipped_and_counted() -> None:
    learner = LocalLearner(make_model(), CONFIG, seed=0)
    learner.update(make_batch(), steps=1)  # so that the optimizers have momentum
    before = [p.detach().clone() for p in weights(learner)]
    count = len(list(learner.policy.parameters()))
    moments = copy.deepcopy(learner.policy_descent.optimizer.state_dict())
    good = make_batch()
    spoiled = good.behavior_logprobs.where(~good.action_mask, torch.nan)
    metrics = learner.update(replace(good, behavior_logprobs=spoiled), steps=2)
    assert metrics["skipped_steps"] == 2 and metrics["policy_steps"] == 0
    assert "grad_norm/policy" not in metrics and metrics["grad_norm/critic"] > 0
    assert learner.version == 3 and not learner.policy_moved
    after = weights(learner)
    assert all(map(torch.equal, before[:count], after[:count]))
    assert not all(map(torch.equal, before[count:], after[count:]))
    found = learner.policy_descent.optimizer.state_dict()
    assert str(found["state"]) == str(moments["state"])
    metrics = learner.update(good, steps=2)  # two in a row are forgotten
    assert metrics["skipped_steps"] == 0 and metrics["policy_steps"] == 2
    assert not torch.equal(before[0], weights(learner)[0])
    assert learner.update(replace(good, behavior_logprobs=spoiled), steps=2)["skipped_steps"] == 2


def test_gradients_that_stay_not_finite_stop_the_run_and_name_the_update() -> None:
    learner = LocalLearner(make_model(), CONFIG, seed=0)
    with torch.no_grad():
        learner.policy.model.lm_head.weight.fill_(float("nan"))
    assert learner.update(make_batch(), steps=2)["skipped_steps"] == 4  # the KL penalty is NaN too
    with pytest.raises(
        FloatingPointError, match=r"^update 3: the gradient norm of the policy is nan, 3 times"
    ):
        learner.update(make_batch(), steps=1)


def test_more_steps_than_rollouts_leave_no_empty_minibatch() -> None:
    learner = LocalLearner(make_model(), CONFIG, seed=0)
    steps = []
    step = learner.policy_descent.optimizer.step
    learner.policy_descent.optimizer.step = lambda: steps.append(step())
    learner.update(make_batch().select(torch.tensor([0, 1])), steps=4)
    assert len(steps) == 2
    assert learner.version == 4  # the clock of the run goes by batches


def test_a_restored_learner_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()))
    learner = LocalLearner(make_model(), CONFIG, seed=0, tokenizer=tokenizer)
    learner.update(make_batch(), steps=2)
    learner.save(tmp_path)
    other = LocalLearner(make_model(), CONFIG, seed=0)
    other.restore(tmp_path)
    for one in (learner, other):
        one.update(make_batch(), steps=2)
    assert other.version == learner.version == 4
    for a, b in zip(weights(learner), weights(other), strict=True):
        assert torch.equal(a, b)


def test_bfloat16_products_leave_attention_in_float32(tmp_path: Path) -> None:
    exact, rounded = make_model(), make_model()
    engines = [HFEngine(model, stop_token_ids=(1,), max_context=32) for model in (exact, rounded)]
    learner = LocalLearner(rounded, replace_config(precision="bfloat16"), seed=0)
    seen: list[torch.dtype] = []
    layer = rounded.model.layers[0].self_attn
    layer.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    batch = make_batch()
    with torch.no_grad(), learner.autocast():
        found = Policy(rounded)(batch).logprobs
    assert seen == [torch.float32]
    assert torch.allclose(found, Policy(exact)(batch).logprobs, atol=0.05)
    assert not torch.equal(found, Policy(exact)(batch).logprobs)
    params = SamplingParams(temperature=1.0, max_new_tokens=8)
    prompts = [(5, 6, 7), (9, 4, 3, 8, 2)]
    ours, theirs = (engine.generate_batch(prompts, params, [1, 2]) for engine in engines)
    assert ours == theirs  # sampling is not touched
    rounded.save_pretrained(tmp_path)
    assert LlamaForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def replace_config(**changes: object) -> LearnerConfig:
    return CONFIG.model_copy(update=changes)


def test_automatic_precision_asks_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, dtype in (({"amx_bf16": True}, torch.bfloat16), ({}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        learner = LocalLearner(make_model(), replace_config(precision="auto"), seed=0)
        with learner.autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype is dtype
        assert learner.update(make_batch(), steps=1)["bfloat16"] == (dtype is torch.bfloat16)
