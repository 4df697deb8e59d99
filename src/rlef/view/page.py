"""The page of a run: the viewer's own front end in one HTML file, with a snapshot for a server.

It loads nothing: its content security policy allows the scripts and styles that stand in it, by
their hashes, and no address. All that a model wrote is JSON, and shown as text.
"""

import base64
import hashlib
import re
import time
from html import escape
from pathlib import Path

from rlef.run import RunDamagedError
from rlef.run.files import replace_file
from rlef.view.answers import Answers, as_json
from rlef.view.errors import ViewError
from rlef.view.folders import Folders
from rlef.view.problems import ProblemBook
from rlef.view.runs import Library
from rlef.view.snapshot import Bounds, snapshot

STATIC = Path(__file__).parent / "static"
"""The built front end."""
REPORT = "report.html"
"""Name of the page, in the folder of its run or study."""
_SCRIPT = re.compile(r'<script type="module"[^>]* src="\./([^"]+)">')
_STYLE = re.compile(r'<link rel="stylesheet"[^>]* href="\./([^"]+)">')
_ENDS = re.compile(r"<(?=/script|!--|script)", re.IGNORECASE)
"""What would end a script, or begin a comment in it, where it stands in a page."""


def write_report(
    folder: Path,
    out: Path | None = None,
    *,
    cache: Path | None = None,
    bounds: Bounds | None = None,
) -> Path:
    """Writes the page of a training, an evaluation or a study, finished or not.

    Args:
        folder: Its folder; links in it are followed.
        out: The file to write; by default ``report.html`` in the folder.
        cache: Folder of the viewer's cache, for problems that take long to make; ``None``: none.
        bounds: How much the page holds; by default a few MB.

    Returns:
        The path of the page.

    Raises:
        RunDamagedError: A file of the run cannot be read.
        RunWriteError: The page cannot be written.
    """
    path = folder / REPORT if out is None else out
    replace_file(path, page_of(folder, cache, bounds or Bounds()).encode("utf-8", "replace"))
    return path


def page_of(folder: Path, cache: Path | None, bounds: Bounds) -> str:
    """The page as a text.

    Raises:
        RunDamagedError: A file of the run cannot be read.
    """
    folders = Folders([folder], links=True)
    answers = Answers(Library(folders, None), ProblemBook(cache, patience_s=_PATIENCE_S))
    try:
        found = folders.find(folders.ids()[0])
        holds = snapshot(answers, found, time.time(), bounds)
    except ViewError as error:
        raise RunDamagedError(str(error)) from None
    note = holds["answers"][0]["value"]["note"]
    if note is not None:
        raise RunDamagedError(note)
    return html(found.path.name, as_json(holds))


_PATIENCE_S = 60.0
"""How long problems may take to be read."""


def html(title: str, data: str) -> str:
    """The built front end as one file.

    Args:
        title: As text.
        data: The snapshot as JSON, in ASCII.

    Raises:
        RuntimeError: The front end is not built.
    """
    try:
        index = (STATIC / "index.html").read_text("utf-8")
        script, style = (_linked(pattern, index) for pattern in (_SCRIPT, _STYLE))
        theme = (STATIC / "theme.js").read_text("utf-8")
        icon = base64.b64encode((STATIC / "icon.svg").read_bytes()).decode("ascii")
    except (OSError, LookupError) as error:
        raise RuntimeError(
            f"the viewer's pages are not built ({error}); build them with: "
            "cd viewer && npm ci && npm run build"
        ) from None
    scripts = [_ENDS.sub(r"\\x3c", text) for text in (theme, script)]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; "
        f"style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">\n'
        f"<style>{style}</style>\n<script>{scripts[0]}</script></head>\n"
        '<body><div id="app"></div>\n'
        "<noscript>This page needs JavaScript. It loads nothing from anywhere.</noscript>\n"
        f'<script type="application/json" id="snapshot">{_safe(data)}</script>\n'
        f'<script type="module">{scripts[1]}</script></body></html>\n'
    )


def _linked(pattern: re.Pattern[str], index: str) -> str:
    found = pattern.search(index)
    if found is None:
        raise LookupError("index.html names no script or style")
    return (STATIC / found[1]).read_text("utf-8")


def _safe(data: str) -> str:
    """JSON that no reader of HTML takes for the end of a script."""
    return data.replace("<", "\\u003c")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"
