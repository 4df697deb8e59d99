"""One run on a terminal: its settings, its metrics as curves, its stages."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rlef.environment import StopReason
from rlef.environment.lines import EpisodeLine, check_line
from rlef.report.fitted import UNLIMITED, FittedTable, flowed, output_width
from rlef.report.runs import RunFacts, age
from rlef.report.sparkline import output_signs, sparkline
from rlef.report.tables import percent
from rlef.run import RunDamagedError, RunFolder
from rlef.run.files import finite
from rlef.stored import read_metrics
from rlef.text import one_line

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

Record = Mapping[str, Any]
_CURVE, _LEAST_CURVE, _COLUMNS_BESIDE = 40, 12, 55


def run_screen(
    run: RunFolder, facts: RunFacts, changed: Sequence[tuple[str, str, str]], compared_with: str
) -> "Group":
    """A run, for ``rich`` to print.

    Args:
        run: Its folder.
        facts: Of it.
        changed: Key, value, and the value that it differs from.
        compared_with: Where those are from.

    Raises:
        RunDamagedError: A file of it cannot be read.
    """
    from rich.console import Group
    from rich.text import Text

    def text(line: str, style: str = "") -> Text:
        return Text(line, style=style, no_wrap=True, overflow="ignore")

    width = output_width()
    headline = flowed(_headline(facts), " · ", width)
    parts: list[RenderableType] = [text(line, "bold") for line in headline]
    if facts.note is not None:
        return Group(*parts, Text(one_line(facts.note)))
    if changed:
        headings = ["setting", "here", compared_with]
        parts += [text(""), FittedTable(headings=headings, rows=changed)]
    elif facts.kind == "training":
        parts += [text(f"all settings as in {compared_with}")]
    lines = read_metrics(run)
    if lines:
        parts += [text(""), metrics_curves(lines)]
    stages = stage_rows(run)
    if stages:
        turns = max(len(row) for row in stages) - 3
        headings = ["stage", "episodes", "solved %", *(f"by turn {t + 1}" for t in range(turns))]
        rows = [[*row, *["-"] * (turns + 3 - len(row))] for row in stages]
        parts += [text(""), FittedTable(headings=headings, rows=rows)]
    return Group(*parts)


def metrics_curves(lines: Sequence[Record]) -> FittedTable:
    """Each metric's first and last value, least and largest, and its curve."""
    width = output_width()
    room = _CURVE if width >= UNLIMITED else max(_LEAST_CURVE, width - _COLUMNS_BESIDE)
    names = dict.fromkeys(name for line in lines for name in line)
    rows = []
    for name in names:
        values = [finite(line.get(name)) for line in lines]
        known = [value for value in values if value is not None]
        if name in ("update", "calibration") or not known:
            continue
        cells = [f"{value:.4g}" for value in (known[0], known[-1])]
        rows.append([name, *cells, sparkline(values, min(_CURVE, room), signs=output_signs())])
    return FittedTable(headings=["metric", "first", "last", "by batch"], rows=rows)


def read_evaluation(run: RunFolder, name: str) -> list[Record]:
    """The episodes of an evaluation.

    Raises:
        RunDamagedError: One cannot be read.
    """
    episodes: list[Record] = list(run.read_rollouts(name))
    for number, episode in enumerate(episodes, start=1):
        try:
            check_line(EpisodeLine, episode)
        except ValueError as error:
            path = run.rollout_path(name)
            raise RunDamagedError(f"{path}:{number} is damaged: {error}") from None
    return episodes


def stage_rows(run: RunFolder) -> list[list[str]]:
    """Of each evaluation: name, episodes, solve rate, and solve rates by turn."""
    rows = []
    for name in run.rollout_names():
        episodes = read_evaluation(run, name)
        turns = max([1, *(len(each["turns"]) for each in episodes)])
        rates = [_rate(episodes, turn) for turn in range(1, turns + 1)]
        rows.append([name, f"{len(episodes):,}", percent(rates[-1]), *map(percent, rates)])
    return rows


def _rate(episodes: Sequence[Record], turns: int) -> float:
    """Solved with at most so many turns, mean per problem first; NaN where nothing is known.

    It is not of blind episodes that went on (``evaluation.statistics.is_known``).
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    for each in episodes:
        if each["stop"] != StopReason.INFRA_ERROR:
            is_whole = len(each["turns"]) <= turns
            unknown = math.nan if each["blind"] else 0.0
            found[each["problem"]].append(float(each["solved"]) if is_whole else unknown)
    return fmean(map(fmean, found.values())) if found else math.nan


def _headline(facts: RunFacts) -> list[str]:
    done = "" if facts.done is None else f"{facts.done:,}"
    unit = "update" if facts.kind == "training" else "episodes"
    of = f"/{facts.total:,}" if facts.total is not None else ""
    changed = "" if facts.changed is None else f"changed {_ago(facts.changed)} ago"
    parts = [facts.path, facts.kind, facts.model, facts.state, f"{unit} {done}{of}", changed]
    return [one_line(str(part)) for part in parts if part]


def _ago(changed: float) -> str:
    import time

    return age(time.time() - changed)
