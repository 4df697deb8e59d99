"""What storing scores for the viewer takes of the time of training, within one run of ``mini``.

Prints after each batch the seconds so far, on the clock and of CPUs, and their shares.

usage: python benchmarks/score_share.py [KEY=VALUE ...]     # settings of the recipe
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlef.config import dump_config, load_config
from rlef.learner import update
from rlef.run import RunFolder
from rlef.train import loop
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig

WORDS = [
    *("updates=6", "rollout.batch=32", "rollout.group=32", "learner.minibatch=16"),
    "rollout.keep_scores=32",
]


class Watch:
    """Adds up what calls of a function take."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def watched(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*words: Any, **more: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return work(*words, **more)
            finally:
                self.wall_s += time.perf_counter() - wall
                self.cpu_s += time.process_time() - cpu

        return watched


class Shares(Silent):
    """Tells the shares after each batch."""

    def __init__(self, scores: Watch, batches: Watch) -> None:
        self._scores, self._batches = scores, batches

    def update(self, metrics: Mapping[str, object]) -> None:
        for name in ("wall_s", "cpu_s"):
            part, whole = (getattr(one, name) for one in (self._scores, self._batches))
            if whole:  # of the batches before this one
                print(f"{name}: {part:.3f} of {whole:.1f}, {100 * part / whole:.2f} %", flush=True)


def main() -> None:
    scores, batches = Watch(), Watch()
    update.first_scores = scores.watched(update.first_scores)
    loop.Trainer._store_scores = scores.watched(loop.Trainer._store_scores)  # type: ignore[method-assign]
    loop.Trainer.train_on_one_batch = batches.watched(loop.Trainer.train_on_one_batch)  # type: ignore[method-assign]
    given = {word.partition("=")[0] for word in sys.argv[1:]}
    words = [word for word in WORDS if word.partition("=")[0] not in given]
    config = load_config(TrainConfig, "mini", [*words, *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder) / "run", dump_config(config))
        shares = Shares(scores, batches)
        loop.learn(config, run, shares)
        shares.update({})


if __name__ == "__main__":
    main()
