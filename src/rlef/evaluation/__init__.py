"""Metrics of evaluated models: n@k, pass@k, what happens turn by turn, and how sure it is."""

from rlef.evaluation.bootstrap import Interval, bootstrap_interval, paired_difference_interval
from rlef.evaluation.metrics import n_at_k, pass_at_k
from rlef.evaluation.statistics import (
    HiddenDetailSplit,
    Statistics,
    episode_statistics,
    solved_by_problem,
    split_by_hidden_detail,
)

__all__ = [
    "HiddenDetailSplit",
    "Interval",
    "Statistics",
    "bootstrap_interval",
    "episode_statistics",
    "n_at_k",
    "paired_difference_interval",
    "pass_at_k",
    "solved_by_problem",
    "split_by_hidden_detail",
]
