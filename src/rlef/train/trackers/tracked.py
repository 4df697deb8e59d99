"""A run's trackers: told of every batch once, and never a reason for a training to end."""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self, TypeGuard

from rlef.config import flat_values
from rlef.evaluation.progress import Progress as EpisodeProgress
from rlef.run import RunFolder
from rlef.run.files import finite, replace_file
from rlef.train.progress import Progress, Stage, nothing_done
from rlef.train.recipe import TrainConfig
from rlef.train.trackers.types import TrackedRun, Tracker

_STAGES = ("before", "after", "random_feedback")


class Tracked:
    """Hears what a run tells of itself, for its display and its trackers: a ``Progress``.

    Which run of a tracker it is, and the last step that it has, stand in ``trackers.json`` of the
    run folder. So a run that goes on is the same run there, a batch that is repeated is not logged
    again, and what a tracker has missed is logged from ``metrics.jsonl``.

    Args:
        config: The recipe, whose ``trackers`` it has.
        run: Its folder.
        display: Hears everything too, and what becomes of the trackers.
    """

    def __init__(self, config: TrainConfig, run: RunFolder, display: Progress) -> None:
        self._config, self._run, self._display = config, run, display
        self._state = _State(run.path / "trackers.json")
        self._trackers: dict[str, Tracker] = {}
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._trackers):
            self._try(name, lambda one: one.close(finished=self._finished))

    def begin(self) -> None:
        """Opens the trackers; called once the run is known to begin."""
        for name in self._config.trackers:
            try:
                self._trackers[name] = self._open(name)
            except Exception as error:  # theirs are of all kinds
                self._warn(name, error)
        lines = self._run.read_metrics() if self._trackers else []
        for line in lines:
            self._log(line)

    def _open(self, name: str) -> Tracker:
        module = import_module(f"rlef.train.trackers.{name}")
        known = self._state.id(name)
        tracked = TrackedRun(path=self._run.path, config=flat_values(self._config), id=known)
        tracker: Tracker = module.open_tracker(tracked)
        if known is None:
            self._state.begin(name, tracker.id)
        return tracker

    def message(self, text: str) -> None:
        """Shows a line."""
        self._display.message(text)

    def stage(self, name: Stage, total: int = 0, done: Callable[[], int] = nothing_done) -> None:
        """Shows what begins."""
        self._display.stage(name, total, done)

    def episodes(self, progress: EpisodeProgress) -> None:
        """Shows how far episodes are."""
        self._display.episodes(progress)

    def update(self, metrics: Mapping[str, object]) -> None:
        """Logs the metrics of a batch, and shows them."""
        self._log(metrics)
        self._display.update(metrics)

    def completed(self, metrics: Mapping[str, object]) -> None:
        """Logs what became known of the last batch."""
        numbers = _numbers(metrics)
        for name in list(self._trackers):

            def log(one: Tracker, name: str = name) -> None:
                one.log(numbers, self._state.step(name))

            self._try(name, log)
        self._display.completed(metrics)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Logs what the evaluations came to."""
        self._finished = True
        figures, step = headline_figures(summary), int(summary["updates"])
        for name in list(self._trackers):
            self._try(name, lambda one: one.finish(figures, step))

    def _log(self, line: Mapping[str, object]) -> None:
        step = line["update"]
        assert isinstance(step, int)
        numbers = _numbers(line)
        for name in list(self._trackers):
            before = self._state.step(name)
            if before >= step:
                continue

            def log(one: Tracker, name: str = name) -> None:
                self._state.note(name, step)  # first: killed in between, it is not logged again
                one.log(numbers, step)

            if not self._try(name, log):
                self._try_to_note(name, before)

    def _try_to_note(self, name: str, step: int) -> None:
        try:
            self._state.note(name, step)
        except Exception as error:
            self._warn(name, error)

    def _try(self, name: str, work: Callable[[Tracker], None]) -> bool:
        """Does something with a tracker; one that fails is left alone from then on."""
        try:
            work(self._trackers[name])
        except Exception as error:  # theirs are of all kinds
            del self._trackers[name]
            self._warn(name, error)
            return False
        return True

    def _warn(self, name: str, error: Exception) -> None:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        self._display.message(
            f"the tracker {name} failed ({reason}); training goes on without it, and what it "
            "misses is added when the run goes on"
        )


def _numbers(line: Mapping[str, object]) -> dict[str, float]:
    found = {key: finite(value) for key, value in line.items() if key != "update"}
    return {key: value for key, value in found.items() if value is not None}


def headline_figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """What a run's evaluations came to, by the names that trackers show.

    Example:
        >>> rate = {"mean": 0.5, "low": 0.4, "high": 0.6}
        >>> stage = {"solve": rate, "solve_rate_by_turn": [rate], "repair_rate": rate}
        >>> headline_figures({"after": stage, "gain": rate})  # doctest: +NORMALIZE_WHITESPACE
        {'eval/after/solve_rate': 0.5, 'eval/after/repair_rate': 0.5,
         'eval/after/solve_rate/turn_1': 0.5, 'eval/gain': 0.5}
    """
    found: dict[str, float | None] = {}
    for prefix, one in (("eval", summary), ("eval_also", summary.get("also") or {})):
        for name in _STAGES:
            stage = one.get(name)
            if not stage:
                continue
            found[f"{prefix}/{name}/solve_rate"] = stage["solve"]["mean"]
            found[f"{prefix}/{name}/repair_rate"] = stage["repair_rate"]["mean"]
            for turn, rate in enumerate(stage["solve_rate_by_turn"], start=1):
                found[f"{prefix}/{name}/solve_rate/turn_{turn}"] = rate["mean"]
        if one.get("gain"):
            found[f"{prefix}/gain"] = one["gain"]["mean"]
    return _numbers(found)


class _State:
    """``trackers.json``: of each tracker its id of the run, and the last step that it was given."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] | None = None

    def id(self, name: str) -> str | None:
        found = self._read().get(name, {}).get("id")
        return None if found is None else str(found)

    def step(self, name: str) -> int:
        return int(self._read().get(name, {}).get("step", 0))

    def begin(self, name: str, run_id: str) -> None:
        self._read()[name] = {"id": run_id, "step": 0}
        self._write()

    def note(self, name: str, step: int) -> None:
        self._read()[name]["step"] = step
        self._write()

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._known is None:
            known = json.loads(self._path.read_bytes()) if self._path.exists() else {}
            if not _is_state(known):
                raise ValueError(f"{self._path} is damaged")
            self._known = known
        return self._known

    def _write(self) -> None:
        """Raises RunWriteError."""
        replace_file(self._path, (json.dumps(self._known, indent=2) + "\n").encode("ascii"))


def _is_state(known: object) -> TypeGuard[dict[str, dict[str, Any]]]:
    return isinstance(known, dict) and all(
        isinstance(one, dict) and isinstance(one.get("id"), str) and type(one.get("step")) is int
        for one in known.values()
    )
