"""One evaluation of a model as numbers: the entries "before", "after" ... of a run's summary."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rlef.environment import EpisodeRecord, StopReason
from rlef.evaluation.bootstrap import (
    Interval,
    bootstrap_interval,
    paired_difference_interval,
    ratio_interval,
)
from rlef.evaluation.specs import MetricSpec, values_by_problem
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
        "independent": _independent(records, turn_limit),
        "statistics": episode_statistics(records, turn_limit).to_json(),
    }


def _independent(records: Sequence[EpisodeRecord], turn_limit: int) -> dict[str, object]:
    """What as many first answers as there are turns come to, drawn without feedback.

    The same number of answers at most is paid for, and one of them submitted: of the first answers
    one that passes the public tests. Empty where a problem has fewer episodes than turns.

    Returns:
        ``solve``: 1@n of independent answers. ``difference``: 1@n of turns with feedback less that.
    """
    spec = MetricSpec(1, turn_limit)
    try:
        first_answers = values_by_problem(records, spec, 1)
    except ValueError:  # too few episodes of a problem
        return {}
    if turn_limit == 1 or not first_answers:
        return {}
    turns = values_by_problem(records, spec, turn_limit)
    in_turns = {name: turns[name] for name in first_answers}
    return {
        "solve": _json(bootstrap_interval(first_answers)),
        "difference": _json(paired_difference_interval(first_answers, in_turns)),
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
