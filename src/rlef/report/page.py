"""The page of a run: one HTML file with figure, tables, config and dialogues, nothing from outside.

All that a model wrote is escaped: a program in a rollout is text here, whatever it says.
"""

import base64
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rlef.environment.lines import EpisodeLine, check_line
from rlef.report.figures import learning_figure
from rlef.report.tables import (
    Row,
    headline,
    notes,
    percent,
    summary_headings,
    summary_rows,
    summary_stages,
)
from rlef.run import RunDamagedError, RunFolder
from rlef.stored import read_summary

Record = Mapping[str, Any]

SHOWN_ROLLOUTS = 20

_EVERY_PAGE = """
:root { color-scheme: light; --ink: #20262d; --dim: #66707a; --line: #dde2e7; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1080px;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.35rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; } img { width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
""".strip()
_STYLE = """
:root { --soft: #f5f7f9; --good: #0a7d4f; --bad: #b3391f; }
h1 { margin: 0 0 .2rem; } .dim { color: var(--dim); font-size: .9rem; margin: .2rem 0; }
table { display: block; overflow-x: auto; max-width: 100%; } th { font-weight: 600; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; margin: .3rem 0;
  padding: .6rem .8rem; overflow-x: auto; font: 13px/1.45 ui-monospace, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0;
  padding: .1rem .9rem; }
summary { cursor: pointer; padding: .45rem 0; } details[open] { padding-bottom: .8rem; }
.who { font-size: .82rem; color: var(--dim); margin: .7rem 0 0; }
.model pre { background: #fff; border-left: 4px solid #0072b2; }
.judge pre { border-left: 4px solid #e69f00; }
.verdict { font: 600 12px ui-monospace, monospace; border-radius: 4px; padding: .1rem .35rem;
  color: #fff; background: var(--bad); } .verdict.good { background: var(--good); }
""".strip()


def write_report(run: RunFolder, out: Path | None = None) -> Path:
    """Writes ``report.html`` from the run's files; shows what there is while it is unfinished.

    Args:
        run: A training.
        out: The file to write; by default ``report.html`` of the run.

    Returns:
        The path of the page.

    Raises:
        RunDamagedError: A file of the run cannot be read.
        OSError: The page cannot be written.
    """
    summary = read_summary(run)
    parts = [
        f"<h1>{escape(headline(summary) if summary else 'Run, not finished')}</h1>",
        f'<p class="dim">{escape(str(run.path))}</p>',
        f'<img alt="What training changed, and how it went" src="{_figure(run)}">',
        '<p class="dim">Curves: pale is each update, the line a running mean.</p>',
    ]
    if summary is not None:
        table = _table(summary_headings(summary), summary_rows(summary))
        parts += ["<h2>Results</h2>", table]
        parts += [f'<p class="dim">{escape(line)}</p>' for line in notes(summary)]
        parts += _timing(summary) + _statistics(summary)
    parts += _dialogues(run)
    parts += ["<h2>Config</h2>", f"<pre>{escape(run.read_config())}</pre>"]
    path = out or run.report_path
    write_page(path, html_page(run.path.name, _STYLE, parts))
    return path


def html_page(title: str, style: str, parts: Sequence[str]) -> str:
    """An HTML file of its own.

    Args:
        title: As text.
        style: CSS after that of every page.
        parts: The body, as HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>{_EVERY_PAGE}\n{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def write_page(path: Path, text: str) -> None:
    """Writes a file in one step. Lone surrogates of a model's output, no UTF-8, become ``?``."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(text.encode("utf-8", "replace"))
    temporary.replace(path)


def _figure(run: RunFolder) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        learning_figure(run, path)
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _table(headings: Sequence[str], rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = [f"<table><tr>{head}</tr>"]
    for row in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (row.label, *row.cells))
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def _timing(summary: Record) -> list[str]:
    timing: Mapping[str, float] = summary.get("timing_s") or {}
    total = sum(timing.values())
    if not total:
        return []
    rows = [
        Row(phase, (f"{seconds:.1f}", percent(seconds / total, digits=0)))
        for phase, seconds in sorted(timing.items(), key=lambda item: -item[1])
    ]
    shares = ", ".join(
        f"{side} {percent(share, digits=0)} %"
        for side, share in (summary.get("idle") or {}).items()
    )
    idle = [f"<p>Idle while training: {shares}.</p>"] if shares else []
    return ["<h2>Where the time went</h2>", _table(["", "seconds", "%"], rows), *idle]


def _statistics(summary: Record) -> list[str]:
    """All that was counted, as it stands in the summary."""
    stages = [stage.get("statistics") or {} for stage in summary_stages(summary)]
    names = dict.fromkeys(name for stage in stages for name in stage)
    rows = [Row(name, tuple(_plain(stage.get(name)) for stage in stages)) for name in names]
    if not rows:
        return []
    table = _table(summary_headings(summary), rows)
    return [f"<details><summary>All statistics</summary>{table}</details>"]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return " | ".join(map(_plain, value)) or "-"
    return "-" if value is None else str(value)


def _dialogues(run: RunFolder) -> list[str]:
    path, records = _episodes(run)
    if path is None:
        return []
    shown = choose_rollouts(records, SHOWN_ROLLOUTS)
    dialogues = [_dialogue(record, number) for number, record in enumerate(shown, start=1)]
    return [
        "<h2>Dialogues</h2>",
        f'<p class="dim">{len(shown)} of {len(records)} episodes in '
        f"{escape(str(path))}, chosen to show repaired, failed and "
        "at once solved ones alike: not a fair sample</p>",
        *dialogues,
    ]


def _episodes(run: RunFolder) -> tuple[Path | None, Sequence[Record]]:
    """A file of the run and its episodes: of the last policy, of training, or what there is."""
    names = run.rollout_names()
    evaluations = [name for name in ("eval-after", "eval") if name in names]
    path: Path | None = None
    records: Sequence[Record] = []
    if not evaluations and run.has_training_rollouts():
        from rlef.run.training import last_training_episodes  # pyarrow takes a while to load

        path, records = last_training_episodes(run)
    if not records and names:
        chosen = evaluations[0] if evaluations else names[-1]
        path, records = run.rollout_path(chosen), run.read_rollouts(chosen)
    for number, record in enumerate(records, start=1):
        try:
            check_line(EpisodeLine, record)
        except ValueError as error:
            raise RunDamagedError(f"{path}:{number} is damaged: {error}") from None
    return path, records


def choose_rollouts(records: Sequence[Record], count: int) -> list[Record]:
    """Up to ``count`` episodes: in turn a repaired one, a failed one, one solved at once."""
    groups: tuple[list[Record], ...] = ([], [], [])
    for record in records:
        is_repaired = record["solved"] and len(record["turns"]) > 1
        groups[0 if is_repaired else 2 if record["solved"] else 1].append(record)
    mixed: list[Record] = []
    for i in range(max(map(len, groups), default=0)):
        mixed += [group[i] for group in groups if i < len(group)]
    return mixed[:count]


def _dialogue(record: Record, place: int) -> str:
    turns = record["turns"]
    number = f"{len(turns)} turn{'s' if len(turns) != 1 else ''}"
    about = [str(record["problem"]), number, str(record["stop"]).replace("_", " ")]
    if record.get("hidden_detail"):
        about.append(f"hidden detail: {record['hidden_detail']}")
    verdict = "AC" if record["solved"] else str(record.get("final_verdict") or "not solved")
    head = f"{_badge(verdict)} {escape(' · '.join(about))}"
    parts = [f'<details id="episode-{place}"><summary>{head}</summary>']
    statement = record.get("statement")
    if statement:
        parts.append(_message("problem", "judge", str(statement)))
    for t, turn in enumerate(turns, start=1):
        badges = " ".join(map(_badge, turn["public_verdicts"])) or "no program"
        parts.append(_message(f"turn {t}: the model", "model", turn["response"]))
        parts.append(f'<p class="who">public tests: {badges}</p>')
        if turn.get("feedback"):
            parts.append(_message("feedback", "judge", turn["feedback"]))
    parts.append(f'<p class="who">all tests: {_badge(verdict)}</p></details>')
    return "\n".join(parts)


def _message(who: str, kind: str, text: str) -> str:
    return f'<div class="{kind}"><p class="who">{who}</p><pre>{escape(text)}</pre></div>'


def _badge(verdict: str) -> str:
    kind = "verdict good" if verdict == "AC" else "verdict"
    return f'<span class="{kind}">{escape(verdict)}</span>'
