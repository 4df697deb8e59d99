"""TensorBoard: event files in the folder ``tensorboard`` of the run."""

import json
from collections.abc import Mapping

from rlef.train.trackers.types import TrackedRun, Tracker


def open_tracker(run: TrackedRun) -> Tracker:
    """Begins a file of events, beside those of earlier processes."""
    return _TensorBoard(run)


class _TensorBoard:
    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.id = "tensorboard"
        self._writer = SummaryWriter(str(run.path / self.id))
        if run.id is None:
            lines = (f"    {key}: {json.dumps(value)}" for key, value in run.config.items())
            self._writer.add_text("config", "\n".join(lines), 0)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, figures: Mapping[str, float], step: int) -> None:
        self.log(figures, step)

    def close(self, *, finished: bool) -> None:
        self._writer.close()
