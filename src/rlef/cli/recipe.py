"""``rlef recipe``: the recipes that come with rlef, to read and to copy."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rlef.cli.common import examples, recipes, show
from rlef.cli.files import check_new_file, write_new_file

EXAMPLES = examples(
    ("a recipe to change", "rlef recipe cp mini my.yaml"),
    ("then", "rlef train my.yaml"),
)

app = typer.Typer(help="List and copy recipes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog=examples(("names and what each is", "rlef recipe ls")))
def ls() -> None:
    """List the shipped recipes with the first line of each."""
    from rlef.config import recipe_names, recipe_text

    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        first = recipe_text(name).splitlines()[0]
        show(f"{name:<{width}} {first.removeprefix('#').strip()}")


@app.command("cp", epilog=EXAMPLES)
def cp(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name that rlef recipe ls shows.", autocompletion=recipes
        ),
    ],
    dest: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, or a folder to put it in.")
    ],
) -> None:
    """Copy a recipe, to be changed and run."""
    from rlef.config import recipe_names, recipe_text

    text = recipe_text(name)
    path = dest / f"{name}.yaml" if dest.is_dir() else dest
    check_new_file(path)
    write_new_file(path, text)
    named = f"./{path}" if str(path) in recipe_names() else str(path)  # the shipped one goes first
    show(f"{path}        next: rlef train {shlex.quote(named)}")
