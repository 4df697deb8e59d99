"""Two runs on the same problems: differences, their intervals, and whether chance explains them.

Hard and easy problems cancel, since each problem is compared with itself. A positive difference is
in favour of the second run.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from rlef.environment.types import EpisodeRecord, StopReason
from rlef.evaluation.bootstrap import DRAWS, paired_difference_interval
from rlef.evaluation.budget import (
    Unit,
    budget_steps,
    chances_by_problem,
    known_units,
    largest_budget,
)
from rlef.evaluation.certainty import Values, change_table, half_width, mean_rate, pooled
from rlef.evaluation.specs import MetricSpec, values_by_problem
from rlef.run import json_value

_EXACT_UP_TO = 16
"""Problems with a difference, up to which all assignments of signs are tried."""
_FLIPS, _CHUNK = 10_000, 1000
_ROUNDING = 1e-9


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
    by_seed: Mapping[int, Sequence[EpisodeRecord]] = field(default_factory=dict)
    """Where the records are of several trainings that differ by their seed: seed to records. Empty:
    they are of one policy."""


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
    """95 % interval: a bootstrap over problems, each with both of its results. Of several trainings
    over seeds too, see ``difference_over_seeds``."""
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
    seeds: int = 1
    """Seeds that the intervals are over, beside problems; 1: over problems only."""
    unpaired: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    """Seeds of either run that are left out, as the other one has fewer."""

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
        if self.seeds > 1:
            lines.append(
                f"95 % interval: over problems and {self.seeds} seeds; p: these policies, other "
                "problems"
            )
        for label, left in zip((self.a, self.b), self.unpaired, strict=True):
            if left:
                lines.append(
                    f"left out, as the other side has fewer seeds: {label}, "
                    + ", ".join(map(str, left))
                )
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
    names_a, names_b = (problem_names(run) for run in (a, b))
    shared = shared_problems(a, b)
    changed = (names_a & names_b) - shared
    a, b = (on_problems(run, shared) for run in (a, b))
    return Comparison(
        a=a.label,
        b=b.label,
        problems=len(shared),
        metrics=tuple(
            _difference(spec.name, results_by_seed(a, spec), results_by_seed(b, spec), draws, seed)
            for spec in metrics
        ),
        equal_cost=_at_equal_cost(a, b, draws, seed),
        only_a=tuple(sorted(names_a - names_b)),
        only_b=tuple(sorted(names_b - names_a)),
        changed=tuple(sorted(changed)),
        seeds=max(1, len(_pairs(_policies(a), _policies(b)))),
        unpaired=_left_out(_policies(a), _policies(b)),
    )


def paired_difference(
    metric: str, a: Values, b: Values, draws: int = DRAWS, seed: int = 0
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


def difference_over_seeds(
    metric: str,
    lower: Mapping[int, Values],
    higher: Mapping[int, Values],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Difference, tuple[float, ...]]:
    """The difference of two ways to train, with its interval over problems and seeds.

    All policies are examined on the same problems, and those of a seed are compared with each
    other. The interval is the difference ± ``certainty.half_width``. With one seed nothing is known
    of others: it is over problems, a bootstrap.

    Args:
        metric: What is compared.
        lower: Seed to problem to results; at least one seed. Of a policy that no training has made
            ``certainty.same_for`` makes one.
        higher: Likewise, of the same seeds.
        draws: Resamples of the bootstrap.
        seed: Of all draws.

    Returns:
        The difference, and that of each seed.
    """
    seeds = sorted(lower)
    before, after = ([side[each] for each in seeds] for side in (lower, higher))
    difference = paired_difference(metric, pooled(before), pooled(after), draws, seed)
    by_seed = tuple(mean_rate(b) - mean_rate(a) for a, b in zip(before, after, strict=True))
    if len(seeds) > 1:
        half, middle = half_width(change_table(before, after)), difference.difference
        difference = dataclasses.replace(difference, low=middle - half, high=middle + half)
    return difference, by_seed


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


def problem_names(run: ComparedRun) -> set[str]:
    """Names of its problems."""
    return {record.problem for record in run.records}


def shared_problems(a: ComparedRun, b: ComparedRun) -> set[str]:
    """Names of the problems that both runs have, without those that are others under one name.

    Raises:
        ValueError: There is none.
    """
    both = problem_names(a) & problem_names(b)
    shared = {name for name in both if not _are_different(name, a, b)}
    if not shared:
        raise ValueError(
            f"{a.label} and {b.label} share no problem; allowed: runs on the same data"
        )
    return shared


def on_problems(run: ComparedRun, problems: Set[str]) -> ComparedRun:
    """The run on some of its problems."""

    def only(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
        return [record for record in records if record.problem in problems]

    by_seed = {seed: only(records) for seed, records in run.by_seed.items()}
    return dataclasses.replace(run, records=only(run.records), by_seed=by_seed)


def results_by_seed(run: ComparedRun, spec: MetricSpec) -> dict[int, Values]:
    """What each policy of a run has per problem: seed to problem to results; one policy: seed 0.

    Raises:
        ValueError: A problem has fewer episodes than the metric draws.
    """
    try:
        return {
            seed: values_by_problem(records, spec, run.turn_limit)
            for seed, records in _policies(run).items()
        }
    except ValueError as error:
        raise ValueError(f"{run.label}: {error}") from None


def _are_different(name: str, a: ComparedRun, b: ComparedRun) -> bool:
    return name in a.hashes and name in b.hashes and a.hashes[name] != b.hashes[name]


def _policies(run: ComparedRun) -> Mapping[int, Sequence[EpisodeRecord]]:
    """The policies of a run, without seeds that have infrastructure errors only."""
    found = {
        seed: records
        for seed, records in run.by_seed.items()
        if any(record.stop is not StopReason.INFRA_ERROR for record in records)
    }
    return found or {0: run.records}


def _pairs(a: Collection[int], b: Collection[int]) -> list[tuple[int, int]]:
    """Seeds of two ways to train that are compared with each other.

    Those of both sides, if they are all that one side has. Else in their order: trainings with
    other seeds have nothing in common, so any pairs do. A side of one policy is compared with all
    of the other.
    """
    if min(len(a), len(b)) < 2:
        return [(one, other) for one in sorted(a) for other in sorted(b)]
    both = sorted(set(a) & set(b))
    if len(both) == min(len(a), len(b)):
        return [(each, each) for each in both]
    return list(zip(sorted(a), sorted(b), strict=False))


def _left_out(a: Collection[int], b: Collection[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Seeds of either side that have no pair."""
    pairs = _pairs(a, b)
    ones, others = ({pair[side] for pair in pairs} for side in (0, 1))
    return tuple(sorted(set(a) - ones)), tuple(sorted(set(b) - others))


def _difference(
    metric: str, a: Mapping[int, Values], b: Mapping[int, Values], draws: int, seed: int
) -> Difference:
    """The difference of what the policies of two runs have per problem."""
    pairs = _pairs(a, b)
    if len(pairs) < 2:
        before, after = (pooled(list(side.values())) for side in (a, b))
        return paired_difference(metric, before, after, draws, seed)
    lower = {i: a[one] for i, (one, _) in enumerate(pairs)}
    higher = {i: b[other] for i, (_, other) in enumerate(pairs)}
    return difference_over_seeds(metric, lower, higher, draws=draws, seed=seed)[0]


def _at_equal_cost(
    a: ComparedRun, b: ComparedRun, draws: int, seed: int
) -> dict[Unit, tuple[Difference, ...]]:
    rows: dict[Unit, tuple[Difference, ...]] = {}
    for unit in known_units([*a.records, *b.records]):
        top = min(
            largest_budget(records, run.turn_limit, unit)
            for run in (a, b)
            for records in _policies(run).values()
        )
        budgets = budget_steps(top, unit)
        before, after = (_curves(run, budgets, unit, seed) for run in (a, b))
        rows[unit] = tuple(
            _difference(_within(budget, unit), _at(before, i), _at(after, i), draws, seed)
            for i, budget in enumerate(budgets)
        )
    return rows


_Curves = Mapping[int, Mapping[str, NDArray[np.float64]]]
"""Seed to problem to a number for each budget."""


def _curves(run: ComparedRun, budgets: Sequence[int], unit: Unit, seed: int) -> _Curves:
    return {
        each: chances_by_problem(records, run.turn_limit, budgets, unit, seed=seed)
        for each, records in _policies(run).items()
    }


def _at(curves: _Curves, place: int) -> dict[int, Values]:
    """One point of each curve."""
    return {
        seed: {name: [float(curve[place])] for name, curve in by_problem.items()}
        for seed, by_problem in curves.items()
    }


def _within(budget: int, unit: Unit) -> str:
    """Such as "within 3 turns"."""
    return f"within {budget} {unit.replace('_', ' ')}".removesuffix("s" if budget == 1 else "")


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
