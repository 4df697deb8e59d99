"""A variant of the algorithm: a reward of one's own, and only the better half of a batch.

usage: python examples/own_variant.py RUN [KEY=VALUE ...]

Trains a run as rlef train does: metrics, checkpoints, rollouts on disk. The same words again, or
RUN alone, go on where it stopped.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rlef.config import dump_config, load_config
from rlef.learner.service import Metrics
from rlef.learner.update import LocalLearner
from rlef.rollout import Rollout, RolloutBatch
from rlef.run import RunFolder
from rlef.train.loop import learn
from rlef.train.place import Variant, local_learner
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig


def shorter_is_better(rollout: Rollout) -> Rollout:
    """Takes 0.1 per 1,000 characters of the last program off the reward of the last turn."""
    rewards, program = rollout.rewards.copy(), rollout.record.turns[-1].program
    rewards[-1] -= 0.1 * len(program or "") / 1000
    return replace(rollout, rewards=rewards.astype(np.float32))


class TopHalf(LocalLearner):
    """Learns from the better half of each batch."""

    def update(self, batch: RolloutBatch, steps: int, **more: Any) -> Metrics:
        totals = batch.rewards.sum(1)
        better = batch.select((totals >= totals.median()).nonzero()[:, 0])
        return super().update(better, steps, **more)  # what the teacher and replay bring


def main(path: Path, words: list[str]) -> None:
    run = RunFolder(path)
    goes_on = run.is_run()
    config = load_config(TrainConfig, run.config_path if goes_on else "mini", words)
    run = RunFolder.open(path) if goes_on else RunFolder.create(path, dump_config(config))
    variant = Variant(adjust=shorter_is_better, learner=partial(local_learner, kind=TopHalf))
    with run.lock():
        policy = learn(config, run, Silent(), variant)
    print(f"policy: {policy}; reward of the last batch {run.read_metrics()[-1]['reward']:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
