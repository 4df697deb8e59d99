"""Solve rate against cost: what so many turns or tokens per problem buy.

Episodes of a problem are drawn one after another, without replacement, until the budget is spent;
the problem is solved if an episode solves it before. Every turn is paid for, so many short episodes
and few long ones compare at equal cost. Unlike n@k this asks for no choice of a submission: any
solved episode counts, as in pass@k, which the curve of a turn limit of 1 is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.evaluation.bootstrap import DRAWS, PERCENTILES, resampled_means
from rlef.evaluation.statistics import is_known

Unit = Literal["turns", "tokens", "completion_tokens"]
"""``turns``: answers (samples). ``tokens``: of each turn, those of its whole prompt and its answer,
as a server bills them. ``completion_tokens``: of the answers only."""
UNITS: tuple[Unit, ...] = ("turns", "tokens", "completion_tokens")
_PERMUTATIONS = 1000
_STEPS = (1, 2, 3, 5)

_Floats = NDArray[np.float64]


class CostPoint(NamedTuple):
    """Solve rate within a budget per problem, with its 95 % bootstrap interval over problems."""

    budget: int
    estimate: float
    low: float
    high: float


class _Spent(NamedTuple):
    """An episode as a purchase."""

    cost: int
    solved: bool


def cost_curve(
    records: Iterable[EpisodeRecord],
    turn_limit: int,
    unit: Unit = "turns",
    *,
    budgets: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[CostPoint, ...]:
    """Solve rate within growing budgets.

    Args:
        records: Episodes of one run. Infrastructure errors do not count.
        turn_limit: The limit that they were played with, or a lower one to cut them: with 1, their
            first answers are independent samples.
        unit: What is paid for.
        budgets: Per problem; by default 1, 2, 3, 5, 10, 20, ... up to ``largest_budget`` (from 100
            on for tokens), the same steps for all runs so that their curves can be laid beside
            each other.
        draws: Resamples of the bootstrap.
        seed: Seed of the bootstrap and of the permutations.

    Raises:
        ValueError: A budget is beyond ``largest_budget`` or below 1, or a turn holds no count of
            tokens.
    """
    everything = list(records)
    if budgets is None:
        budgets = budget_steps(largest_budget(everything, turn_limit, unit), unit)
    chances = chances_by_problem(everything, turn_limit, budgets, unit, seed=seed)
    if not chances:
        return tuple(CostPoint(budget, math.nan, math.nan, math.nan) for budget in budgets)
    curves = np.array(list(chances.values()))
    low, high = np.percentile(resampled_means(curves, draws, seed), PERCENTILES, axis=0)
    return tuple(
        CostPoint(budget, *map(float, numbers))
        for budget, *numbers in zip(budgets, curves.mean(axis=0), low, high, strict=True)
    )


def chances_by_problem(
    records: Iterable[EpisodeRecord],
    turn_limit: int,
    budgets: Sequence[int],
    unit: Unit = "turns",
    *,
    seed: int = 0,
) -> dict[str, _Floats]:
    """Chance that a problem is solved within each budget.

    Exact for turns, without sampling; for tokens the mean over 1,000 seeded orders of the episodes
    (its standard error is at most 0.016 per problem, and less for the mean over problems).

    Returns:
        Problem name to as many chances as there are budgets; problems with infrastructure errors
        only are missing. NaN where blind episodes would have to be cut.

    Raises:
        ValueError: As ``cost_curve``.
    """
    records = list(records)
    groups = _purchases(records, turn_limit, unit)
    unknown = {record.problem for record in _counted(records) if not is_known(record, turn_limit)}
    top = _largest(groups)
    for budget in budgets:
        if not 1 <= budget <= top:
            raise ValueError(
                f"a budget of {budget} {unit.replace('_', ' ')} per problem cannot be measured: "
                f"the episodes last for 1 to {top}; more episodes per problem would allow more"
            )
    wanted = np.asarray(budgets, dtype=np.int64)
    return {
        name: np.full(len(wanted), math.nan)
        if name in unknown
        else _exact(group, wanted)
        if unit == "turns"
        else _sampled(group, wanted, [seed, i])
        for i, (name, group) in enumerate(groups.items())
    }


def largest_budget(records: Iterable[EpisodeRecord], turn_limit: int, unit: Unit = "turns") -> int:
    """The largest budget that no problem's episodes fall short of, 0 without episodes.

    A problem that none of its episodes solves lasts for what they cost. Any other is solved
    before they end; it lasts for as many of the run's dearest episodes, so that the limit does not
    depend on its luck.

    Raises:
        ValueError: A turn holds no count of tokens, or ``turn_limit`` is below 1.
    """
    return _largest(_purchases(records, turn_limit, unit))


def known_units(records: Iterable[EpisodeRecord]) -> tuple[Unit, ...]:
    """The units that these episodes can be counted in: all, or turns only."""
    turns = [turn for record in _counted(records) for turn in record.turns]
    return UNITS if all(_tokens(turn) is not None for turn in turns) else ("turns",)


def budget_steps(top: int, unit: Unit = "turns") -> tuple[int, ...]:
    """1, 2, 3, 5, 10, 20, ... up to ``top``; tokens start at 100.

    Example:
        >>> budget_steps(60)
        (1, 2, 3, 5, 10, 20, 30, 50)
    """
    first = 0 if unit == "turns" else 2
    powers = range(first, len(str(top)))
    return tuple(step * 10**power for power in powers for step in _STEPS if step * 10**power <= top)


def _counted(records: Iterable[EpisodeRecord]) -> list[EpisodeRecord]:
    return [record for record in records if record.stop is not StopReason.INFRA_ERROR]


def _tokens(turn: TurnRecord) -> tuple[int, int] | None:
    prompt, completion = turn.prompt_tokens, turn.completion_tokens
    return None if prompt is None or completion is None else (prompt, completion)


def _cost(record: EpisodeRecord, turn_limit: int, unit: Unit) -> int:
    turns = record.turns[:turn_limit]
    if unit == "turns":
        return len(turns)
    cost = 0
    for turn in turns:
        tokens = _tokens(turn)
        if tokens is None:
            raise ValueError(
                f"an episode on problem {record.problem!r} holds no counts of tokens; "
                "allowed is the unit 'turns'"
            )
        cost += sum(tokens) if unit == "tokens" else tokens[1]
    return cost


def _purchases(
    records: Iterable[EpisodeRecord], turn_limit: int, unit: Unit
) -> dict[str, list[_Spent]]:
    if turn_limit < 1:
        raise ValueError(f"turn_limit must be at least 1, not {turn_limit}")
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}: allowed are {', '.join(UNITS)}")
    groups: dict[str, list[_Spent]] = {}
    for record in _counted(records):
        is_solved = record.solved and len(record.turns) <= turn_limit
        spent = _Spent(_cost(record, turn_limit, unit), is_solved)
        groups.setdefault(record.problem, []).append(spent)
    return groups


def _largest(groups: Mapping[str, Sequence[_Spent]]) -> int:
    # A problem whose prompt did not fit costs nothing and is never solved, whatever the budget.
    paid = [group for group in groups.values() if any(episode.cost for episode in group)]
    dearest = max((episode.cost for group in paid for episode in group), default=0)
    lasts = (
        len(group) * dearest
        if any(episode.solved for episode in group)
        else sum(episode.cost for episode in group)
        for group in paid
    )
    return min(lasts, default=0)


def _exact(group: Sequence[_Spent], budgets: NDArray[np.int64]) -> _Floats:
    """Chances within the budgets, for small whole costs.

    A random order is that of arrival times drawn uniformly from 0 to 1. The first solved episode
    arrives at time t with density S (1 - t)^(S - 1); each failed one has come before it with chance
    t, independently, so what they cost together has the generating function
    prod (1 - t + t z^cost). The integral over t is of a polynomial of degree N - 1, which
    Gauss-Legendre nodes give exactly; a Fourier transform reads the chances off.
    """
    failed = np.bincount([episode.cost for episode in group if not episode.solved])
    solved = np.bincount([episode.cost for episode in group if episode.solved])
    num_solved = int(solved.sum())
    if not num_solved:
        return np.zeros(len(budgets))
    nodes, weights = _gauss_legendre(len(group) // 2 + 1)
    times = (nodes[:, None] + 1) / 2
    density = weights[:, None] / 2 * num_solved * (1 - times) ** (num_solved - 1)
    length = int(failed @ np.arange(len(failed))) + 1
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    function = np.ones((len(nodes), len(z)), dtype=complex)
    for cost in np.flatnonzero(failed):
        function *= (1 - times + times * z**cost) ** failed[cost]
    before = np.fft.irfft((density * function).sum(axis=0), n=length)
    by_cost = np.cumsum(np.convolve(before, solved / num_solved))
    return np.clip(by_cost[np.minimum(budgets, len(by_cost) - 1)], 0, 1)


@lru_cache(maxsize=256)
def _gauss_legendre(points: int) -> tuple[_Floats, _Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return nodes, weights


def _sampled(group: Sequence[_Spent], budgets: NDArray[np.int64], seed: Sequence[int]) -> _Floats:
    """Chances within the budgets, over random orders."""
    solved = np.array([episode.solved for episode in group])
    if not solved.any():
        return np.zeros(len(budgets))
    orders = np.tile(np.arange(len(group)), (_PERMUTATIONS, 1))
    orders = np.random.default_rng(seed).permuted(orders, axis=1)
    spent = np.array([episode.cost for episode in group])[orders].cumsum(axis=1)
    first = solved[orders].argmax(axis=1)
    spent_at_first = np.sort(spent[np.arange(_PERMUTATIONS), first])
    return np.searchsorted(spent_at_first, budgets, side="right") / _PERMUTATIONS
