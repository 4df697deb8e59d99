"""Metrics by name, "1@3", "10@100", "pass@10", and their values with intervals.

Every turn counts as a sample: with a turn limit of T, n@k takes ``k // T`` episodes of each problem
(10@100 with three turns: 33), and each of them offers its last program, since any earlier one
failed its public tests. Where k is below T, episodes are cut after k turns: an episode ends as soon
as its public tests pass, so that is what a lower turn limit would have given (1@1 of a run with
three turns: the first answers). pass@k counts whole episodes instead, whatever their turns.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rlef.environment.types import EpisodeRecord, StopReason
from rlef.evaluation.bootstrap import bootstrap_interval
from rlef.evaluation.metrics import n_at_k

_NAME = re.compile(r"(pass|[1-9]\d*)@([1-9]\d*)")
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """n@k, or pass@k where ``n`` is ``None``."""

    n: int | None
    """Submissions; ``None``: pass@k."""
    k: int
    """Samples (turns) of n@k; episodes of pass@k."""

    @property
    def name(self) -> str:
        """As it is written, such as "10@100"."""
        return f"{'pass' if self.n is None else self.n}@{self.k}"

    def turns(self, turn_limit: int) -> int:
        """Turns of an episode that the metric looks at, at most."""
        return turn_limit if self.n is None else min(self.k, turn_limit)

    def episodes(self, turn_limit: int) -> int:
        """Episodes that it draws of each problem, so that a run needs as many or more."""
        return self.k if self.n is None else self.k // self.turns(turn_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A metric of one run, with two 95 % intervals; NaN where there are no results."""

    estimate: float
    """Mean over problems."""
    low: float
    high: float
    """The paper's bootstrap: other samples of these problems. N results are drawn with replacement
    200 times. A metric of one episode pools the results of all problems; one of several episodes is
    defined per problem, so there the N episodes of each problem are drawn from its own; NaN where a
    problem has fewer than twice the episodes that the metric draws, for redrawn ones repeat
    themselves and the interval would lie below the estimate."""
    low_problems: float
    high_problems: float
    """Bootstrap over problems: other problems of this kind. The one for claims about a model."""
    problems: int
    """Problems that it is the mean of."""
    left_out: int
    """Problems left out: infrastructure errors left them too few episodes."""
    episodes: int
    """Episodes that it rests on."""
    samples: int
    """Answers that it rests on: the turns of those episodes."""

    def to_json(self) -> dict[str, float | None]:
        """All fields as JSON values, with null for NaN."""
        return {
            key: None if math.isnan(value) else value
            for key, value in dataclasses.asdict(self).items()
        }


def parse_metrics(text: str) -> tuple[MetricSpec, ...]:
    """Reads names of metrics, such as "1@3,10@100,pass@10".

    Raises:
        ValueError: One is no metric, submits more than it samples, or is named twice.

    Example:
        >>> [spec.name for spec in parse_metrics("1@3, pass@10")]
        ['1@3', 'pass@10']
    """
    specs: list[MetricSpec] = []
    for word in map(str.strip, text.split(",")):
        match = _NAME.fullmatch(word)
        if not match:
            raise ValueError(
                f"metric {word!r} is not known; allowed: n@k and pass@k with whole numbers from 1, "
                "such as 1@3, 10@100 or pass@10"
            )
        spec = MetricSpec(None if match[1] == "pass" else int(match[1]), int(match[2]))
        if spec.n is not None and spec.n > spec.k:
            raise ValueError(f"metric {word!r} submits more than it samples; allowed: n up to k")
        if spec in specs:
            raise ValueError(f"metric {word!r} is named twice")
        specs.append(spec)
    return tuple(specs)


def measure(
    records: Iterable[EpisodeRecord],
    spec: MetricSpec,
    turn_limit: int,
    *,
    draws: int = 200,
    seed: int = 0,
) -> Measured:
    """The metric of one run's episodes.

    Args:
        records: Episodes of any number of problems, in any order. Infrastructure errors do not
            count.
        spec: The metric.
        turn_limit: The limit that they were played with, or a lower one to see what it would give.
        draws: Resamples of each bootstrap; the paper's 200.
        seed: Seed of the draws.

    Raises:
        ValueError: A problem has fewer episodes than the metric draws, or ``turn_limit`` or
            ``draws`` is below 1.
    """
    everything = list(records)
    groups = outcomes_by_problem(everything, spec, turn_limit)
    values = {name: _values(outcomes, spec, turn_limit) for name, outcomes in groups.items()}
    by_problem = bootstrap_interval(values, unit="problem", draws=draws, seed=seed)
    if spec.episodes(turn_limit) == 1:
        pooled = bootstrap_interval(values, unit="result", draws=draws, seed=seed)
        low, high = pooled.low, pooled.high
    elif min(map(len, groups.values()), default=0) < 2 * spec.episodes(turn_limit):
        low = high = math.nan
    else:
        low, high = _within_problems(list(groups.values()), spec, turn_limit, draws, seed)
    return Measured(
        estimate=by_problem.estimate,
        low=low,
        high=high,
        low_problems=by_problem.low,
        high_problems=by_problem.high,
        problems=len(groups),
        left_out=len({record.problem for record in everything} - groups.keys()),
        episodes=sum(map(len, groups.values())),
        samples=sum(outcome.turns for outcomes in groups.values() for outcome in outcomes),
    )


def values_by_problem(
    records: Iterable[EpisodeRecord], spec: MetricSpec, turn_limit: int
) -> dict[str, list[float]]:
    """The metric's results as the bootstrap takes them.

    Returns:
        Problem name to 0 or 1 for each episode where the metric draws one episode, else to the one
        value of n@k or pass@k. Problems left with too few episodes by infrastructure errors are
        missing.

    Raises:
        ValueError: As ``measure``.
    """
    groups = outcomes_by_problem(records, spec, turn_limit)
    return {name: _values(outcomes, spec, turn_limit) for name, outcomes in groups.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended, perhaps cut."""

    passed_public: bool
    solved: bool
    turns: int


def outcomes_by_problem(
    records: Iterable[EpisodeRecord], spec: MetricSpec, turn_limit: int
) -> dict[str, list[Outcome]]:
    """The outcomes of all episodes that count, cut to the metric's turns.

    Returns:
        Problem name to outcomes, for the problems with enough of them.

    Raises:
        ValueError: As ``measure``.
    """
    if turn_limit < 1:
        raise ValueError(f"turn_limit must be at least 1, not {turn_limit}")
    groups: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        groups.setdefault(record.problem, []).append(record)
    needed, turns = spec.episodes(turn_limit), spec.turns(turn_limit)
    for name, group in groups.items():
        if len(group) < needed:
            raise ValueError(
                f"{spec.name} at a turn limit of {turn_limit} needs {needed} episodes per problem, "
                f"but problem {name!r} has {len(group)}"
            )
    counted = {
        name: [_cut(record, turns) for record in group if record.stop is not StopReason.INFRA_ERROR]
        for name, group in groups.items()
    }
    return {name: outcomes for name, outcomes in counted.items() if len(outcomes) >= needed}


def _cut(record: EpisodeRecord, turns: int) -> Outcome:
    is_whole = len(record.turns) <= turns
    return Outcome(
        passed_public=is_whole and record.passed_public,
        solved=is_whole and record.solved,
        turns=min(len(record.turns), turns),
    )


def _values(outcomes: Sequence[Outcome], spec: MetricSpec, turn_limit: int) -> list[float]:
    episodes = spec.episodes(turn_limit)
    if episodes == 1:
        return [float(outcome.solved) for outcome in outcomes]
    public = [outcome.passed_public for outcome in outcomes]
    solved = [outcome.solved for outcome in outcomes]
    return [n_at_k(public, solved, spec.n or episodes, episodes)]  # pass@k is k@k


def _within_problems(
    groups: Sequence[Sequence[Outcome]], spec: MetricSpec, turn_limit: int, draws: int, seed: int
) -> tuple[float, float]:
    """Percentiles of the metric when each problem's episodes are drawn from its own."""
    if not groups:
        return math.nan, math.nan
    episodes = spec.episodes(turn_limit)
    n = spec.n or episodes
    rng = np.random.default_rng(seed)
    means = np.zeros(draws)
    for outcomes in groups:
        total = len(outcomes)
        solved = sum(outcome.solved for outcome in outcomes)
        public = sum(outcome.passed_public for outcome in outcomes)
        shares = np.array([solved, public - solved, total - public]) / total
        for i, (good, false, bad) in enumerate(rng.multinomial(total, shares, size=draws)):
            means[i] += _n_at_k_of_counts(int(good), int(false), int(bad), n, episodes)
    low, high = np.percentile(means / len(groups), _PERCENTILES)
    return float(low), float(high)


@lru_cache(maxsize=100_000)
def _n_at_k_of_counts(good: int, false: int, bad: int, n: int, k: int) -> float:
    """n@k of so many samples that pass all tests, the public tests only, and not even those."""
    public = [True] * (good + false) + [False] * bad
    return n_at_k(public, [True] * good + [False] * (false + bad), n, k)
