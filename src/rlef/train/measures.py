"""Metrics of a batch of rollouts, by the names of ``docs/metrics.md``."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from rlef.environment import EpisodeRecord, StopReason
from rlef.evaluation import episode_statistics
from rlef.rollout import Rollout
from rlef.sandbox import Verdict

_NO_PROGRAM = "none"


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
    """Returns the shares of rollouts by what became of their last answer; they add up to 1."""
    ends = Counter(_end(rollout.record) for rollout in rollouts)
    names = [*(verdict.value for verdict in Verdict), _NO_PROGRAM]
    return {f"verdict/{name}": ends[name] / len(rollouts) for name in names}


def _end(record: EpisodeRecord) -> str:
    """The verdict on all tests; of a program that failed public ones the first of those."""
    if record.stop is StopReason.INFRA_ERROR:
        return Verdict.IE.value
    if record.final_verdict is not None:
        return record.final_verdict.value
    if not record.turns or record.turns[-1].program is None:
        return _NO_PROGRAM
    failed = (v for v in record.turns[-1].public_verdicts if v is not Verdict.AC)
    return next(failed, Verdict.IE).value


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
