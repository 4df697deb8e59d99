"""The runs of some folders: what each is, how far it is, and what it came to."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlef.report.fitted import FittedTable
from rlef.report.tables import percent
from rlef.run import RunDamagedError, RunFolder
from rlef.run.state import Locks, held_locks, run_state
from rlef.stored import EPISODES, is_evaluation, read_options, read_summary

_DEPTH = 3
"""Folders below the one that is named: a study has its arms' seeds two below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run in a line.

    Attributes:
        name: its path from the folder that was asked for.
        path: its path.
        kind: ``training`` or ``evaluation``; ``None``: its config cannot be read.
        model: the name of the model, or the file of samples.
        state: as ``run_state``, or ``damaged``.
        done, total: updates so far and in all; of an evaluation its episodes so far, and ``None``.
        metric: name of the headline, such as ``1@3``.
        solve_rate: the headline: after training, or of the evaluation; of a training that is not
            finished the rate of its last batch.
        of_training: whether it is that.
        changed: when a file of it was last written to, seconds since 1970.
        note: what is damaged.
    """

    name: str
    path: str
    kind: str | None = None
    model: str | None = None
    state: str = "damaged"
    done: int | None = None
    total: int | None = None
    metric: str | None = None
    solve_rate: float | None = None
    of_training: bool = False
    changed: float | None = None
    note: str | None = None

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        return asdict(self)


def find_runs(folder: Path) -> list[Path]:
    """The folders of runs in a folder, itself included, sorted by name."""
    return sorted(_runs_below(folder, _DEPTH))


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if RunFolder(folder).is_run():
        yield folder
        return
    if depth:
        with suppress(PermissionError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name[0] != "." and entry.is_dir():
                    yield from _runs_below(Path(entry.path), depth - 1)


def facts_of_runs(folders: Sequence[Path]) -> list[RunFacts]:
    """Facts of all runs in some folders; one that is damaged says so, and hides no other."""
    locks = held_locks()
    return [
        run_facts(path, str(path.relative_to(folder) if path != folder else path), locks)
        for folder in folders
        for path in find_runs(folder)
    ]


def run_facts(path: Path, name: str | None = None, locks: Locks | None = None) -> RunFacts:
    """Facts of a run, whatever its state."""
    run = RunFolder(path)
    known: dict[str, Any] = {"name": name or str(path), "path": str(path), "changed": _changed(run)}
    try:
        options = read_options(run)
        known |= _words(options)
        known |= _evaluation(run) if known["kind"] == "evaluation" else _training(run, options)
        return RunFacts(**known, state=run_state(run, locks))
    except (RunDamagedError, OSError, KeyError, TypeError) as error:
        return RunFacts(**known, note=" ".join(str(error).split()))


def runs_table(facts: Sequence[RunFacts]) -> FittedTable:
    """Runs, for ``rich`` to print."""
    headings = ["run", "kind", "model", "state", "done", "solved %", "changed"]
    return FittedTable(headings=headings, rows=[_cells(each) for each in facts])


def _cells(facts: RunFacts) -> list[str]:
    done = "-" if facts.done is None else f"{facts.done:,}"
    if facts.total is not None:
        done = f"{done}/{facts.total:,}"
    solved = percent(facts.solve_rate)
    if facts.of_training:
        solved += " (batch)"
    elif facts.metric and facts.solve_rate is not None:
        solved += f" ({facts.metric})"
    changed = "-" if facts.changed is None else age(time.time() - facts.changed)
    state = facts.state if facts.note is None else f"{facts.state}: {facts.note}"
    return [facts.name, facts.kind or "-", facts.model or "-", state, done, solved, changed]


def age(seconds: float) -> str:
    """How long ago.

    Example:
        >>> [age(seconds) for seconds in (3, 200, 7000, 700_000)]
        ['3 s', '3 min', '1 h', '8 d']
    """
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _words(options: Mapping[str, Any]) -> dict[str, Any]:
    if is_evaluation(options):
        return {"kind": "evaluation", "model": options.get("model") or options.get("samples_file")}
    model = options.get("model")
    name = model.get("name") if isinstance(model, Mapping) else model
    return {"kind": "training", "model": None if name is None else str(name)}


def _training(run: RunFolder, options: Mapping[str, Any]) -> dict[str, Any]:
    lines = run.read_metrics()
    last = lines[-1] if lines else {}
    found = {"done": last.get("update", 0), "total": options.get("updates")}
    summary = read_summary(run)
    if summary is not None:
        rate, metric = summary["after"]["solve"]["mean"], f"1@{summary['turn_limit']}"
        return {**found, "solve_rate": rate, "metric": metric}
    return {**found, "solve_rate": last.get("solve_rate"), "of_training": bool(lines)}


def _evaluation(run: RunFolder) -> dict[str, Any]:
    summary = read_summary(run)
    if summary is None:
        return {"done": _count_lines(run.rollout_path(EPISODES))}
    metric, measured = list(summary["metrics"].items())[-1]
    episodes = summary["statistics"].get("episodes")
    return {"done": episodes, "metric": metric, "solve_rate": measured["estimate"]}


def _count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


def _changed(run: RunFolder) -> float | None:
    paths = [run.config_path, run.metrics_path, run.summary_path, run.log_path, run.rollouts_path]
    found = []
    for path in [*paths, run.training_path, run.training_path / "pending.bin"]:
        with suppress(OSError):
            found.append(path.stat().st_mtime)
    return max(found, default=None)
