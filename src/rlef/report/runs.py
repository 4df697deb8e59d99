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
from rlef.run.state import Locks, held_locks, last_change, run_state
from rlef.stored import EPISODES, facts_of, read_metrics, read_options, read_summary
from rlef.stored.facts import OF_BATCH

_DEPTH = 3
"""Folders below the one that is named: a study has its arms' seeds two below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run in a line.

    Attributes:
        name: its path from the folder that was asked for.
        path: its path.
        kind, model: as ``Facts`` has them; ``None``: its config cannot be read.
        state: as ``run_state``, or ``damaged``.
        done, total: updates so far and in all; of an evaluation its episodes so far, and ``None``.
        metric: name of ``Facts.main``, such as ``1@3``.
        solve_rate: its value.
        of_training: whether it is that of the last batch of a training that is not finished.
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
    """What cannot be opened, such as a folder of others or a circle of links, hides no other."""
    is_run, names = False, list[str]()
    with suppress(OSError):
        is_run = RunFolder(folder).is_run()
    if is_run:
        yield folder
    elif depth:
        with suppress(OSError):
            names = [name for name in os.listdir(folder) if name[0] != "."]
        for name in filter(lambda name: os.path.isdir(folder / name), names):
            yield from _runs_below(folder / name, depth - 1)


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
    known: dict[str, Any] = {"name": name or str(path), "path": str(path)}
    known["changed"] = last_change(run)
    try:
        options = read_options(run)
        facts = facts_of(options, None, None)
        known |= {"kind": facts.kind, "model": facts.model}
        summary = read_summary(run, options)
        if facts.kind == "training":
            lines = read_metrics(run)
            facts = facts_of(options, summary, lines[-1] if lines else None)
            known |= {"done": facts.update, "total": facts.updates}
        else:
            facts = facts_of(options, summary, None)
            known["done"] = _episodes(run, summary)
        main = facts.main
        if main is not None:
            known |= {"metric": main, "solve_rate": facts.figures[main]}
            known["of_training"] = main == OF_BATCH
        return RunFacts(**known, state=run_state(run, locks))
    except (RunDamagedError, OSError) as error:
        return RunFacts(**known, note=" ".join(str(error).split()))


def _episodes(run: RunFolder, summary: Mapping[str, Any] | None) -> int | None:
    """Of an evaluation, so far."""
    if summary is None:
        return _count_lines(run.rollout_path(EPISODES))
    count = summary["statistics"].get("episodes")
    return count if type(count) is int else None


def runs_table(facts: Sequence[RunFacts]) -> FittedTable:
    """Runs, for ``rich`` to print; what is damaged in them stands in their notes."""
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
    words = [facts.name, facts.kind or "-", facts.model or "-", facts.state]
    return [*words, done, solved, changed]


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


def _count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
