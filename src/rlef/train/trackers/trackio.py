"""Trackio: in ``TRACKIO_DIR``, or where its other environment variables say."""

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from rlef.train.trackers.types import TrackedRun, Tracker


def open_tracker(run: TrackedRun) -> Tracker:
    """Begins or goes on with a run; trackio knows runs by their names."""
    return _Trackio(run)


class _Trackio:
    def __init__(self, run: TrackedRun) -> None:
        with redirect_stdout(io.StringIO()):  # stdout is for results
            import trackio

            self.id = run.id or f"{run.name}-{run.id_or_new()[:8]}"
            self._run: Any = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", "rlef"),
                name=self.id,
                config=dict(run.config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, figures: Mapping[str, float], step: int) -> None:
        self.log(figures, step)

    def close(self, *, finished: bool) -> None:
        with redirect_stdout(io.StringIO()):
            import trackio

            trackio.finish()  # and not the run's own, after which it would be finished again
