"""Metrics of a batch of rollouts, by the names of ``docs/metrics.md``."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from rlef.evaluation import episode_statistics
from rlef.rollout import Rollout
from rlef.sandbox import Verdict


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


def verdict_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Returns the shares of rollouts by the verdict of their last program; they add up to 1.

    ``none``: the last answer had no program.
    """
    records = [rollout.record for rollout in rollouts]
    ends = Counter("none" if r.final_verdict is None else r.final_verdict.value for r in records)
    names = [*(verdict.value for verdict in Verdict), "none"]
    return {f"verdict/{name}": ends[name] / len(records) for name in names}


def rate_metrics(rollouts: Sequence[Rollout], timing: Mapping[str, float]) -> dict[str, float]:
    """Returns what was sampled and judged per second of a batch, the update included.

    NaN where nothing was sampled, as in a batch that is repeated from disk.
    """
    seconds = timing["rollout_s"] + timing["update_s"]
    if not timing["generate_s"]:
        seconds = math.nan
    tokens = sum(int((rollout.turn_ids >= 0).sum()) for rollout in rollouts)
    tests = sum(len(turn.public_verdicts) for r in rollouts for turn in r.record.turns)
    return {"tokens_per_s": tokens / seconds, "tests_per_s": tests / seconds}
