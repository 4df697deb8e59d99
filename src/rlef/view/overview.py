"""Runs as a whole: the list of them, one of them, what differs between some."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from rlef.config import flat_values
from rlef.run import json_value
from rlef.run.scores import has_scores
from rlef.run.state import Locks, held_locks, last_change, run_state
from rlef.stored import Facts, facts_of
from rlef.view.errors import ViewError
from rlef.view.folders import Found
from rlef.view.metric_lines import MetricLines
from rlef.view.numbers import stage_numbers
from rlef.view.runs import Library, Run

_KEPT = 256
"""Stages whose numbers are kept."""


class Overview:
    """Answers questions about runs as a whole.

    Args:
        library: The runs.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._numbers: dict[tuple[str, str], tuple[pa.Table, dict[str, Any]]] = {}

    def runs(self) -> list[dict[str, Any]]:
        """All runs and studies: ``/api/runs``. One that is damaged says so, and harms no other."""
        locks = held_locks()
        return [self._entry(found, locks) for found in self._library.folders.all()]

    def _entry(self, found: Found, locks: Locks) -> dict[str, Any]:
        name = found.path.name or str(found.path)
        entry: dict[str, Any] = {"id": found.id, "name": name, "kind": found.kind}
        entry |= dict.fromkeys(("model", "recipe", "seed", "update", "updates", "note"))
        entry |= {"headline": {}, "started": None, "changed": None, "state": "finished"}
        try:
            if found.kind == "study":
                at = (found.path / "study.json").stat().st_mtime
                return entry | {"started": at, "changed": at}
            run = self._library.of(found)
            entry |= {"kind": "training", "state": "damaged"}
            entry |= {"started": _started(run), "changed": last_change(run.folder)}
            entry |= _words(facts_of(run.options(), None, None))
            entry |= _words(_facts(run))
            entry["note"] = run.damage()
            state = run_state(run.folder, locks)
            return entry | {"state": "damaged" if entry["note"] else state}
        except (ViewError, OSError) as error:
            return entry | {"state": "damaged", "note": str(error)}

    def run(self, run: Run) -> dict[str, Any]:
        """One run: ``/api/run``.

        Raises:
            ViewError: Its config cannot be read.
        """
        options = run.options()
        note, summary = None, None
        try:
            summary = run.summary()
        except ViewError as error:
            note = str(error)
        stages = []
        for name in run.stage_names():
            stage = run.stage(name)
            stages.append({"name": name, **self._stage(run, name)})
            note = note or stage.damage
        kind = facts_of(options, None, None).kind
        return {
            "id": run.id,
            "name": run.path.name,
            "kind": kind,
            "state": "damaged" if note else run_state(run.folder),
            "note": note,
            "config": flat(options),
            "summary": json_value(summary),
            "stages": stages,
            "has_scores": has_scores(run.folder.training_path),
            "turn_limit": run.turn_limit("train" if kind == "training" else "eval", options),
        }

    def study(self, found: Found) -> dict[str, Any]:
        """A study: ``/api/run`` of its folder.

        Raises:
            ViewError: Its numbers cannot be read.
        """
        try:
            summary = json.loads((found.path / "study.json").read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise ViewError(409, f"{found.path / 'study.json'} is damaged: {error}") from None
        inside = [
            each.id
            for each in self._library.folders.all()
            if each.kind == "run" and each.path.is_relative_to(found.path)
        ]
        return {
            "id": found.id,
            "name": found.path.name,
            **{"kind": "study", "state": "finished", "note": None, "config": {}},
            "summary": json_value(summary),
            **{"stages": [], "has_scores": False, "turn_limit": None},
            "runs": inside,
        }

    def _stage(self, run: Run, name: str) -> dict[str, Any]:
        """The numbers of a stage; worked out once for what it holds."""
        outcomes = run.stage(name).outcomes()
        known = self._numbers.get((run.id, name))
        if known is None or known[0] is not outcomes:
            limit = run.turn_limit(name, run.options())
            known = (outcomes, stage_numbers(run.database, outcomes, limit))
            self._numbers[run.id, name] = known
            while len(self._numbers) > _KEPT:
                self._numbers.pop(next(iter(self._numbers)))
        return known[1]

    def settings(self, runs: Sequence[Run]) -> list[dict[str, Any]]:
        """The settings that differ between runs: ``/api/settings``."""
        configs = [flat(run.options()) for run in runs]
        keys = dict.fromkeys(key for config in configs for key in config)
        rows = [{"key": key, "values": [config.get(key) for config in configs]} for key in keys]
        return [row for row in rows if any(v != row["values"][0] for v in row["values"])]


def metrics_after(lines: MetricLines, after: int) -> dict[str, Any]:
    """Lines of metrics as columns: ``/api/metrics``.

    Args:
        lines: The run's.
        after: How many the reader has already. More than there are: the run went back to a
            checkpoint, so all are given; ``next`` then is less than ``after``.
    """
    found = lines.all()
    new = found[after:] if after <= len(found) else found
    columns = dict.fromkeys(key for line in found for key in line)
    values = {name: [json_value(line.get(name)) for line in new] for name in columns}
    return {"columns": values, "next": len(found)}


def flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their keys with dots, as JSON has them.

    Example:
        >>> flat({"seed": 0, "rollout": {"batch": 128}})
        {'seed': 0, 'rollout.batch': 128}
    """
    return {key: json_value(value) for key, value in flat_values(options).items()}


def _facts(run: Run) -> Facts:
    lines = run.metrics.all()
    return facts_of(run.options(), run.summary(), lines[-1] if lines else None)


def _words(facts: Facts) -> dict[str, Any]:
    """What the list of runs has of a run's facts."""
    names = ("kind", "model", "recipe", "seed", "update", "updates")
    return {**{name: getattr(facts, name) for name in names}, "headline": dict(facts.figures)}


def _started(run: Run) -> float | None:
    """When a run began: its config is its first file, and is seldom written again."""
    paths = (run.folder.config_path, run.folder.lock_path, run.folder.rollouts_path)
    times = [path.stat().st_mtime for path in paths if path.exists()]
    return min(times, default=None)


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings but for the seed."""
    return {key: value for key, value in config.items() if key != "seed"}
