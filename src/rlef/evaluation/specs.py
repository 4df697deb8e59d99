"""Metrics by name, "1@3", "10@100", "pass@10", and their values with intervals.

Every turn counts as a sample: with a turn limit of T, n@k takes ``k // T`` episodes of each problem
(10@100 with three turns: 33), and each of them offers its last program, since any earlier one
failed its public tests. Where k is below T, episodes are cut after k turns: an episode ends as soon
as its public tests pass, so that is what a lower turn limit would have given (1@1 of a run with
three turns: the first answers). Blind episodes go on all the same, so of them nobody knows. pass@k
counts whole episodes instead, whatever their turns.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlef.environment.types import EpisodeRecord, StopReason
from rlef.evaluation.bootstrap import DRAWS, PERCENTILES, bootstrap_interval
from rlef.evaluation.metrics import n_at_k
from rlef.evaluation.statistics import is_known

_NAME = re.compile(r"(pass|[1-9]\d*)@([1-9]\d*)")
_AT_ONCE = 500
"""Problems whose episodes are redrawn together."""


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
    """A metric of one run, with two 95 % intervals.

    NaN where there are no results, or blind episodes would have to be cut: nobody knows how they
    would have ended.
    """

    estimate: float
    """Mean over problems."""
    low: float
    high: float
    """The paper's bootstrap: other samples of these problems. N results are drawn with replacement.
    A metric of one episode pools the results of all problems; one of several episodes is defined
    per problem, so there the N episodes of each problem are drawn from its own; NaN where a problem
    has fewer than twice the episodes that the metric draws, for redrawn ones repeat themselves and
    the interval would lie below the estimate."""
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
    draws: int = DRAWS,
    seed: int = 0,
) -> Measured:
    """The metric of one run's episodes.

    Args:
        records: Episodes of any number of problems, in any order. Infrastructure errors do not
            count.
        spec: The metric.
        turn_limit: The limit that they were played with, or a lower one to see what it would give.
        draws: Resamples of each bootstrap.
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
    known: bool = True
    """Whether that is known, see ``statistics.is_known``."""


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
        known=is_known(record, turns),
    )


def _values(outcomes: Sequence[Outcome], spec: MetricSpec, turn_limit: int) -> list[float]:
    episodes = spec.episodes(turn_limit)
    if episodes == 1:
        return [outcome.solved if outcome.known else math.nan for outcome in outcomes]
    if not all(outcome.known for outcome in outcomes):
        return [math.nan]
    public = [outcome.passed_public for outcome in outcomes]
    solved = [outcome.solved for outcome in outcomes]
    return [n_at_k(public, solved, spec.n or episodes, episodes)]  # pass@k is k@k


def _within_problems(
    groups: Sequence[Sequence[Outcome]], spec: MetricSpec, turn_limit: int, draws: int, seed: int
) -> tuple[float, float]:
    """Percentiles of the metric when each problem's episodes are drawn from its own."""
    if not groups or not all(outcome.known for outcomes in groups for outcome in outcomes):
        return math.nan, math.nan
    episodes = spec.episodes(turn_limit)
    n = spec.n or episodes
    rng = np.random.default_rng(seed)
    sums = np.zeros(draws)
    counts = np.array([_counts(outcomes) for outcomes in groups])
    totals = counts.sum(axis=1)
    for total in np.unique(totals):
        same = counts[totals == total]
        for start in range(0, len(same), _AT_ONCE):
            shares = same[start : start + _AT_ONCE] / total
            drawn = rng.multinomial(total, shares, size=(draws, len(shares)))
            good, false = drawn[..., 0], drawn[..., 1]
            sums += n_at_k_of_counts(good, good + false, int(total), n, episodes).sum(axis=1)
    low, high = np.percentile(sums / len(groups), PERCENTILES)
    return float(low), float(high)


def _counts(outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    """How many pass all tests, the public tests only, and not even those."""
    solved = sum(outcome.solved for outcome in outcomes)
    public = sum(outcome.passed_public for outcome in outcomes)
    return solved, public - solved, len(outcomes) - public


def n_at_k_of_counts(
    solved: NDArray[np.int64], public: NDArray[np.int64], total: int, n: int, k: int
) -> NDArray[np.float64]:
    """``n_at_k`` of many problems at once.

    Args:
        solved: Any shape: samples that pass all tests.
        public: The same shape: samples that pass the public tests.
        total: Samples of each problem.
        n: Submissions.
        k: Samples drawn.
    """
    codes, places = np.unique(public * (total + 1) + solved, return_inverse=True)
    candidates, correct = (column[:, None] for column in np.divmod(codes, total + 1))
    drawn = np.arange(k + 1)  # of the k, those that pass the public tests
    submitted = np.minimum(drawn, n)
    log_factorials = np.concatenate([[0.0], np.log(np.arange(1, total + 1)).cumsum()])

    def log_comb(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logarithm of the binomial coefficient; minus infinity where there is no way to choose."""
        is_possible = (k >= 0) & (k <= n)
        n, k = np.where(is_possible, n, 0), np.where(is_possible, k, 0)
        logs = log_factorials[n] - log_factorials[k] - log_factorials[n - k]
        return np.where(is_possible, logs, -np.inf)

    log_chance = log_comb(candidates, drawn) + log_comb(total - candidates, k - drawn)
    log_chance -= log_comb(np.array(total), np.array(k))
    with np.errstate(invalid="ignore"):  # -inf less -inf, where the chance is 0
        log_miss = log_comb(candidates - correct, submitted) - log_comb(candidates, submitted)
        solves = np.where(np.isneginf(log_chance), 0.0, 1 - np.exp(log_miss))
    chances: NDArray[np.float64] = (np.exp(log_chance) * solves).sum(axis=1)
    return chances[places].reshape(solved.shape)
