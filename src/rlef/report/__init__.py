"""What a run came to, as tables, figures and a page. Reads the run folder only."""

from rlef.report.figures import learning_figure
from rlef.report.tables import (
    comparison_table,
    evaluation_last_line,
    evaluation_screen,
    evaluation_table,
    last_line,
    metrics_table,
    seeds_markdown,
    seeds_table,
    summary_markdown,
    summary_table,
)

__all__ = [
    "comparison_table",
    "evaluation_last_line",
    "evaluation_screen",
    "evaluation_table",
    "last_line",
    "learning_figure",
    "metrics_table",
    "seeds_markdown",
    "seeds_table",
    "summary_markdown",
    "summary_table",
]
