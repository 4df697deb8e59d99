"""Rollouts that are really some updates old: which correction brings their gradient back.

The policy is a table: logits of each of 4 tokens given the place and the token before, 4 tokens
per answer. All 256 answers can be counted, so gradients are expectations, not estimates: what is
left between two of them is the bias of a correction.
"""

import itertools

import pytest
import torch
from torch import Tensor

from rlef.algorithms import Importance, normalize_advantages, ppo_policy_loss

TOKENS, LENGTH = 4, 4
ANSWERS = torch.tensor(list(itertools.product(range(TOKENS), repeat=LENGTH)))
MASK = torch.ones(ANSWERS.shape, dtype=torch.bool)
AGES = (1, 2, 4, 8)
WAYS: tuple[Importance, ...] = ("none", "whole", "decoupled")
SEEDS = 20


def logprobs(table: Tensor, answers: Tensor) -> Tensor:
    """(N, LENGTH) of each token given the one before; the first follows token 0."""
    before = torch.nn.functional.pad(answers[:, :-1], (1, 0))
    return table.log_softmax(-1)[torch.arange(LENGTH), before, answers]


def step(table: Tensor, rewards: Tensor, lr: float, generator: torch.Generator) -> Tensor:
    """A real update: 256 answers of the policy, whitened rewards, a step of length ``lr``."""
    chances = logprobs(table, ANSWERS).sum(1).exp()
    rows = torch.multinomial(chances, 256, replacement=True, generator=generator)
    earned = rewards[rows][:, None]
    advantages = normalize_advantages(earned, torch.ones_like(earned, dtype=torch.bool))
    leaf = table.clone().requires_grad_()
    now = logprobs(leaf, ANSWERS[rows])
    old = now.detach()
    mask = MASK[:1].expand_as(now)
    ppo_policy_loss(now, old, old, advantages.expand_as(now), mask).loss.backward()
    assert leaf.grad is not None
    return table - lr * leaf.grad / leaf.grad.norm()


def expected_gradient(
    table: Tensor, sampler: Tensor, rewards: Tensor, importance: Importance
) -> Tensor:
    """Of the loss at the start of an update, on answers of another policy."""
    chances = logprobs(sampler, ANSWERS).sum(1).exp()
    advantages = rewards - (chances * rewards).sum()  # less the mean of what was sampled
    leaf = table.clone().requires_grad_()
    now = logprobs(leaf, ANSWERS)
    expected = (advantages * chances)[:, None].expand_as(now)
    behavior = logprobs(sampler, ANSWERS)
    ppo_policy_loss(
        now, now.detach(), behavior, expected, MASK, denominator=1.0, importance=importance
    ).loss.backward()
    assert leaf.grad is not None
    return leaf.grad


def measure(seed: int, lr: float = 0.1) -> Tensor:
    """(ages, ways, 2): distance to the fresh gradient over its length, and the cosine with it."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(len(ANSWERS), generator=generator, dtype=torch.float64) * 2 - 1
    table = torch.randn(LENGTH, TOKENS, TOKENS, generator=generator, dtype=torch.float64)
    tables = [table]
    for _ in range(max(AGES)):
        tables.append(step(tables[-1], rewards, lr, generator))
    now = tables[-1]
    fresh = expected_gradient(now, now, rewards, "none").flatten()
    rows = []
    for age in AGES:
        for way in WAYS:
            found = expected_gradient(now, tables[-1 - age], rewards, way).flatten()
            cosine = torch.nn.functional.cosine_similarity(found, fresh, dim=0)
            rows.append([float((found - fresh).norm() / fresh.norm()), float(cosine)])
    return torch.tensor(rows).reshape(len(AGES), len(WAYS), 2)


@pytest.fixture(scope="module")
def biases() -> Tensor:
    """(seeds, ages, ways, 2)"""
    return torch.stack([measure(seed) for seed in range(SEEDS)])


def test_the_decoupled_gradient_is_nearer_to_the_fresh_one_at_every_age(biases: Tensor) -> None:
    none, decoupled = biases[:, :, 0], biases[:, :, 2]
    distance, cosine = decoupled.mean(0).T
    assert (distance < 0.92 * none.mean(0)[:, 0]).all()
    assert (1 - cosine < 0.8 * (1 - none.mean(0)[:, 1])).all()
    # 15 of 20 seeds or more: by chance one time in 50
    assert ((decoupled[..., 0] < none[..., 0]).sum(0) >= 15).all()
    assert ((decoupled[..., 1] > none[..., 1]).sum(0) >= 15).all()
    # the older, the farther off, corrected or not
    assert (biases.mean(0)[..., 0].diff(dim=0) > 0).all()


def test_the_papers_gradient_is_nearer_while_its_weights_stay_within_the_clip(
    biases: Tensor,
) -> None:
    """From age 4 on, weights of some bad tokens are below 0.8, and these are no longer pushed."""
    cosines = biases[..., 1]
    nearer = (cosines[:, :, 1] > cosines[:, :, 0]).sum(0).tolist()
    assert nearer[0] >= 15 and nearer[1] >= 15  # one and two updates old
    assert nearer[3] == 0  # eight
    none, whole, decoupled = cosines.mean(0)[3].tolist()
    assert whole < 0.75 and none > 0.95 and decoupled > 0.97


def test_fresh_rollouts_need_no_correction() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards = torch.rand(len(ANSWERS), generator=generator, dtype=torch.float64)
    table = torch.randn(LENGTH, TOKENS, TOKENS, generator=generator, dtype=torch.float64)
    found = [expected_gradient(table, table, rewards, way) for way in WAYS]
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
