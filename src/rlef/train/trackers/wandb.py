"""Weights & Biases; ``WANDB_MODE``, ``WANDB_PROJECT`` and the like say where to."""

import os
from collections.abc import Mapping
from typing import Any

from rlef.train.trackers.types import TrackedRun, Tracker


def open_tracker(run: TrackedRun) -> Tracker:
    """Begins or goes on with a run.

    Raises:
        RuntimeError: Nobody is logged in: asking for a key would hold up the training.
    """
    return _Wandb(run)


class _Wandb:
    def __init__(self, run: TrackedRun) -> None:
        import wandb

        if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.api.api_key:
            raise RuntimeError("nobody is logged in (wandb login, or WANDB_MODE=offline)")
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rlef"),
            dir=str(run.path),
            id=run.id_or_new(),
            name=run.name,
            config=dict(run.config),
            resume="allow",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.id = str(self._run.id)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, figures: Mapping[str, float], step: int) -> None:
        self._run.summary.update(dict(figures))

    def close(self, *, finished: bool) -> None:
        self._run.finish()
