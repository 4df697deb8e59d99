"""Metrics of evaluated models: n@k, pass@k, what happens turn by turn, and how sure it is."""

from rlef.evaluation.behaviour import Behaviour, Fixed, episode_behaviour
from rlef.evaluation.bootstrap import Interval, bootstrap_interval, paired_difference_interval
from rlef.evaluation.budget import CostPoint, cost_curve, known_units, largest_budget
from rlef.evaluation.compare import (
    ComparedRun,
    Comparison,
    Difference,
    compare_runs,
    difference_over_seeds,
)
from rlef.evaluation.export import comparison_markdown, samples_jsonl, summary_markdown
from rlef.evaluation.metrics import n_at_k, pass_at_k
from rlef.evaluation.sample_ratio import SampleRatio, independent_curves, sample_ratio
from rlef.evaluation.specs import Measured, MetricSpec, measure, parse_metrics
from rlef.evaluation.statistics import (
    HiddenDetailSplit,
    Statistics,
    episode_statistics,
    solved_by_problem,
    split_by_hidden_detail,
)

__all__ = [
    "Behaviour",
    "ComparedRun",
    "Comparison",
    "CostPoint",
    "Difference",
    "Fixed",
    "HiddenDetailSplit",
    "Interval",
    "Measured",
    "MetricSpec",
    "SampleRatio",
    "Statistics",
    "bootstrap_interval",
    "compare_runs",
    "comparison_markdown",
    "cost_curve",
    "difference_over_seeds",
    "episode_behaviour",
    "episode_statistics",
    "independent_curves",
    "known_units",
    "largest_budget",
    "measure",
    "n_at_k",
    "paired_difference_interval",
    "parse_metrics",
    "pass_at_k",
    "sample_ratio",
    "samples_jsonl",
    "solved_by_problem",
    "split_by_hidden_detail",
    "summary_markdown",
]
