"""Metrics of a batch of rollouts, by the names of ``docs/metrics.md``."""

from collections.abc import Sequence

from rlef.evaluation import episode_statistics
from rlef.rollout import Rollout


def solve_metrics(rollouts: Sequence[Rollout], turn_limit: int) -> dict[str, float]:
    """Returns what became of the episodes of a batch."""
    records = [rollout.record for rollout in rollouts]
    statistics = episode_statistics(records, turn_limit, code_changes=False)  # the learner waits
    rates = statistics.solve_rate_by_turn
    return {
        "solve_rate": statistics.one_at_n,
        **{f"solve_rate/turn_{turn}": rate for turn, rate in enumerate(rates, start=1)},
        "repair_rate": statistics.repair_rate,
        "invalid_rate": statistics.invalid_rate,
        "repeated_rate": statistics.repeated_rate,
        "context_limit_rate": statistics.context_limit_rate,
    }
