"""What a run came to, as tables, figures and a page. Reads the run folder only."""

from rlef.report.figures import learning_figure
from rlef.report.page import write_report
from rlef.report.tables import (
    evaluation_table,
    seeds_markdown,
    seeds_table,
    summary_markdown,
    summary_table,
)

__all__ = [
    "evaluation_table",
    "learning_figure",
    "seeds_markdown",
    "seeds_table",
    "summary_markdown",
    "summary_table",
    "write_report",
]
