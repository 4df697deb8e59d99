"""``rlef serve``: the judge over HTTP."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef import extras
from rlef.cli.common import INTERRUPTED, TERMINATED, examples, say, show

if TYPE_CHECKING:
    from rlef.serve.service import JudgeService

EXAMPLES = examples(
    ("on this machine, for its own programs", "rlef serve"),
    ("with more jails", "rlef serve --workers 8 --port 8410"),
    (
        "for other machines: the token is in the file, and in the URL there",
        "rlef serve --host 0.0.0.0 --token-file token.txt",
        "rlef judge try.py --data mini:test --problem NAME --judge-url http://rlef:TOKEN@HOST:8410",
    ),
)
PORT, TOKEN_VARIABLE = 8410, "RLEF_JUDGE_TOKEN"
"""Those of ``rlef.serve.settings``, which the help of other commands does not load."""


def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Where to listen. Beyond this machine a token is needed."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="0: any that is free.")
    ] = PORT,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Jails; one per core by default.",
            show_default=False,
        ),
    ] = None,
    max_queue: Annotated[
        int, typer.Option(min=1, metavar="N", help="Programs that wait; then callers get 429.")
    ] = 1000,
    max_body_mb: Annotated[
        float, typer.Option(min=0.001, max=2048, metavar="X", help="Longest request, in MB.")
    ] = 32.0,
    max_seconds: Annotated[
        float,
        typer.Option(min=0.01, max=10_000, metavar="X", help="Largest CPU limit of a test."),
    ] = 60.0,
    max_memory_mb: Annotated[
        int, typer.Option(min=16, max=1 << 20, metavar="N", help="Largest memory limit of a test.")
    ] = 8192,
    grace: Annotated[
        float,
        typer.Option(min=0, metavar="X", help="Seconds for programs to end when it is stopped."),
    ] = 60.0,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Callers must know its first line. By default {TOKEN_VARIABLE}, if it is set.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Judge programs over HTTP, for rlef, verl, open-instruct and open-r1. Ctrl-C ends it."""
    extras.require("serve", "the service")
    from rlef.sandbox import usable_cores
    from rlef.serve.network import is_loopback, listen, plain_host
    from rlef.serve.server import serve as serve_until_stopped
    from rlef.serve.settings import ServeSettings

    host = plain_host(host)
    token = _token(token_file)
    if token is None and not is_loopback(host):
        raise typer.BadParameter(
            f"--host is {host}, beyond this machine, and there is no token; allowed: --token-file "
            f"FILE or {TOKEN_VARIABLE}, or a host of this machine"
        )
    settings = ServeSettings(
        workers=workers or usable_cores(),
        max_queue=max_queue,
        max_body_mb=max_body_mb,
        max_seconds=max_seconds,
        max_memory_mb=max_memory_mb,
        grace_s=grace,
        token=token,
    )
    try:
        listening = listen(host, port, 1024)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    name = f"[{host}]" if ":" in host else host
    link = f"http://{name}:{listening.getsockname()[1]}"

    def ready(service: "JudgeService") -> None:
        kind = "" if service.isolation is None else service.isolation.kind
        say(f"{settings.workers} jails, isolation: {kind}; SIGTERM or Ctrl-C ends it")
        show(link)

    number = serve_until_stopped(listening, settings, ready)
    say("stopped")
    raise typer.Exit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)


def _token(path: Path | None) -> str | None:
    """The token of a file, or of the environment."""
    from rlef.serve.settings import check_token

    if path is None:
        where, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return None
    else:
        try:
            where, token = str(path), path.read_text(encoding="utf-8-sig").split("\n")[0].strip()
        except UnicodeDecodeError:
            raise typer.BadParameter(f"{path} is not UTF-8; allowed: a file with a token") from None
        if not token:
            raise typer.BadParameter(f"{path}: its first line is empty; allowed: a token there")
    try:
        return check_token(token)
    except ValueError as error:
        raise typer.BadParameter(f"{where}: {error}") from None
