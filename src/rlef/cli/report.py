"""``rlef report``: the page and the table of a run."""

from pathlib import Path
from typing import Annotated

import typer

from rlef.cli.common import print_rich

EXAMPLES = "Example: rlef report runs/one"


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
) -> None:
    """Write RUN/report.html and print the run's table."""
    from rlef.report import summary_table, write_report
    from rlef.run import RunFolder

    folder = RunFolder.open(run)
    page = write_report(folder)
    summary = folder.read_summary()
    if summary is None:
        typer.echo(f"not finished; go on with: rlef train {run}", err=True)
    else:
        print_rich(summary_table(summary))
    typer.echo(str(page))
