"""Runs side by side: differences of their last evaluations, and curves over seeds."""

import json
import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from rlef.evaluation.compare import paired_difference
from rlef.run import json_value
from rlef.view.database import Database
from rlef.view.errors import ViewError
from rlef.view.overview import flat, without_seed
from rlef.view.runs import Run, Stage

import pyarrow as pa

CURVES = ("solve_rate", "solve_rate/turn_1", "repair_rate", "reward", "kl", "entropy")
"""Metrics that are shown side by side."""
_RESULTS = """
SELECT problem, avg((solved AND turns <= {turns})::INT), any_value(problem_hash),
  bool_or(blind AND turns > {turns})
FROM outcomes WHERE stop != 'infra_error' GROUP BY problem
"""
_CONFIDENCE = 0.975


def compared(runs: Sequence[Run]) -> dict[str, Any]:
    """The first run with each of the others: ``/api/compare``."""
    return {"tables": _tables(runs), "curves": _curves(runs)}


def _tables(runs: Sequence[Run]) -> list[dict[str, Any]]:
    first, *others = runs
    tables = []
    for other in others:
        pair: dict[str, Any] = {"a": first.id, "b": other.id}
        try:
            stages = first.last_evaluation(), other.last_evaluation()
            pair |= {"stage_a": stages[0].name, "stage_b": stages[1].name}
            tables.append(pair | _paired(first, stages[0], other, stages[1]))
        except ViewError as error:
            tables.append(pair | {"problems": 0, "rows": [], "notes": [str(error)]})
    return tables


def _paired(a: Run, stage_a: Stage, b: Run, stage_b: Stage) -> dict[str, Any]:
    limits = [a.turn_limit(stage_a.name, a.options()), b.turn_limit(stage_b.name, b.options())]
    rows, notes = [], []
    shared: set[str] = set()
    for turns in range(1, max(limits) + 1):
        before = _results(a.database, stage_a.outcomes(), turns)
        after = _results(b.database, stage_b.outcomes(), turns)
        changed = {
            name
            for name in before.keys() & after.keys()
            if None not in (before[name][1], after[name][1]) and before[name][1] != after[name][1]
        }
        shared = (before.keys() & after.keys()) - changed
        values = [{name: [found[name][0]] for name in shared} for found in (before, after)]
        found = paired_difference(f"1@{turns}", *values)
        rows.append(json_value(_fields(found)))
        if turns == 1:
            for names, where in (
                (before.keys() - after.keys(), f"only in {a.path.name}"),
                (after.keys() - before.keys(), f"only in {b.path.name}"),
                (changed, "in both under the same name, but not the same problem"),
            ):
                if names:
                    notes.append(f"{len(names)} left out, {where}: {', '.join(sorted(names)[:5])}")
    return {"problems": len(shared), "rows": rows, "notes": notes}


def _fields(found: Any) -> dict[str, Any]:
    names = ("metric", "a", "b", "difference", "low", "high", "p_value")
    return {name: getattr(found, name) for name in (*names, "problems", "better", "worse")}


def _results(
    database: Database, outcomes: pa.Table, turns: int
) -> dict[str, tuple[float, str | None]]:
    """By problem: the share solved with so many turns at most, and the problem's hash."""
    found = database.rows(_RESULTS.format(turns=turns), outcomes=outcomes)
    return {
        name: (math.nan if is_unknown else rate, known_hash)
        for name, rate, known_hash, is_unknown in found
    }


def _curves(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Training curves of runs whose settings are equal but for the seed, as one."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.metrics.all():
            key = json.dumps(without_seed(flat(run.options())), sort_keys=True, default=str)
            groups.setdefault(key, []).append(run)
    return [_curve(group) for group in groups.values()]


def _curve(runs: Sequence[Run]) -> dict[str, Any]:
    by_update: list[dict[int, Any]] = [
        {line["update"]: line for line in run.metrics.all() if type(line.get("update")) is int}
        for run in runs
    ]
    updates = sorted(set.intersection(*(set(lines) for lines in by_update)))
    series = {}
    for name in CURVES:
        each = [[_number(lines[u].get(name)) for lines in by_update] for u in updates]
        intervals = [mean_over_seeds(values) for values in each]
        if any(mean is not None for mean, _, _ in intervals):
            mean, low, high = (list(part) for part in zip(*intervals, strict=True))
            series[name] = {"mean": mean, "low": low, "high": high}
    return {
        "name": runs[0].path.name,
        "ids": [run.id for run in runs],
        "seeds": [run.options().get("seed") for run in runs],
        "update": updates,
        "series": series,
    }


def mean_over_seeds(
    values: Sequence[float | None],
) -> tuple[float | None, float | None, float | None]:
    """The mean and its 95 % interval by Student's t; no interval of one seed, nothing of a gap.

    Example:
        >>> [round(x, 2) for x in mean_over_seeds([0.5, 0.7])]
        [0.6, -0.67, 1.87]
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None, None
    if len(known) == 1:
        return known[0], None, None
    from scipy.special import stdtrit

    half = float(stdtrit(len(known) - 1, _CONFIDENCE)) * stdev(known) / math.sqrt(len(known))
    mean = fmean(known)
    return mean, mean - half, mean + half


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]
