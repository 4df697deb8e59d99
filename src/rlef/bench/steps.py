"""What the optimizer steps of updates compute, and how long they take."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from rlef.learner.update import LocalLearner


@dataclass(slots=True)
class Passes:
    """Passes of a network with gradient.

    Attributes:
        lengths: tokens of each sequence.
        states: last hidden states that were needed.
        computed: tokens, padding included.
    """

    lengths: list[int] = field(default_factory=list)
    states: int = 0
    computed: int = 0


@dataclass(slots=True)
class Steps:
    """The optimizer steps of an update.

    Attributes:
        policy, critic: what each read, whatever it was for.
        seconds: from the end of the scores to the end of the update.
    """

    policy: Passes = field(default_factory=Passes)
    critic: Passes = field(default_factory=Passes)
    seconds: float = 0.0


def watch_steps(learner: LocalLearner) -> list[Steps]:
    """Returns a list that gets the steps of each update from here on.

    Networks are listened to, as which passes there are follows from many settings (epochs, warm-up,
    ``target_kl``, replay).
    """
    found: list[Steps] = []

    def note(name: str, _network: nn.Module, read: tuple[Any, ...]) -> None:
        if not torch.is_grad_enabled():  # scores
            return
        passes: Passes = getattr(found[-1], name)
        _, packed = read
        passes.lengths += packed.sequences.lengths
        passes.states += len(packed.states)
        passes.computed += packed.token_ids.numel()

    learner.policy.register_forward_pre_hook(partial(note, "policy"))
    if learner.critic is not None:
        learner.critic.register_forward_pre_hook(partial(note, "critic"))
    update = learner.update

    def timed(*args: Any, **words: Any) -> Any:
        found.append(Steps())
        started = time.perf_counter()
        metrics = update(*args, **words)
        if learner.policy.device.type == "cuda":
            torch.cuda.synchronize(learner.policy.device)
        found[-1].seconds = time.perf_counter() - started - metrics["score_s"]
        return metrics

    setattr(learner, "update", timed)  # noqa: B010
    return found
