"""One evaluation of a model as numbers: the entries "before", "after" ... of a run's summary."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rlef.environment import EpisodeRecord, StopReason
from rlef.evaluation.bootstrap import Interval, bootstrap_interval, ratio_interval
from rlef.evaluation.statistics import (
    episode_statistics,
    is_known,
    repairs_by_problem,
    solved_by_problem,
    split_by_hidden_detail,
)


def stage_summary(records: Sequence[EpisodeRecord], turn_limit: int) -> dict[str, object]:
    """Returns rates with their 95 % bootstrap intervals, and all statistics, as JSON values.

    All intervals draw problems, for the episodes of one problem resemble each other.

    Args:
        records: Episodes with at most ``turn_limit`` turns.
        turn_limit: Largest number of turns.
    """
    hidden = split_by_hidden_detail(records).hidden
    return {
        "solve": _json(bootstrap_interval(solved_by_problem(records))),
        "solve_rate_by_turn": [
            _json(bootstrap_interval(_solved_within(records, turn)))
            for turn in range(1, turn_limit + 1)
        ],
        "repair_rate": _json(ratio_interval(repairs_by_problem(records))),
        "hidden": {
            "solve": _json(bootstrap_interval(solved_by_problem(hidden))),
            "repair_rate": _json(ratio_interval(repairs_by_problem(hidden))),
        }
        if hidden
        else {},
        "statistics": episode_statistics(records, turn_limit).to_json(),
    }


def _solved_within(records: Sequence[EpisodeRecord], turns: int) -> Mapping[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.stop is StopReason.INFRA_ERROR:
            continue
        is_solved = record.solved and len(record.turns) <= turns
        found[record.problem].append(is_solved if is_known(record, turns) else math.nan)
    return found


def _json(interval: Interval) -> dict[str, float]:
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high}
