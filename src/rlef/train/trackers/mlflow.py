"""MLflow: at ``MLFLOW_TRACKING_URI``, in the experiment ``MLFLOW_EXPERIMENT_NAME``, or ``rlef``.

A store that is a folder has a file for each metric, and so no room for both ``solve_rate`` and
``solve_rate/turn_1``: there names have dots for slashes.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rlef.train.trackers.types import TrackedRun, Tracker

_AT_ONCE = 100
"""Parameters, and metrics, of one request."""
_LONGEST = 500
"""Characters of a parameter that every version takes."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A server that is gone costs a training seconds; by default it would be minutes."""


def open_tracker(run: TrackedRun) -> Tracker:
    """Begins or goes on with a run."""
    return _MLflow(run)


class _MLflow:
    def __init__(self, run: TrackedRun) -> None:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        for logger in ("mlflow", "alembic"):  # a new store tells of its tables
            logging.getLogger(logger).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        self._client: Any = MlflowClient()
        is_folder = urlsplit(self._client.tracking_uri).scheme in ("", "file")
        self._between = "." if is_folder else "/"
        if run.id is not None:
            self._client.update_run(run.id, status="RUNNING")
            self.id = run.id
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "rlef")
        found = self._client.get_experiment_by_name(name)
        place = self._client.create_experiment(name) if found is None else found.experiment_id
        self.id = self._client.create_run(place, run_name=run.name).info.run_id
        self._log_config(run.config)

    def _log_config(self, config: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}
        params = [Param(key, text[:_LONGEST]) for key, text in texts.items()]
        for some in _parts(params):
            self._client.log_batch(self.id, params=some)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        named = {key.replace("/", self._between): value for key, value in metrics.items()}
        for some in _parts([Metric(key, value, now, step) for key, value in named.items()]):
            self._client.log_batch(self.id, metrics=some)

    def finish(self, figures: Mapping[str, float], step: int) -> None:
        self.log(figures, step)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self.id, status="FINISHED" if finished else "KILLED")


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
