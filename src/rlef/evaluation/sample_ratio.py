"""How many independent answers do what a trained policy does in a few turns.

The untrained model answers each problem often, without feedback. How much so many of its answers
solve rises with their number; where it meets what the trained policy solves in one episode (1@3)
stands the number of answers that training and feedback save. The sample ratio is that number by
the turns of the episode.

What "solve" means for many answers is a choice. With pass@k any right one counts, as if somebody
knew which it is: that favours the untrained model. With n@k at most n are submitted, those that
pass the public tests first, as the paper selects; n = 1 submits as often as the trained policy.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rlef.environment.types import EpisodeRecord
from rlef.evaluation.certainty import Values, change_table, half_width, pooled
from rlef.evaluation.specs import MetricSpec, n_at_k_of_counts, outcomes_by_problem

_FIRST_ANSWER = MetricSpec(1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Independent answers that solve as much as a trained policy does in one episode.

    ``answers``, ``low`` and ``high`` are infinite where the answers at hand (``most``) solve less,
    and 0 where a single one solves more. NaN where nothing is known.
    """

    metric: str
    """What is asked of the independent answers: "pass@k" or "1@k"."""
    trained: float
    """What the trained policy solves, mean over seeds and problems."""
    turns: int
    """Answers of its episode, at most."""
    answers: float
    """Where the curve of the independent answers meets that, interpolated between whole numbers."""
    low: float
    high: float
    """95 % interval, over problems and (with several) seeds: all numbers of answers whose solve
    rate does not differ from the trained policy's by more than chance."""
    most: int
    """Independent answers at hand of each problem."""
    independent: float
    """What that many solve."""
    problems: int
    seeds: int
    """Trained policies; with one the interval is over problems only."""

    def ratio(self, answers: float) -> float:
        """Answers per turn of the trained policy."""
        return answers / self.turns

    def text(self, *, per_turn: bool = False) -> str:
        """Such as "13.4 (11.0 to 17.2)" or "> 100 (62.0 to > 100)".

        Args:
            per_turn: The sample ratio in place of the number of answers.
        """
        by = self.turns if per_turn else 1
        if math.isnan(self.answers):
            return "-"
        middle, low, high = (
            _bounded(each, 1 / by, self.most / by)
            for each in (self.answers / by, self.low / by, self.high / by)
        )
        return middle if math.isnan(self.low) else f"{middle} ({low} to {high})"

    def to_json(self) -> dict[str, object]:
        """All numbers; null for what is NaN, and for what is beyond ``most`` (see ``text``)."""
        names = ("answers", "low", "high")
        numbers = {name: getattr(self, name) for name in names}
        return {
            "metric": self.metric,
            "trained": _known(self.trained),
            "turns": self.turns,
            **{name: _known(value) for name, value in numbers.items()},
            "ratio": {name: _known(self.ratio(value)) for name, value in numbers.items()},
            "text": self.text(),
            "most": self.most,
            "independent": _known(self.independent),
            "problems": self.problems,
            "seeds": self.seeds,
        }


def independent_curves(
    records: Iterable[EpisodeRecord], submissions: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """What 1, 2, ... independent answers solve, of each problem.

    The first answers of all episodes are the answers: nothing had been told then. Each value is the
    exact mean over all choices of k of them (``pass_at_k``, ``n_at_k``).

    Args:
        records: Episodes of one policy, any turn limit. Infrastructure errors do not count.
        submissions: ``None``: any right answer counts, pass@k. Else n of n@k.

    Returns:
        Problem name to as many numbers as the problem with the fewest answers has; problems without
        any are missing.

    Raises:
        ValueError: ``submissions`` is below 1, or episodes without feedback went on after their
            first answer, of which nobody knows what it solved.
    """
    if submissions is not None and submissions < 1:
        raise ValueError(f"submissions is {submissions}: allowed are 1 and more, or None")
    groups = outcomes_by_problem(records, _FIRST_ANSWER, 1)
    if not all(one.known for outcomes in groups.values() for one in outcomes):
        raise ValueError(
            "what first answers solve is not known of episodes without feedback that went on; "
            "allowed: episodes of one turn (rlef eval --turns 1), or with feedback"
        )
    totals = np.array([len(outcomes) for outcomes in groups.values()])
    solved = np.array([sum(each.solved for each in outcomes) for outcomes in groups.values()])
    public = np.array([sum(each.passed_public for each in xs) for xs in groups.values()])
    most = int(totals.min()) if len(totals) else 0
    curves = np.empty((len(groups), most))
    for total in np.unique(totals):
        same = totals == total
        for k in range(1, most + 1):
            curves[same, k - 1] = n_at_k_of_counts(
                solved[same], public[same], int(total), submissions or k, k
            )
    return dict(zip(groups, curves, strict=True))


def sample_ratio(
    trained: Mapping[int, Values],
    turns: int,
    curves: Mapping[str, NDArray[np.float64]],
    metric: str = "pass@k",
) -> SampleRatio:
    """Where the curve of independent answers meets what trained policies solve.

    The interval turns the comparison around: it holds each number of answers at which the paired
    difference of the two, on the same problems, has an interval (``certainty.half_width``) with 0
    in it. So it is as sure as that interval, has no trouble with a curve that is flat or ends, and
    is a bound where the curve ends.

    Args:
        trained: Seed to problem to 1 or 0 for each episode. At least one seed.
        turns: Answers of an episode at most.
        curves: Problem to solve rates of 1, 2, ... answers, see ``independent_curves``.
        metric: What the curve is.

    Raises:
        ValueError: No problem has both.

    Example:
        >>> curves = {"a": np.array([0.0, 0.5, 1.0]), "b": np.array([0.0, 0.5, 1.0])}
        >>> sample_ratio({0: {"a": [1.0], "b": [0.5]}}, 3, curves).answers
        2.5
    """
    seeds = sorted(trained)
    every = pooled([trained[seed] for seed in seeds])
    names = [name for name in curves if every.get(name)]
    most = len(next(iter(curves.values()), ()))
    if not names or not most:
        raise ValueError("the trained and the independent answers are of different problems")
    sides = [{name: trained[seed].get(name, ()) for name in names} for seed in seeds]
    nothing = {name: [0.0] for name in names}
    table = change_table([nothing] * len(seeds), sides)
    independent = np.array([curves[name] for name in names])
    is_known = not np.isnan(table).all()
    rate = float(np.nanmean(table, axis=0).mean()) if is_known else math.nan
    # Seed by seed, the trained policy less so many answers of the untrained one.
    excess = np.array([rate - independent[:, k].mean() for k in range(most)])
    halves = np.array([half_width(table - independent[:, k]) for k in range(most)])
    return SampleRatio(
        metric=metric,
        trained=rate,
        turns=turns,
        answers=_first_below(excess),
        low=_first_below(excess - halves),
        high=_last_above(excess + halves),
        most=most,
        independent=float(independent[:, -1].mean()),
        problems=len(names),
        seeds=len(seeds),
    )


def _first_below(excess: NDArray[np.float64]) -> float:
    """The number of answers at which what is missing comes to 0."""
    if np.isnan(excess).any():
        return math.nan
    if excess[0] < 0:
        return 0.0
    for k, (here, there) in enumerate(pairwise(excess), start=1):
        if here <= 0:
            return float(k)
        if there <= 0:
            return k + float(here / (here - there))
    return float(len(excess)) if excess[-1] <= 0 else math.inf


def _last_above(excess: NDArray[np.float64]) -> float:
    """The number of answers after which what is missing stays below 0."""
    if np.isnan(excess).any():
        return math.nan
    above = np.flatnonzero(excess >= 0)
    if not len(above):
        return 0.0
    last = int(above[-1])
    if last + 1 == len(excess):
        return math.inf
    here, there = float(excess[last]), float(excess[last + 1])
    return last + 1 + here / (here - there)


def _bounded(value: float, least: float, most: float) -> str:
    if math.isinf(value):
        return f"> {most:.3g}"
    return f"< {least:.2g}" if value == 0 else f"{value:.1f}"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
