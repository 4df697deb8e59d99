"""Every setting of the algorithm and its controls, from recipe to checkpoint, on the mini model."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from clocks import without_clocks
from safetensors.torch import load_file

from rlef.config import dump_config, load_config
from rlef.engines.load import load_model
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.run.training import SCHEMA, read_training_rollouts
from rlef.train import progress
from rlef.train.loop import train
from rlef.train.recipe import TrainConfig

TINY = [
    *("updates=2", "rollout.batch=4", "learner.minibatch=4", "checkpoint_every=1"),
    *("rollout.max_new_tokens=64", "rollout.group=4", "rollout.turn_limit=2", "eval.problems=1"),
    *("eval.turn_limit=1", "eval.also=null", "data.test=mini:valid"),
    *("eval.random_feedback=false", "learner.warmup_updates=0", "learner.lr=1e-3"),
    "keep_checkpoints=2",
]
GROUPS = "rollout.per_problem=4"
TOKENS = "learner.advantage=token_critic"
GSPO = ["learner.ratio=turn_mean", "learner.clip=3e-4", "learner.clip_high=4e-4"]
CISPO = ["learner.ratio=cispo", "learner.clip=1", "learner.clip_high=4"]
FAST = [
    ["learner.advantage=grpo", GROUPS, "learner.kl=none"],
    ["learner.lora.rank=4"],
]
TOLD = "eval.turn_limit=2"
"""Where evaluations tell something."""
MANY = ["rollout.batch=24", "rollout.group=8", "learner.minibatch=24"]
"""Rollouts, so that feedback leads some to a solved answer."""
SWITCHES = [
    ["model.turns=per_turn", "reward.graded=true", TOLD],
    [TOKENS, "learner.kl=reward_token", "learner.lam=0.95"],
    ["feedback.kind=pass_fail", "eval.feedback=full", TOLD],
    [TOKENS, "learner.normalize=tokens", "reward.discount=0.5", "reward.potential=0.5"],
    ["learner.normalize=turn_index", "learner.ratio=turn", "learner.importance=decoupled"],
    ["learner.normalize=none", *GSPO],
    ["learner.advantage=dr_grpo", GROUPS, "learner.kl=loss_k3", *CISPO],
    ["learner.advantage=rloo", "rollout.per_problem=2", "learner.kl=loss_k2"],
    ["learner.advantage=reinforce++", "learner.kl=reward_token"],
    ["learner.advantage=reinforce++", "learner.normalize=tokens", "learner.kl=loss_k2"],
    ["learner.ratio=turn", "learner.value_clip=null", "learner.critic_head_lr=1e-2"],
    ["learner.importance=decoupled", "learner.importance_cap=1", "learner.precision=bfloat16"],
    ["learner.importance=none", "learner.entropy_bonus=0.01", "eval.feedback=private", TOLD],
    ["learner.target_kl=1e-6", "learner.minibatch=2", "updates=4", "checkpoint_every=2"],
    ["learner.epochs=2", "learner.critic_epochs=3", "updates=4", "checkpoint_every=2"],
    ["learner.critic_warmup_updates=1", "rollout.turn_limit=1", "eval.turn_limit=3"],
    ["learner.critic_sees=reference", "eval.feedback=random", "eval.problems=2", TOLD],
    ["learner.critic_sees=reference", "model.turns=per_turn"],
    ["learner.critic_sees=reference", TOKENS, "learner.lam=0.95"],
    ["learner.teacher.weight=30", "learner.advantage=reinforce++", "learner.kl=none"],
    ["learner.replay.answers=3", "reward.repeated=-0.3", *MANY],
    ["learner.replay.newest=2", "model.turns=per_turn", *MANY],
    [TOKENS, "learner.lora.rank=2", "learner.gradient_checkpointing=true"],
    ["learner.advantage=rloo", GROUPS, "learner.lora.rank=2"],
    ["feedback.kind=no_traceback", TOLD],
    ["feedback.kind=none", "eval.feedback=full", TOLD],
    ["feedback.kind=random", "eval.problems=2", TOLD],
]


class Silent(progress.Silent):
    """Stops the run after some batches, as Ctrl-C does."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.batches, self.stop_after = 0, stop_after

    def update(self, metrics: Mapping[str, object]) -> None:
        self.batches += 1
        if self.batches == self.stop_after:
            raise KeyboardInterrupt


def start(path: Path, words: list[str]) -> tuple[TrainConfig, RunFolder]:
    keys = {word.partition("=")[0] for word in words}
    kept = [word for word in TINY if word.partition("=")[0] not in keys]
    config = load_config(TrainConfig, "mini", [*kept, *words])
    return config, RunFolder.create(path, dump_config(config))


@pytest.mark.parametrize(
    "words",
    [*FAST, *(pytest.param(words, marks=pytest.mark.slow) for words in SWITCHES)],
    ids=" ".join,
)
def test_a_switch_trains_and_goes_on_exactly(words: list[str], tmp_path: Path) -> None:
    config, whole = start(tmp_path / "whole", words)
    train(config, whole, Silent())
    lines = whole.read_metrics()
    undefined = ["explained_variance", "repair", "repeated"]
    if config.feedback.kind == "none":  # nobody knows what the earlier programs would have been
        undefined += [f"solve_rate/turn_{t}" for t in range(1, config.rollout.turn_limit)]
    for line in lines:
        for key, value in line.items():
            is_undefined = key.startswith(tuple(undefined))
            assert is_undefined or key == "calibration" or math.isfinite(value), key
    assert ("loss/replay" in lines[-1]) == (config.learner.replay is not None)
    summary = whole.read_summary()
    assert summary is not None and summary["turn_limit"] == config.eval_turn_limit

    last = f"checkpoints/update-{config.updates:06d}"
    before = load_model("mini", "cpu").state_dict()
    after = load_model(str(whole.path / last), "cpu").state_dict()
    assert before.keys() == after.keys()
    assert any(not before[name].equal(after[name]) for name in before)

    config, stopped = start(tmp_path / "stopped", words)
    with pytest.raises(KeyboardInterrupt):
        train(config, stopped, Silent(stop_after=2))
    assert [checkpoint.update for checkpoint in stopped.checkpoints()] == [config.updates // 2]
    again = load_config(TrainConfig, stopped.config_path, [])
    assert again == config
    train(again, stopped, Silent())
    tables = [read_training_rollouts(run, SCHEMA.names) for run in (stopped, whole)]
    assert tables[0].equals(tables[1]) and tables[0].num_rows >= 8
    assert without_clocks(stopped.read_metrics()) == without_clocks(lines)
    files = sorted((whole.path / last).rglob("*.safetensors"))
    assert len(files) > 1
    for file in files:
        ours = load_file(stopped.path / file.relative_to(whole.path))
        theirs = load_file(file)
        assert all(ours[name].equal(theirs[name]) for name in theirs), file.name
    for name in whole.rollout_names():
        ours, theirs = (without_clocks(run.read_rollouts(name)) for run in (stopped, whole))
        assert ours == theirs


def test_side_by_side_a_run_that_goes_on_neither_loses_nor_repeats(tmp_path: Path) -> None:
    """Which rollouts end first is a matter of time, so two such runs are not equal."""
    words = ["rollout.max_staleness=1", "updates=4", "checkpoint_every=2"]
    config, run = start(tmp_path / "run", words)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, Silent(stop_after=3))
    assert [checkpoint.update for checkpoint in run.checkpoints()] == [2]
    before = Ledger(run.training_path)
    kept = [before.batch(number).indices for number in range(before.batches)]
    train(config, run, Silent())
    ledger = Ledger(run.training_path)
    batches = [ledger.batch(number) for number in range(ledger.batches)]
    assert [batch.indices for batch in batches][: len(kept)] == kept
    assert len(batches) == 4 and all(len(batch.indices) == 4 for batch in batches)
    indices = read_training_rollouts(run, ["index"])["index"].to_pylist()
    dropped = sum(batch.dropped for batch in batches)
    assert sorted(indices) == list(range(16 + dropped + len(ledger.pending)))
    lines = run.read_metrics()
    assert [line["update"] for line in lines] == [1, 2, 3, 4]
    for line, batch in zip(lines, batches, strict=True):
        behind = [batch.number - int(min(r.policy_versions)) for r in batch.rollouts]
        assert set(behind) <= {0, 1} and line["staleness"] == sum(behind) / 4
        assert [line[f"staleness/{n}"] for n in (0, 1)] == [behind.count(n) for n in (0, 1)]
        assert line["dropped_stale"] == batch.dropped and math.isfinite(line["loss/policy"])
    before_it = load_model("mini", "cpu").state_dict()
    after = load_model(str(run.checkpoint_path(4)), "cpu").state_dict()
    assert any(not before_it[name].equal(after[name]) for name in before_it)


@pytest.mark.slow
def test_without_feedback_every_episode_takes_all_its_turns(tmp_path: Path) -> None:
    config, run = start(tmp_path / "run", ["feedback.kind=none", "eval.feedback=full", TOLD])
    train(config, run, Silent())
    for rollout in Ledger(run.training_path).batch(0).rollouts:
        assert len(rollout.record.turns) == 2
        first = rollout.record.turns[0]
        assert first.program is None or first.feedback == "Try again."


@pytest.mark.slow
def test_rollouts_of_one_problem_stand_side_by_side(tmp_path: Path) -> None:
    config, run = start(tmp_path / "run", ["rollout.per_problem=2"])
    train(config, run, Silent())
    batch = Ledger(run.training_path).batch(0)
    names = [rollout.record.problem for rollout in batch.rollouts]
    assert batch.indices == (0, 1, 2, 3) and names[0] == names[1] != names[2] == names[3]
    assert len({rollout.seed for rollout in batch.rollouts}) == 4
