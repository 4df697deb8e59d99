"""A micro-batch must not wait for the device, and entropies are of a sample of micro-batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model
from torch.utils._python_dispatch import TorchDispatchMode

from rlef.learner import update
from rlef.learner.config import LearnerConfig
from rlef.learner.step_log import StepLog
from rlef.learner.update import LocalLearner
from rlef.study.imitation import ImitationLearner

CONFIG = LearnerConfig(lr=1e-3, minibatch=5, warmup_updates=0, micro_batch_tokens=24)
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")


class Counter(TorchDispatchMode):
    """Notes operations whose result Python, or the next one's shape, would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.startswith(WAITS):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_passes(learner: LocalLearner) -> Iterator[Counter]:
    """Counts from the moment a micro-batch is on its device to the next one."""
    counter, parts = Counter(), learner.parts

    def counted(*words: Any) -> Iterator[Any]:
        for part in parts(*words):
            with counter:
                yield part

    learner.parts = counted  # type: ignore[method-assign]
    yield counter


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"entropy_bonus": 0.1, "kl": "loss_k3", "importance": "decoupled"},
        {"advantage": "token_critic"},
        {"gradient_checkpointing": True},
    ],
    ids=["paper", "all in the loss", "token critic", "checkpointing"],
)
def test_passes_and_losses_wait_for_nothing(changes: dict[str, Any]) -> None:
    learner = LocalLearner(make_model(), CONFIG.model_copy(update=changes), seed=0)
    with counted_passes(learner) as counter:
        learner.update(make_batch(), steps=2)
    assert counter.seen == []


def test_imitation_waits_for_nothing() -> None:
    learner = ImitationLearner(make_model(), CONFIG, seed=0)
    with counted_passes(learner) as counter:
        learner.update(make_batch(), steps=2)
    assert counter.seen == []


def test_metrics_are_read_once_for_each_network_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = StepLog.read
    monkeypatch.setattr(StepLog, "read", lambda log: reads.append(1) or read(log))
    LocalLearner(make_model(), CONFIG, seed=0).update(make_batch(), steps=2)
    assert len(reads) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("ratio", ["token", "turn"])
def test_a_gpu_is_not_waited_for(ratio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.cuda`` itself says where Python waits."""
    config = CONFIG.model_copy(update={"precision": "bfloat16", "ratio": ratio})
    learner = LocalLearner(make_model().cuda(), config, seed=0)
    learner.update(make_batch(), steps=1)  # libraries load what they need, and wait
    parts = learner.parts

    def watched(*words: Any) -> Iterator[Any]:
        for part in parts(*words):
            torch.cuda.set_sync_debug_mode("error")
            yield part
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(learner, "parts", watched)
    try:
        learner.update(make_batch(), steps=2)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_entropies_are_of_every_nth_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"micro_batch_tokens": 1})  # a rollout each: five
    learner = LocalLearner(make_model(), config, seed=0)
    batch = make_batch()
    actions = batch.action_mask
    whole = learner.score(batch)
    assert not whole.entropy[actions].isnan().any()
    monkeypatch.setattr(update, "ENTROPY_EVERY", 2)
    counts = set()
    for learner.version in (3, 2, 1, 0):
        some = learner.score(batch)
        measured = ~(some.entropy.isnan() & actions).any(1)
        counts.add(int(measured.sum()))
    assert counts == {2, 3}  # of five, the first of which is drawn
    actions = actions & measured[:, None]
    assert torch.equal(some.entropy[actions], whole.entropy[actions])
    assert torch.equal(some.old_logprobs, whole.old_logprobs)
    found = learner.update(batch, steps=1)["entropy"]
    assert found == pytest.approx(float(whole.entropy[actions].mean()), rel=1e-5)


def test_a_new_critics_bias_may_be_the_mean_return() -> None:
    batch = make_batch()
    config = CONFIG.model_copy(update={"critic_bias": "mean_return", "beta": 0.0})
    learner = LocalLearner(make_model(), config, seed=0)
    weight = learner.critic.head.weight.clone()
    first = learner.update(batch, steps=1)
    # Rollouts of 3, 1, 2, 2, 1 turns earn -1, 1, 1, -1, -1, each after its last turn.
    assert first["return"] == pytest.approx((-3 + 1 + 2 - 2 - 1) / 9, abs=1e-6)
    assert first["value"] == pytest.approx(first["return"], abs=1e-5)
    plain = LocalLearner(make_model(), CONFIG.model_copy(update={"beta": 0.0}), seed=0)
    assert torch.equal(weight, plain.critic.head.weight)
    assert plain.update(batch, steps=1)["value"] != pytest.approx(first["return"], abs=0.1)
    assert learner.update(batch, steps=1)["value"] != first["value"]  # once only


def test_gaps_to_either_side() -> None:
    learner = LocalLearner(make_model(), CONFIG, seed=0)
    batch = make_batch()
    actions = batch.action_mask
    own = learner.score(batch).old_logprobs
    apart = torch.where(torch.arange(own.shape[1]) % 2 == 0, 0.2, -0.1) * actions
    batch = update.replace(batch, behavior_logprobs=own + apart)
    metrics = learner.update(batch, steps=1)
    found = apart[actions]
    assert metrics["logprob_gap"] == pytest.approx(float(found.abs().mean()), rel=1e-4)
    assert metrics["logprob_gap_signed"] == pytest.approx(float(found.mean()), rel=1e-4)
    weight = float((-found).exp().clamp(max=1).mean())
    assert metrics["fresh_weight"] == pytest.approx(weight, rel=1e-4)
