"""A run on Ray's actors is the run of one process."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from rlef.config import dump_config, join_words, load_config
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.train.loop import train
from rlef.train.recipe import TrainConfig

TINY = [
    *("updates=4", "rollout.batch=8", "learner.minibatch=4", "checkpoint_every=4"),
    *("rollout.max_new_tokens=48", "rollout.turn_limit=2", "rollout.group=4"),
    *("learner.warmup_updates=0", "eval.problems=2", "eval.random_feedback=false"),
    *("eval.also=null", "rollout.judge_workers=1", "data.test=mini:valid"),
]


class Told:
    """Remembers what the loop says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def update(self, metrics: Mapping[str, object]) -> None:
        pass


def trained(path: Path, *words: str) -> tuple[RunFolder, Told]:
    config = load_config(TrainConfig, "mini", join_words(TINY, words))
    run, told = RunFolder.create(path, dump_config(config)), Told()
    train(config, run, told)
    return run, told


def by_index(run: RunFolder) -> dict[int, Rollout]:
    ledger = Ledger(run.training_path)
    found: dict[int, Rollout] = {}
    for number in range(ledger.batches):
        taken = ledger.batch(number)
        assert not found.keys() & set(taken.indices)
        found |= dict(zip(taken.indices, taken.rollouts, strict=True))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("runs") / "whole")[0]


def test_its_rollouts_are_those_of_one_process(
    whole: RunFolder, tmp_path: Path, ray_address: str
) -> None:
    words = (f"cluster.address={ray_address}", "cluster.rollout_actors=2")
    run, _ = trained(tmp_path / "cluster", *words)
    ours, theirs = by_index(run), by_index(whole)
    assert ours.keys() == theirs.keys() == set(range(16))
    for index, rollout in theirs.items():
        assert ours[index].record.problem == rollout.record.problem
        assert ours[index].token_ids.tolist() == rollout.token_ids.tolist()
        np.testing.assert_allclose(ours[index].logprobs, rollout.logprobs, atol=1e-4)
        assert ours[index].policy_versions.tolist() == rollout.policy_versions.tolist()
    for mine, other in zip(run.read_metrics(), whole.read_metrics(), strict=True):
        for name in ("update", "solve_rate", "reward", "kl", "loss/value", "grad_norm/policy"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=1e-6), name
    assert run.read_summary()["after"] == whole.read_summary()["after"]  # type: ignore[index]
