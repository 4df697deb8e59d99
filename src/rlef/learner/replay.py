"""Solved answers that are learnt once more, beside each minibatch: see ``ReplaySettings``."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from rlef.algorithms import sft_loss
from rlef.learner.models import Policy
from rlef.learner.ranks import Ranks
from rlef.learner.step_log import StepLog
from rlef.rollout import RolloutBatch


def deal_answers(answers: RolloutBatch | None, steps: int, each: int) -> list[RolloutBatch | None]:
    """Returns what optimizer steps imitate, ``each`` at most; ``None``: nothing."""
    if answers is None:
        return [None] * steps
    pieces = torch.arange(min(len(answers), steps * each)).tensor_split(steps)
    return [answers.select(rows) if len(rows) else None for rows in pieces]


def imitate(
    policy: Policy,
    answers: RolloutBatch,
    weight: float,
    log: StepLog,
    *,
    micro_batch_tokens: int,
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
) -> None:
    """Adds the gradient of weight * mean negative log-probability to the policy's.

    Args:
        policy: Its gradients are added to.
        answers: On the CPU.
        weight: Of the mean over all their action tokens.
        log: Hears of ``loss/replay``, the mean itself, in nats per token.
        micro_batch_tokens: Of a pass.
        ranks: Over which micro-batches are dealt out.
        autocast: In which passes run.
    """
    tokens = answers.action_mask.sum()
    groups = policy.lay_out(answers).groups(micro_batch_tokens, ranks.size)
    for places, counts in ranks.deal(groups):
        part = answers.select(torch.tensor(places))
        packed = policy.lay_out(part).to(policy.device)
        part = (part if counts else part.without_actions()).to(policy.device)
        with autocast():
            now = policy(part, packed).logprobs
        loss = sft_loss(now, part.action_mask, tokens)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        log.add({"loss/replay": loss})
