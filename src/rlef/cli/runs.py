"""``rlef runs``: the runs of some folders."""

from pathlib import Path
from typing import Annotated

import typer

from rlef.cli.common import examples, print_json, print_rich, say

EXAMPLES = examples(
    ("those in the folder runs", "rlef runs"),
    ("for a program to read", "rlef runs runs/study --json"),
)
_DEFAULT = Path("runs")


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="Where to look. Default: runs.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List runs: what each is, how far it is, what it came to."""
    from rich.text import Text

    from rlef.report.runs import facts_of_runs, runs_table
    from rlef.run import RunError
    from rlef.text import one_line

    chosen = folders or [_DEFAULT]
    for folder in chosen:
        if not folder.is_dir():
            what = "is a file" if folder.is_file() else "does not exist"
            raise RunError(f"{folder} {what}; allowed: a folder with runs in it")
    facts = facts_of_runs(chosen)
    if as_json:
        print_json({"runs": [each.to_json() for each in facts]})
    elif facts:
        print_rich(runs_table(facts))
        for each in facts:
            if each.note is not None:
                print_rich(Text(one_line(f"{each.name}: {each.note}")))
    else:
        say(f"no run in {', '.join(map(str, chosen))}; one begins with: rlef train mini")
