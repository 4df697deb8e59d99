"""``rlef view``: runs and rollouts in a browser."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from rlef import extras
from rlef.cli.common import INTERRUPTED, examples, say, show

EXAMPLES = examples(
    ("the runs in the folder runs", "rlef view"),
    (
        "one run and a study, at a port that is free",
        "rlef view runs/one runs/study --port 0 --no-browser",
    ),
    ("from another machine, then rlef view there", "ssh -L 8421:localhost:8421 HOST"),
)
PORT = 8421


def view(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="Runs, or folders with runs in them; by default runs. Nothing else is shown.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="0: any that is free.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen. Beyond this machine, readers need the link with its token.",
        ),
    ] = "127.0.0.1",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Show runs and rollouts in a browser, live; nothing is changed. Ctrl-C ends it."""
    paths = _existing(folders or [Path("runs")])
    extras.require("view", "the viewer")
    import secrets

    from rlef.serve.network import is_loopback, listen, plain_host
    from rlef.view.app import STATIC
    from rlef.view.cache import default_folder
    from rlef.view.folders import Folders
    from rlef.view.server import serve

    if not (STATIC / "index.html").is_file():
        raise typer.BadParameter(
            f"{STATIC / 'index.html'} is missing: the viewer's pages are not built; "
            "build them with: cd viewer && npm ci && npm run build"
        )
    host = plain_host(host)
    try:
        listening = listen(host, port)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    link = _link(host, listening.getsockname()[1], token)

    def ready() -> None:
        show(link)
        if browser and token is None:
            _open(link)

    with suppress(KeyboardInterrupt):
        serve(listening, Folders(paths), default_folder(), host=host, token=token, ready=ready)
    say("stopped")
    raise typer.Exit(INTERRUPTED)


def _existing(folders: Sequence[Path]) -> list[Path]:
    for path in folders:
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise typer.BadParameter(f"{path} {what}; allowed: folders of runs")
    return list(folders)


def _link(host: str, port: int, token: str | None) -> str:
    import socket

    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")


def _open(link: str) -> None:
    """Opens the link where there is a screen; a browser of text would take the terminal."""
    import os
    import sys
    import webbrowser

    has_screen = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if has_screen:
        webbrowser.open(link)
