"""A run on Ray's actors is the run of one process."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlef.config import ConfigError, dump_config, join_words, load_config
from rlef.engines import ModelError
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.run.scores import read_scores, scores_path
from rlef.train.checks import check_training
from rlef.train.loop import train
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig

TINY = [
    *("updates=4", "rollout.batch=8", "learner.minibatch=4", "checkpoint_every=4"),
    *("rollout.max_new_tokens=48", "rollout.turn_limit=2", "rollout.group=4"),
    *("learner.warmup_updates=0", "eval.problems=2", "eval.random_feedback=false"),
    *("eval.also=null", "rollout.judge_workers=1", "data.train=mini:valid", "data.test=mini:valid"),
]


class Told(Silent):
    """Remembers what the loop says; does something after some of its batches."""

    def __init__(self, after: Sequence[Callable[[], None]] = ()) -> None:
        self.lines: list[str] = []
        self._after = list(after)

    def message(self, text: str) -> None:
        self.lines.append(text)

    def update(self, metrics: Mapping[str, object]) -> None:
        if self._after:
            self._after.pop(0)()


def trained(
    path: Path, *words: str, after: Sequence[Callable[[], None]] = ()
) -> tuple[RunFolder, Told]:
    config = load_config(TrainConfig, "mini", join_words(TINY, words))
    run, told = RunFolder.create(path, dump_config(config)), Told(after)
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


def assert_same(run: RunFolder, whole: RunFolder) -> None:
    """Rollout by rollout, and what was learnt of them, within float error."""
    ours, theirs = by_index(run), by_index(whole)
    assert ours.keys() == theirs.keys() == set(range(len(theirs)))  # each index once
    for index, rollout in theirs.items():
        assert ours[index].record.problem == rollout.record.problem
        assert ours[index].token_ids.tolist() == rollout.token_ids.tolist()
        np.testing.assert_allclose(ours[index].logprobs, rollout.logprobs, atol=1e-4)
        assert ours[index].policy_versions.tolist() == rollout.policy_versions.tolist()
    for number in range(2):
        paths = [scores_path(each.training_path, number) for each in (run, whole)]
        for index in (8 * number, 8 * number + 7):
            mine, other = (read_scores(path, index) for path in paths)
            assert mine is not None and other is not None and mine.keys() == other.keys()
            for name in mine:
                assert mine[name] == pytest.approx(other[name], rel=1e-2, abs=1e-3), name
    for mine, other in zip(run.read_metrics(), whole.read_metrics(), strict=True):
        assert mine["trained_rollouts"] == 8
        for name in ("update", "solve_rate", "reward", "kl", "loss/value", "grad_norm/policy"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=1e-6), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("runs") / "whole")[0]


def test_its_rollouts_are_those_of_one_process(
    whole: RunFolder, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"cluster.address={ray_address}", "cluster.rollout_actors=2")
    monkeypatch.chdir(tmp_path)  # where no actor is
    run, _ = trained(Path("cluster"), *words)
    assert_same(run, whole)
    assert run.read_summary()["after"] == whole.read_summary()["after"]  # type: ignore[index]


@pytest.mark.slow
def test_with_ranks_and_judges_that_die_it_comes_to_the_same(
    whole: RunFolder, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from rlef.distributed.fleet import Fleet
    from rlef.distributed.learner import RayLearner

    made: dict[type, Any] = {}
    for kind in (Fleet, RayLearner):

        def remember(self: Any, *words: Any, begin: Any = kind.__init__, **more: Any) -> None:
            made[type(self)] = self
            begin(self, *words, **more)

        monkeypatch.setattr(kind, "__init__", remember)

    def kill(actor: Any) -> None:
        os.kill(ray.get(actor.where.remote())[1], signal.SIGKILL)

    words = ("cluster.rollout_actors=2", "cluster.learner_ranks=2", "cluster.judge_actors=1")
    run, told = trained(
        tmp_path / "ranks",
        *(f"cluster.address={ray_address}", *words, "checkpoint_every=2"),
        after=[
            lambda: kill(made[RayLearner]._actors[1]),  # before its first checkpoint
            lambda: kill(made[Fleet].members[0].actor),
        ],
    )
    assert_same(run, whole)
    lost = [line for line in told.lines if "is lost" in line]
    assert len(lost) == 2
    assert lost[0].startswith("the learner is lost (its process died)")
    assert lost[1].startswith("rollout actor 0 on ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cluster.address=127.0.0.1:9"], "'127.0.0.1:9', but nothing answers there"),
        (["cluster.address=here"], "'here'; allowed: null, local, auto .*, HOST:PORT"),
        (
            ["cluster.address=local", "cluster.colocate=true", "rollout.max_staleness=1"],
            "colocate is true, but with rollout.max_staleness 1",
        ),
        (
            ["cluster.address=local", "cluster.colocate=true", "cluster.rollout_actors=2"],
            "rollout_actors is 2 and learner_ranks 1; allowed: as many of each",
        ),
        (
            ["cluster.address=local", "cluster.learner_ranks=4096"],
            r"this machine has \d+ cores for 4097 processes .*; allowed: up to \d+ of them",
        ),
    ],
)
def test_a_cluster_that_cannot_be_is_said_at_once(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_training(load_config(TrainConfig, "mini", words))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_said_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlef.distributed.session.open_session", pytest.fail)
    with pytest.raises(ModelError, match="device is 'cuda', but"):
        trained(tmp_path / "run", "cluster.address=local", "device=cuda")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'ray is not installed; pip install "rlef\[ray\]"'):
        check_training(load_config(TrainConfig, "mini", ["cluster.address=local"]))


def test_too_few_machines_are_said_at_once(tmp_path: Path, ray_address: str) -> None:
    words = (f"cluster.address={ray_address}", "cluster.rollout_actors=40")
    message = r"the cluster has 12 cores, but 40 rollout actors, .* need 81; allowed: fewer"
    with pytest.raises(ConfigError, match=message):
        trained(tmp_path / "run", *words)


def test_side_by_side_each_rollout_is_used_once(tmp_path: Path, ray_address: str) -> None:
    words = (f"cluster.address={ray_address}", "cluster.rollout_actors=2")
    run, _ = trained(tmp_path / "run", *words, "rollout.max_staleness=1", "updates=6")
    assert len(by_index(run)) == 24
    for number, line in enumerate(run.read_metrics()):
        assert line["update"] == 2 * (number + 1)
        assert line["staleness/0"] + line["staleness/1"] == 8
    assert sum(line["staleness/1"] for line in run.read_metrics()) > 0
