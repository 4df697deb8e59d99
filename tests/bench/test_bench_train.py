"""`rlef bench train` on a tiny recipe, and TRL beside it where it is."""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel
from trl_compare import trl

from rlef.bench.train import Setting, measure
from rlef.learner.flops import pass_cost
from rlef.learner.models import Critic, Policy
from rlef.learner.replay import deal_answers
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.train.loop import Trainer

TINY = (
    *("rollout.batch=8", "learner.minibatch=4", "rollout.max_new_tokens=24", "rollout.group=8"),
    "rollout.turn_limit=2",
)


@pytest.mark.slow
def test_phases_add_up() -> None:
    ((_, rows),) = measure(["phases"], Setting(words=TINY, batches=2))
    shares = [row.value for row in rows if row.unit == "%" and "share" in row.name]
    assert len(shares) == 6 and 90 < sum(shares) < 110 and min(shares) >= 0
    (rate,) = [row for row in rows if row.unit == "tokens/s"]
    assert rate.value > 0 and "batches of 8 rollouts" in rate.note
    named = {row.name: row for row in rows}
    assert named["useful tokens of those computed in the learner"].value == 100  # packed
    assert 0 < named["model FLOPs utilisation in the optimizer steps"].value < 100


@pytest.mark.slow
def test_what_is_counted_is_what_the_steps_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs, the critic's own ones, its warm-up, what it alone sees, and replayed answers."""
    words = ["learner.epochs=2", "learner.critic_epochs=3", "learner.critic_warmup_updates=6"]
    words += ["learner.critic_sees=reference", "learner.replay.answers=3"]
    wanted: list[Counter[object]] = []  # tokens, squares and states of each network, by batch
    counted: Counter[object] = Counter()
    update = LocalLearner.update

    def look(network: Policy | Critic, batch: RolloutBatch, times: int = 1) -> None:
        read = network.lay_out(batch)
        name = type(network).__name__
        wanted[-1][name, "tokens"] += times * sum(read.sequences.lengths)
        wanted[-1][name, "squares"] += times * sum(n**2 for n in read.sequences.lengths)
        wanted[-1][name, "logits"] += times * len(read.states) * (name == "Policy")

    def learn(
        self: LocalLearner, batch: RolloutBatch, steps: int, replay: RolloutBatch | None
    ) -> Any:
        wanted.append(Counter())
        assert steps == 4 and replay is not None and self.critic is not None
        minibatches = self.minibatches(batch, steps)
        answers = deal_answers(replay, steps, 3)
        for number in range(max(0, 6 - self.version), steps):
            look(self.policy, batch.select(minibatches[number].rows))
            again = answers[number]
            assert again is not None and len(again) == 3
            look(self.policy, again)
        look(self.critic, batch, times=3)
        return update(self, batch, steps, replay=replay)

    def count(model: PreTrainedModel, lengths: Sequence[int], logits: int) -> Any:
        name = "Policy" if hasattr(model, "lm_head") else "Critic"
        counted[name, "tokens"] += sum(lengths)
        counted[name, "squares"] += sum(n**2 for n in lengths)
        counted[name, "logits"] += logits
        return pass_cost(model, lengths, logits)

    monkeypatch.setattr(LocalLearner, "update", learn)
    monkeypatch.setattr("rlef.bench.train.pass_cost", count)
    monkeypatch.setattr("rlef.rollout.replay._is_repaired", lambda record: True)
    list(measure(["phases"], Setting(words=(*TINY, *words), batches=2)))
    _, *measured = wanted
    assert len(measured) == 2 and measured[0]["Policy", "tokens"] > 0
    assert counted == measured[0] + measured[1]


@pytest.mark.slow
def test_what_follows_the_steps_is_no_part_of_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_on = Trainer._hand_on_weights

    def slow(self: Trainer, metrics: dict[str, Any]) -> None:
        time.sleep(1)
        hand_on(self, metrics)

    monkeypatch.setattr(Trainer, "_hand_on_weights", slow)
    monkeypatch.setattr("rlef.bench.train.peak_flops", lambda *_: 1e9)
    needed: list[float] = []

    def count(*args: Any) -> Any:
        found = pass_cost(*args)
        needed.append(found.both)
        return found

    monkeypatch.setattr("rlef.bench.train.pass_cost", count)
    ((_, rows),) = measure(["phases"], Setting(words=TINY, batches=1))
    named = {row.name: row for row in rows}

    def seconds(part: str) -> float:
        return float(named[f"{part}, share of a batch's time"].note.removesuffix(" s"))

    assert seconds("rest of the update") >= 1
    reached = named["model FLOPs utilisation in the optimizer steps"].value / 100 * 1e9
    assert sum(needed) / reached == pytest.approx(seconds("optimizer steps"), abs=0.01)


@pytest.mark.slow
def test_no_shares_where_sampling_goes_on_in_updates() -> None:
    words = (*TINY, "rollout.max_staleness=1")
    ((_, rows),) = measure(["phases"], Setting(words=words, batches=2))
    named = {row.name: row for row in rows}
    (shares,) = (row for row in rows if "share" in row.name)
    used = named["model FLOPs utilisation in the optimizer steps"]
    for row in (shares, used):
        assert math.isnan(row.value) and row.met is None
        assert "rollout.max_staleness is 1" in row.note
    assert named["sampled tokens trained on"].value > 0


@pytest.mark.slow
def test_compiled_passes_stand_beside_eager_ones() -> None:
    ((_, (row,)),) = measure(
        ["compile"], Setting(words=("learner.micro_batch_tokens=512",), batches=1)
    )
    assert row.value > 0 and "512 tokens in" in row.note and row.met is None


@pytest.mark.slow
def test_memory_is_sampled_five_times() -> None:
    ((_, (row,)),) = measure(["memory"], Setting(steps=20))
    assert row.unit == "%" and math.isfinite(row.value)


@pytest.mark.slow
def test_a_large_vocabulary_is_never_whole() -> None:
    ((_, (row,)),) = measure(["vocabulary"], Setting())
    assert row.met


@pytest.mark.slow
def test_a_python_without_trl_is_one_line() -> None:
    (row,) = trl(Setting(words=TINY, batches=1), Path(sys.executable))
    assert math.isnan(row.value) and "No module named 'trl'" in row.note


@pytest.mark.slow
def test_beside_trl() -> None:
    python = os.environ.get("RLEF_TRL_PYTHON")
    if python is None:
        pytest.skip("RLEF_TRL_PYTHON is not set: no Python with TRL")
    (row,) = trl(Setting(words=TINY, batches=1), Path(python))
    assert row.value > 0
