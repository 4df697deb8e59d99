"""Two runs on the same problems: differences, their intervals, and whether chance explains them.

Hard and easy problems cancel, since each problem is compared with itself. A positive difference is
in favour of the second run.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from rlef.environment.types import EpisodeRecord
from rlef.evaluation.bootstrap import DRAWS, paired_difference_interval
from rlef.evaluation.budget import (
    Unit,
    budget_steps,
    chances_by_problem,
    known_units,
    largest_budget,
)
from rlef.evaluation.specs import MetricSpec, values_by_problem
from rlef.run import json_value

_EXACT_UP_TO = 16
"""Problems with a difference, up to which all assignments of signs are tried."""
_FLIPS, _CHUNK = 10_000, 1000
_ROUNDING = 1e-9

_Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One side of a comparison."""

    label: str
    """What tables call it."""
    records: Sequence[EpisodeRecord]
    turn_limit: int
    """The limit that they were played with."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Problem name to a hash of the problem, where known: equal names with different hashes are
    different problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One number of two runs; NaN where no problem has it in both, or it is not known of one."""

    metric: str
    a: float
    b: float
    difference: float
    """``b - a``."""
    low: float
    high: float
    """95 % interval: a bootstrap over problems, each with both of its results."""
    p_value: float
    """See ``sign_flip_p_value``."""
    problems: int
    better: int
    """Problems with a higher value in b."""
    worse: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What became of the problems that two runs share."""

    a: str
    b: str
    problems: int
    """Problems that both runs have."""
    metrics: tuple[Difference, ...]
    equal_cost: Mapping[Unit, tuple[Difference, ...]]
    """Solve rates within the same budgets per problem, by unit; see ``budget``."""
    only_a: tuple[str, ...]
    """Names of problems that only one run has; they are left out, as are ``changed`` ones."""
    only_b: tuple[str, ...]
    changed: tuple[str, ...]
    """Names that stand for different problems in the two runs."""

    def to_json(self) -> dict[str, object]:
        """All fields as JSON values, with null for NaN."""
        data = dataclasses.asdict(self)
        return {key: json_value(value) for key, value in data.items()}

    def headings(self) -> list[str]:
        """Headings of ``rows``."""
        return ["", self.a, self.b, "difference", "95 % interval", "p", "better / worse"]

    def rows(self) -> list[list[str]]:
        """A table in percent and points: a row per metric, then one per budget in turns."""
        return [_cells(each) for each in (*self.metrics, *self.equal_cost.get("turns", ()))]

    def notes(self) -> list[str]:
        """What a reader of the table must know, one sentence a line."""
        lines = [
            f"{self.problems} problem{'s' * (self.problems != 1)} in both, rates in %; "
            f"difference: {self.b} less {self.a}, in points; better / worse: problems"
        ]
        for names, where in (
            (self.only_a, f"only in {self.a}"),
            (self.only_b, f"only in {self.b}"),
            (self.changed, "in both under the same name, but not the same problem"),
        ):
            if names:
                some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                lines.append(f"{len(names)} left out, {where}: {some}")
        return lines


def compare_runs(
    a: ComparedRun,
    b: ComparedRun,
    metrics: Sequence[MetricSpec],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compares two runs on the problems that they share.

    Their turn limits and numbers of episodes may differ: n@k and budgets count every turn, so 1@3
    of one run with three turns stands beside three independent answers of another.

    Args:
        a: The run compared with, such as the model before training.
        b: The run of interest.
        metrics: Metrics of the table.
        draws: Resamples of each interval.
        seed: Of all draws.

    Raises:
        ValueError: The runs share no problem, or one has too few episodes for a metric.
    """
    names_a, names_b = ({record.problem for record in run.records} for run in (a, b))
    changed = {name for name in names_a & names_b if _are_different(name, a, b)}
    shared = (names_a & names_b) - changed
    if not shared:
        raise ValueError(
            f"{a.label} and {b.label} share no problem; allowed: runs on the same data"
        )
    a, b = (
        dataclasses.replace(run, records=[r for r in run.records if r.problem in shared])
        for run in (a, b)
    )
    return Comparison(
        a=a.label,
        b=b.label,
        problems=len(shared),
        metrics=tuple(
            paired_difference(spec.name, _results(a, spec), _results(b, spec), draws, seed)
            for spec in metrics
        ),
        equal_cost=_at_equal_cost(a, b, draws, seed),
        only_a=tuple(sorted(names_a - names_b)),
        only_b=tuple(sorted(names_b - names_a)),
        changed=tuple(sorted(changed)),
    )


def paired_difference(
    metric: str, a: _Values, b: _Values, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """The difference of any number that two runs have per problem.

    Args:
        metric: What the numbers are.
        a: Problem name to its results in the first run.
        b: Likewise in the second. Problems without results on either side are left out.
        draws: Resamples of the interval.
        seed: Of all draws.
    """
    # Sorted, so that the draws are the same when a and b change places.
    both = sorted(name for name in a.keys() & b.keys() if len(a[name]) and len(b[name]))
    before, after = ({name: values[name] for name in both} for values in (a, b))
    changes = [fmean(after[name]) - fmean(before[name]) for name in both]
    changes = [0.0 if abs(change) <= _ROUNDING else change for change in changes]
    interval = paired_difference_interval(before, after, draws=draws, seed=seed)
    return Difference(
        metric=metric,
        a=fmean(map(fmean, before.values())) if both else math.nan,
        b=fmean(map(fmean, after.values())) if both else math.nan,
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_p_value(changes, seed=seed),
        problems=len(both),
        better=sum(change > 0 for change in changes),
        worse=sum(change < 0 for change in changes),
    )


def sign_flip_p_value(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of a paired permutation test.

    If the runs were alike, each problem's two results might as well have changed places. The
    p-value is the share of such exchanges whose sum of differences is as far from 0 as the real one
    or farther. It is exact for up to 16 problems with a difference; for more, 10,000 exchanges are
    drawn and the real one counts as one of them (so that it is never 0).

    Args:
        differences: One per problem; zeros change nothing.
        seed: Seed of the draws.

    Returns:
        A probability; 1 without any difference, NaN without problems or where one is NaN.

    Example:
        >>> sign_flip_p_value([1.0, 1.0, 1.0, 1.0, 0.0])
        0.125
    """
    if not differences or any(map(math.isnan, differences)):
        return math.nan
    nonzero = np.array([change for change in differences if change])
    threshold = abs(nonzero.sum()) - _ROUNDING
    if len(nonzero) <= _EXACT_UP_TO:
        bits = np.arange(2 ** len(nonzero))[:, None] >> np.arange(len(nonzero))
        return float(np.mean(np.abs((1 - 2 * (bits & 1)) @ nonzero) >= threshold))
    rng = np.random.default_rng(seed)
    hits = 1
    for _ in range(_FLIPS // _CHUNK):
        signs = 1.0 - 2.0 * rng.integers(2, size=(_CHUNK, len(nonzero)))
        hits += int(np.count_nonzero(np.abs(signs @ nonzero) >= threshold))
    return hits / (_FLIPS + 1)


def _are_different(name: str, a: ComparedRun, b: ComparedRun) -> bool:
    return name in a.hashes and name in b.hashes and a.hashes[name] != b.hashes[name]


def _results(run: ComparedRun, spec: MetricSpec) -> _Values:
    try:
        return values_by_problem(run.records, spec, run.turn_limit)
    except ValueError as error:
        raise ValueError(f"{run.label}: {error}") from None


def _at_equal_cost(
    a: ComparedRun, b: ComparedRun, draws: int, seed: int
) -> dict[Unit, tuple[Difference, ...]]:
    rows: dict[Unit, tuple[Difference, ...]] = {}
    for unit in known_units([*a.records, *b.records]):
        top = min(largest_budget(run.records, run.turn_limit, unit) for run in (a, b))
        budgets = budget_steps(top, unit)
        before, after = (
            chances_by_problem(run.records, run.turn_limit, budgets, unit, seed=seed)
            for run in (a, b)
        )
        rows[unit] = tuple(
            paired_difference(
                f"within {budget} {unit.replace('_', ' ')}".removesuffix(
                    "s" if budget == 1 else ""
                ),
                {name: [float(curve[i])] for name, curve in before.items()},
                {name: [float(curve[i])] for name, curve in after.items()},
                draws,
                seed,
            )
            for i, budget in enumerate(budgets)
        )
    return rows


def _cells(each: Difference) -> list[str]:
    if not each.problems:
        return [each.metric, *["-"] * 6]
    rates = ["-" if math.isnan(rate) else f"{100 * rate:.1f}" for rate in (each.a, each.b)]
    if math.isnan(each.difference):
        return [each.metric, *rates, *["-"] * 4]
    return [
        each.metric,
        *rates,
        f"{100 * each.difference:+.1f}",
        f"{100 * each.low:+.1f} to {100 * each.high:+.1f}",
        f"{each.p_value:.2g}",
        f"{each.better} / {each.worse}",
    ]
