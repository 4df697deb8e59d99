"""``rlef recipe``: the recipes that come with rlef, to read and to copy."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List and copy recipes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls")
def ls() -> None:
    """List the shipped recipes with the first line of each."""
    from rlef.config import recipe_names, recipe_text

    for name in recipe_names():
        first = recipe_text(name).splitlines()[0]
        typer.echo(f"{name:<16} {first.removeprefix('#').strip()}")


@app.command("cp", epilog="Example: rlef recipe cp mini my.yaml")
def cp(
    name: Annotated[str, typer.Argument(help="A name that rlef recipe ls shows.")],
    dest: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
) -> None:
    """Copy a recipe, to be changed and run."""
    from rlef.config import recipe_text

    text = recipe_text(name)
    path = dest / f"{name}.yaml" if dest.is_dir() else dest
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{path} exists; allowed: a new file") from None
    typer.echo(f"{path}        next: rlef train {path}")
