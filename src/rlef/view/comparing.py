"""Runs side by side: differences of their last evaluations, and curves over seeds."""

import json
import math
import re
from collections.abc import Sequence, Set
from importlib.util import find_spec
from itertools import takewhile
from statistics import fmean, stdev
from typing import Any

import pyarrow as pa

from rlef.evaluation.compare import paired_difference
from rlef.run import json_value
from rlef.run.files import finite
from rlef.view.database import Database
from rlef.view.errors import ViewError
from rlef.view.overview import flat, without_seed
from rlef.view.runs import Run, Stage

_CURVES = re.compile(
    r"(valid_)?solve_rate(/turn_\d+)?|explained_variance(/turn_\d+)?|repair_rate|invalid_rate"
    r"|reward|kl|entropy|value|return|staleness|logprob_gap"
)
"""Metrics that are shown side by side."""
_RESULTS = """
SELECT problem, avg((solved AND turns <= {turns})::INT), any_value(problem_hash),
  bool_or(blind AND turns > {turns})
FROM outcomes WHERE stop != 'infra_error' GROUP BY problem
"""
_CONFIDENCE = 0.975
_AT_ONCE = 64


def compared(runs: Sequence[Run]) -> dict[str, Any]:
    """The first run with each of the others: ``/api/compare``.

    Raises:
        ViewError: There are too many of them.
    """
    if len(runs) > _AT_ONCE:
        raise ViewError(400, f"{len(runs)} runs; allowed: up to {_AT_ONCE}")
    first, *others = runs
    pairs: list[dict[str, Any]] = []
    notes: list[str] = []
    for other in others:
        try:
            found = paired(first, first.last_evaluation(), other, other.last_evaluation(), notes)
            pairs += found
        except ViewError as error:
            notes.append(str(error))
    return {"pairs": pairs, "curves": _curves(runs), "notes": notes}


def paired(a: Run, stage_a: Stage, b: Run, stage_b: Stage, notes: list[str]) -> list[Any]:
    """Two evaluations on the problems of both, a row for each number of turns.

    Args:
        a: A run.
        stage_a: An evaluation of it.
        b: The other run, perhaps the same.
        stage_b: An evaluation of that.
        notes: What is left out is added to these.
    """
    limits = [a.turn_limit(stage_a.name, a.options()), b.turn_limit(stage_b.name, b.options())]
    tables = stage_a.outcomes(), stage_b.outcomes()
    rows = []
    for turns in range(1, min(limits) + 1):  # beyond, 1@k is of independent episodes
        before, after = (_results(a.database, table, turns) for table in tables)
        both = before.keys() & after.keys()
        changed = {name for name in both if _differ(before[name][1], after[name][1])}
        if turns == 1:
            notes += _left_out(a, b, before.keys() - after.keys(), after.keys() - before.keys())
            notes += [f"{len(changed)} have one name in both and are not the same"] * bool(changed)
        values = [{name: [each[name][0]] for name in both - changed} for each in (before, after)]
        found = paired_difference(f"1@{turns}", values[0], values[1])
        names = ("metric", "difference", "low", "high", "p_value", "problems", "better", "worse")
        row = {name: getattr(found, name) for name in names}
        row |= {"a": a.id, "b": b.id, "stage_a": stage_a.name, "stage_b": stage_b.name}
        rows.append(json_value(row | {"value_a": found.a, "value_b": found.b}))
    return rows


def _differ(a: str | None, b: str | None) -> bool:
    return None not in (a, b) and a != b


def _left_out(a: Run, b: Run, only_a: Set[str], only_b: Set[str]) -> list[str]:
    return [
        f"{len(names)} problems left out, only in {run.path.name}: {', '.join(sorted(names)[:5])}"
        for run, names in ((a, only_a), (b, only_b))
        if names
    ]


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
    names = dict.fromkeys(name for lines in by_update for line in lines.values() for name in line)
    for name in filter(_CURVES.fullmatch, names):
        each = [[finite(lines[u].get(name)) for lines in by_update] for u in updates]
        intervals = [mean_over_seeds(values) for values in each]
        if any(mean is not None for mean, _, _ in intervals):
            mean, low, high = (list(part) for part in zip(*intervals, strict=True))
            series[name] = {"mean": mean, "low": low, "high": high}
    return {
        "label": _label([run.path.name for run in runs]),
        "ids": [run.id for run in runs],
        "seeds": [run.options().get("seed") for run in runs],
        "update": updates,
        "metrics": series,
    }


def _label(names: Sequence[str]) -> str:
    """What the names of the runs of several seeds begin with."""
    same = takewhile(lambda signs: len(set(signs)) == 1, zip(*names, strict=False))
    shared = "".join(signs[0] for signs in same).rstrip("-_. 0123456789")
    return names[0] if len(names) == 1 else shared or names[0]


def mean_over_seeds(
    values: Sequence[float | None],
) -> tuple[float | None, float | None, float | None]:
    """The mean and its 95 % interval by Student's t; no interval of one seed, nothing of a gap.

    Without scipy, which the extra ``view`` brings, there is no interval either.

    Example:
        >>> [round(x, 2) for x in mean_over_seeds([0.5, 0.7])]
        [0.6, -0.67, 1.87]
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None, None
    if len(known) == 1 or find_spec("scipy") is None:
        return fmean(known), None, None
    from scipy.special import stdtrit

    half = float(stdtrit(len(known) - 1, _CONFIDENCE)) * stdev(known) / math.sqrt(len(known))
    mean = fmean(known)
    return mean, mean - half, mean + half
