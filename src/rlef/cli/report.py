"""``rlef report``: the page and the table of a run."""

from pathlib import Path
from typing import Annotated

import typer

from rlef.cli.common import print_rich, say, show

EXAMPLES = "Example: rlef report runs/one"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
) -> None:
    """Write RUN/report.html and print the run's table; of an evaluation, print its table."""
    from rlef.report import evaluation_table, summary_table, write_report
    from rlef.run import RunFolder

    folder = RunFolder.open(run)
    summary = folder.read_summary()
    if summary is not None and "recipe" not in summary:
        print_rich(evaluation_table(summary, len(summary["solve_rate_by_turn"])))
        return
    page = write_report(folder)
    if summary is None:
        say(f"not finished; go on with: rlef train {run}")
    else:
        print_rich(summary_table(summary))
    show(str(page))
