"""Writes the page of a study: ``study.html``, ``study.md`` with its figures, ``study.json``."""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rlef.report.figures import PLOT_STYLE
from rlef.run.files import replace_file
from rlef.study.analysis import Results, to_json
from rlef.study.blocks import Block, Figure, Heading, Table, Text
from rlef.study.sections import study_blocks

_STYLE = """
:root { color-scheme: light; --ink: #20262d; --dim: #66707a; --line: #dde2e7; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1080px;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.35rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; } img { width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
div { overflow-x: auto; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
img { max-width: 760px; } img.wide { max-width: 100%; }
p { color: var(--dim); font-size: .92rem; }
table { margin: .6rem 0; } th, td { vertical-align: top; }
table.text th, table.text td { text-align: left; }
""".strip()


def write_study(results: Results, out: Path, *, title: str, notes: Sequence[str]) -> Path:
    """Writes the page from what is on disk.

    Args:
        results: Of the study.
        out: Its folder.
        title: Of the page.
        notes: Lines under the title: command, machine, what is missing.

    Returns:
        The path of ``study.html``.
    """
    blocks = study_blocks(results)
    figures = {block.name: block for block in blocks if isinstance(block, Figure)}
    paths = {name: out / "figures" / f"{name}.png" for name in figures}
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        _draw(figure, paths[name])
    _write(out / "study.json", json.dumps(to_json(results), indent=1))
    _write(out / "study.md", markdown(blocks, title=title, notes=notes))
    page = out / "study.html"
    _write(page, _html(blocks, paths, title, notes))
    return page


def markdown(blocks: Sequence[Block], *, title: str, notes: Sequence[str]) -> str:
    """The page as Markdown; figures stand in ``figures/``."""
    lines = [f"# {title}", "", *[f"{note}  " for note in notes], ""]
    for block in blocks:
        match block:
            case Heading():
                lines += [f"## {block.text}", ""]
            case Text():
                lines += [block.text, ""]
            case Figure():
                lines += [f"![{block.alt}](figures/{block.name}.png)", ""]
            case Table():
                align = ["---"] * len(block.headings)
                if not block.is_text:
                    align[1:] = ["---:"] * (len(align) - 1)
                rows = [block.headings, align, *block.rows]
                cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
                lines += [f"| {' | '.join(row)} |" for row in cells] + [""]
    return "\n".join(lines)


def _html(blocks: Sequence[Block], paths: dict[str, Path], title: str, notes: Sequence[str]) -> str:
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{_with_code(note)}</p>" for note in notes)]
    for block in blocks:
        match block:
            case Heading():
                parts.append(f"<h2>{escape(block.text)}</h2>")
            case Text():
                parts.append(f"<p>{escape(block.text)}</p>")
            case Figure():
                data = base64.b64encode(paths[block.name].read_bytes()).decode("ascii")
                wide = ' class="wide"' if len(block.draw) > 1 else ""
                alt = escape(block.alt)
                parts.append(f'<img{wide} alt="{alt}" src="data:image/png;base64,{data}">')
            case Table():
                rows = [_cells("th", block.headings), *(_cells("td", row) for row in block.rows)]
                kind = ' class="text"' if block.is_text else ""
                parts.append(f"<div><table{kind}>{''.join(rows)}</table></div>")
    return _page(title, parts)


def _page(title: str, parts: Sequence[str]) -> str:
    """An HTML file of its own, of a title as text and a body as HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _write(path: Path, text: str) -> None:
    """Writes a file in one step. Lone surrogates of a model's output, no UTF-8, become ``?``."""
    replace_file(path, text.encode("utf-8", "replace"))


def _with_code(note: str) -> str:
    """The note as HTML: what stands between backticks is code."""
    words = escape(note).split("`")
    if len(words) % 2 == 0:  # a backtick without another
        return escape(note)
    return "".join(f"<code>{word}</code>" if i % 2 else word for i, word in enumerate(words))


def _cells(tag: str, row: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"


def _draw(figure: Figure, path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(PLOT_STYLE):
        count = len(figure.draw)
        canvas = Canvas(figsize=(7.2 if count == 1 else 4.2 * count, 4.0), layout="constrained")
        axes = canvas.subplots(1, count, squeeze=False)[0]
        for ax, draw in zip(axes, figure.draw, strict=True):
            draw(ax)
        canvas.savefig(path, dpi=150, facecolor="white")
