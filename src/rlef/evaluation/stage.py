"""One evaluation of a model as numbers: the entries "before", "after" ... of a run's summary."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rlef.environment import EpisodeRecord, StopReason
from rlef.evaluation.bootstrap import Interval, bootstrap_interval
from rlef.evaluation.statistics import (
    episode_statistics,
    solved_by_problem,
    split_by_hidden_detail,
)


def stage_summary(records: Sequence[EpisodeRecord], turn_limit: int) -> dict[str, object]:
    """Returns rates with their 95 % bootstrap intervals, and all statistics, as JSON values.

    Intervals of solve rates draw problems; that of the repair rate draws later turns, whose
    number differs from problem to problem.

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
        "repair_rate": _json(_repair_interval(records)),
        "hidden": {
            "solve": _json(bootstrap_interval(solved_by_problem(hidden))),
            "repair_rate": _json(_repair_interval(hidden)),
        }
        if hidden
        else {},
        "statistics": episode_statistics(records, turn_limit).to_json(),
    }


def _solved_within(records: Sequence[EpisodeRecord], turns: int) -> Mapping[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for record in _counted(records):
        found[record.problem].append(float(record.solved and len(record.turns) <= turns))
    return found


def _repair_interval(records: Sequence[EpisodeRecord]) -> Interval:
    later_turns: defaultdict[str, list[float]] = defaultdict(list)
    for record in _counted(records):
        last = len(record.turns) - 1
        for turn in range(1, len(record.turns)):
            later_turns[record.problem].append(float(record.solved and turn == last))
    return bootstrap_interval(later_turns, unit="result")


def _counted(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    return [record for record in records if record.stop is not StopReason.INFRA_ERROR]


def _json(interval: Interval) -> dict[str, float]:
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high}
