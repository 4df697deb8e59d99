"""Tables of what runs came to, for the terminal and as Markdown.

Rates are shown in percent, with half the width of their 95 % interval behind the sign "±".
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

from rlef.report.fitted import FittedTable, short_names
from rlef.text import markdown_table

Summary = Mapping[str, Any]

COLUMNS = {
    "before": "before",
    "after": "after",
    "random_feedback": "after, random feedback",
}
"""Keys of a summary to headings, in order."""


class Row(NamedTuple):
    """A label and one cell per column."""

    label: str
    cells: tuple[str, ...]

    @property
    def line(self) -> list[str]:
        """The label and the cells."""
        return [self.label, *self.cells]


def percent(rate: float | None, digits: int = 1) -> str:
    """A rate in percent, "-" where it is undefined."""
    return "-" if rate is None or math.isnan(rate) else f"{100 * rate:.{digits}f}"


def percent_with_interval(estimate: Mapping[str, float | None] | None) -> str:
    """``mean`` ± half of ``high - low`` in percent.

    Example:
        >>> percent_with_interval({"mean": 0.635, "low": 0.6, "high": 0.66})
        '63.5 ±3.0'
    """
    if estimate is None:
        return "-"
    mean, low, high = (estimate.get(key) for key in ("mean", "low", "high"))
    if mean is None or low is None or high is None or math.isnan(mean):
        return percent(mean)
    return f"{percent(mean)} ±{percent((high - low) / 2)}"


def by_setting(summary: Summary) -> list[Summary]:
    """The summary as it is at each setting of evaluation: the main one, then ``eval.also``."""
    also = summary.get("also")
    return [summary, {**summary, **also}] if also else [summary]


def setting_name(summary: Summary) -> str:
    """How answers were sampled.

    Example:
        >>> setting_name({"temperature": 0.2, "top_p": 0.95})
        'temperature 0.2, top-p 0.95'
    """
    top_p = "" if summary["top_p"] == 1 else f", top-p {summary['top_p']:g}"
    return f"temperature {summary['temperature']:g}{top_p}"


def summary_headings(summary: Summary) -> list[str]:
    """Headings of ``summary_rows``, with the temperature where there are two."""
    several = by_setting(summary)
    if len(several) == 1:
        return ["", *COLUMNS.values()]
    return ["", *(f"{name}, {at}" for at in _short_names(several) for name in COLUMNS.values())]


def summary_stages(summary: Summary) -> list[Summary]:
    """The evaluations of a run: ``COLUMNS`` at each setting; empty where there was none."""
    return [one.get(key) or {} for one in by_setting(summary) for key in COLUMNS]


def summary_rows(summary: Summary) -> list[Row]:
    """The rows of a run's table, cells in the order of ``summary_stages``."""
    return stage_rows(summary_stages(summary), int(summary["turn_limit"]))


def stage_rows(stages: Sequence[Summary], turn_limit: int) -> list[Row]:
    """Rows with a cell for each evaluation; "-" where it lacks a number."""

    def row(label: str, cells: Sequence[Mapping[str, float | None] | None]) -> Row:
        return Row(label, tuple(map(percent_with_interval, cells)))

    by_turn = [stage.get("solve_rate_by_turn") or [] for stage in stages]
    hidden = [stage.get("hidden") or {} for stage in stages]
    independent = [stage.get("independent") or {} for stage in stages]
    rows = [
        row(f"1@{turn_limit}", [stage.get("solve") for stage in stages]),
        *(
            row(f"by turn {t + 1}", [rates[t] if t < len(rates) else None for rates in by_turn])
            for t in range(turn_limit)
        ),
        row("repair rate", [stage.get("repair_rate") for stage in stages]),
    ]
    if any(independent):
        rows += [
            row(f"{turn_limit} independent answers", [one.get("solve") for one in independent]),
            row("turns less these", [one.get("difference") for one in independent]),
        ]
    if any(hidden):
        rows += [
            row(f"hidden detail 1@{turn_limit}", [part.get("solve") for part in hidden]),
            row("hidden detail repair rate", [part.get("repair_rate") for part in hidden]),
        ]
    return rows


def headline(summary: Summary) -> str:
    """One line: recipe, size, updates, time, seed."""
    parts = [
        str(summary["recipe"]),
        f"{_count(int(summary['parameters']))} parameters",
        f"{summary['updates']} updates",
        duration(float(summary["wall_s"])),
        f"seed {summary['seed']}",
    ]
    return " · ".join(parts)


def notes(summary: Summary) -> list[str]:
    """What a reader needs to know to trust the table, one sentence a line."""
    samples = int(summary["samples_per_problem"])
    lines = [
        f"rates in % of {summary['test_problems']} test problems, {samples} "
        f"episode{'s' if samples != 1 else ''} each, ± half a 95 % bootstrap interval",
    ]
    several = by_setting(summary)
    for one in several:
        gain = one.get("gain")
        if gain and None not in (gain["mean"], gain["low"], gain["high"]):
            mean, low, high = (100 * float(gain[key]) for key in ("mean", "low", "high"))
            at = f" at {setting_name(one)}" if len(several) > 1 else ""
            lines.append(
                f"gain in 1@{one['turn_limit']}{at}: {mean:+.1f} points, "
                f"95 % interval {low:+.1f} to {high:+.1f}, same problems before and after"
            )
    idle = int(summary.get("idle_batches", 0))
    if idle:
        lines.append(f"{idle} of {summary['batches']} batches taught the policy nothing")
    infra, no_room = (int(summary.get(key, 0)) for key in ("masked_infra", "masked_no_room"))
    rollouts = "rollout" if infra == 1 else "rollouts"
    of = f", of {summary['rollouts']:,} in all" if "rollouts" in summary else ""
    lines.append(
        f"{infra} {rollouts} masked (judge infrastructure), {no_room} (no room for an answer in "
        f"rollout.max_context){of}"
    )
    return lines


def summary_table(summary: Summary, run_path: Path | None = None) -> "Group":
    """The final screen of a run, for ``rich`` to print."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(headline(summary), style="bold")]
    several = by_setting(summary)
    for one in several:  # one below the other: side by side they are wider than 80 characters
        if len(several) > 1:
            parts.append(Text(f"\n{setting_name(one)}"))
        stages = [one.get(key) or {} for key in COLUMNS]
        rows = stage_rows(stages, int(one["turn_limit"]))
        parts.append(_table(["", *COLUMNS.values()], rows))
    parts += [Text(line, style="dim") for line in notes(summary)]
    if run_path is not None:
        line = f"\n{run_path}        report: {run_path / 'report.html'}"
        parts.append(Text(line, no_wrap=True, overflow="ignore"))
    return Group(*parts)


def last_line(summary: Summary, run_path: Path) -> str:
    """What a training came to, in one line.

    Example:
        >>> rate = {"mean": 0.5, "low": 0.4, "high": 0.6}
        >>> stages = {"before": {"solve": rate}, "after": {"solve": rate}}
        >>> last_line({"turn_limit": 3, "updates": 8, **stages}, Path("runs/one"))
        'runs/one: 1@3 50.0 ±10.0 % before, 50.0 ±10.0 % after 8 updates'
    """
    before, after = (
        percent_with_interval((summary.get(key) or {}).get("solve")) for key in ("before", "after")
    )
    name = f"1@{summary['turn_limit']}"
    return f"{run_path}: {name} {before} % before, {after} % after {summary['updates']} updates"


def evaluation_last_line(summary: Summary, run_path: Path) -> str:
    """What an evaluation came to, in one line."""
    rates = (f"{name} {percent(one['estimate'])} %" for name, one in summary["metrics"].items())
    return f"{run_path}: {', '.join(rates)}"


def evaluation_screen(summary: Summary, run_path: Path, *, is_judged: bool) -> "Group":
    """The final screen of an evaluation, for ``rich`` to print.

    Args:
        summary: Of ``rlef eval``.
        run_path: Its folder.
        is_judged: Whether programs of a file were judged, which have no turns.
    """
    from rich.console import Group
    from rich.text import Text

    turns = int(summary["turn_limit"])
    tables = [] if is_judged else [evaluation_table(summary, turns)]
    where = f"episodes: {run_path / 'rollouts'}; more: {run_path / 'summary.json'}"
    last = Text(f"± half a 95 % interval; {where}", no_wrap=True, overflow="ignore")
    return Group(*tables, metrics_table(summary), last)


def evaluation_table(stage: Summary, turn_limit: int) -> FittedTable:
    """One evaluation, for ``rich`` to print."""
    return _table(["", "%"], stage_rows([stage], turn_limit))


def metrics_table(summary: Summary) -> FittedTable:
    """Metrics of an evaluation with both intervals, for ``rich`` to print."""
    rows = [
        Row(name, (percent(one["estimate"]), _span(one, ""), _span(one, "_problems")))
        for name, one in summary["metrics"].items()
    ]
    return _table(["metric", "%", "95 %, samples", "95 %, problems"], rows)


def comparison_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> FittedTable:
    """A comparison of two evaluations, for ``rich`` to print.

    Args:
        headings: As ``Comparison.headings``: the second and third are the names of the runs, which
            are shortened where they leave no room for the numbers.
        rows: As ``Comparison.rows``.
    """
    short = [headings[0], *short_names(headings[1:3]), *headings[3:]]
    return FittedTable(headings=headings, rows=rows, short=short, named=2)


def summary_markdown(summary: Summary) -> str:
    """The same as Markdown."""
    table = markdown_table(summary_headings(summary), [row.line for row in summary_rows(summary)])
    return f"**{headline(summary)}**\n\n{table}\n\n" + "; ".join(notes(summary)) + ".\n"


def seeds_rows(summaries: Sequence[Summary]) -> list[Row]:
    """One row per seed, then the mean over seeds ± their sample standard deviation.

    Where a recipe is evaluated at two settings, these rows come at the first, then at the second.
    Columns: 1@n before, after, after with random feedback; repair rate after; gain in 1@n.

    Raises:
        ValueError: There are no summaries.
    """
    if not summaries:
        raise ValueError("no summaries to show; at least one is needed")
    settings = list(zip(*map(by_setting, summaries), strict=True))
    if len(settings) == 1:
        return _rows_of_seeds(summaries)
    return [
        Row(f"{row.label}, {at}", row.cells)
        for at, found in zip(_short_names(by_setting(summaries[0])), settings, strict=True)
        for row in _rows_of_seeds(found)
    ]


def _rows_of_seeds(summaries: Sequence[Summary]) -> list[Row]:
    estimates = [
        (
            str(summary["seed"]),
            [
                *((summary.get(key) or {}).get("solve") for key in COLUMNS),
                (summary.get("after") or {}).get("repair_rate"),
                summary.get("gain"),
            ],
        )
        for summary in summaries
    ]
    rows = [Row(seed, tuple(map(percent_with_interval, cells))) for seed, cells in estimates]
    columns = zip(*(cells for _, cells in estimates), strict=True)
    return [*rows, Row("mean", tuple(_over_seeds(column) for column in columns))]


def seeds_headings(turn_limit: int) -> list[str]:
    """Headings of ``seeds_rows``."""
    return ["seed", *COLUMNS.values(), "after, repair rate", f"gain 1@{turn_limit}"]


def seeds_table(summaries: Sequence[Summary]) -> "Group":
    """Several seeds of one recipe, for ``rich`` to print."""
    from rich.console import Group
    from rich.text import Text

    rows = seeds_rows(summaries)
    first = summaries[0]
    return Group(
        Text(_seeds_headline(summaries), style="bold"),
        _table(seeds_headings(int(first["turn_limit"])), rows),
        Text(_SEEDS_NOTE, style="dim"),
    )


def seeds_markdown(summaries: Sequence[Summary]) -> str:
    """The same as Markdown."""
    rows = seeds_rows(summaries)
    headings = seeds_headings(int(summaries[0]["turn_limit"]))
    table = markdown_table(headings, [row.line for row in rows])
    return f"**{_seeds_headline(summaries)}**\n\n{table}\n\n{_SEEDS_NOTE}.\n"


_SEEDS_NOTE = (
    "± in a seed's row: half a 95 % bootstrap interval over problems; "
    "in the last row: standard deviation over seeds"
)


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    Example:
        >>> duration(700.4)
        '11 min 40 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _seeds_headline(summaries: Sequence[Summary]) -> str:
    first = summaries[0]
    wall_s = fmean(float(summary["wall_s"]) for summary in summaries)
    return (
        f"{first['recipe']} · {_count(int(first['parameters']))} parameters · "
        f"1@{first['turn_limit']} in % of {first['test_problems']} test problems · "
        f"{len(summaries)} seeds · {duration(wall_s)} each"
    )


def _short_names(several: Sequence[Summary]) -> list[str]:
    """Temperatures of settings, with top-p where these are the same."""
    names = [f"T {one['temperature']:g}" for one in several]
    if len(set(names)) == len(names):
        return names
    return [f"{name}, p {one['top_p']:g}" for name, one in zip(names, several, strict=True)]


def _over_seeds(column: Sequence[Mapping[str, float | None] | None]) -> str:
    means = [None if estimate is None else estimate.get("mean") for estimate in column]
    known = [mean for mean in means if mean is not None]
    if len(known) < len(means):
        return "-"
    spread = f" ±{percent(stdev(known))}" if len(known) > 1 else ""
    return f"{percent(fmean(known))}{spread}"


def _span(measured: Mapping[str, float | None], kind: str) -> str:
    low, high = measured[f"low{kind}"], measured[f"high{kind}"]
    return "-" if low is None else f"{percent(low)} to {percent(high)}"


def _count(number: int) -> str:
    if number < 1000:
        return str(number)
    for size, unit in ((1e3, "k"), (1e6, "M"), (1e9, "B")):
        shown = f"{number / size:.3g}"
        if float(shown) < 1000:
            return f"{shown} {unit}"
    return f"{number / 1e9:,.0f} B"


def _table(headings: Sequence[str], rows: Sequence[Row]) -> FittedTable:
    return FittedTable(headings=headings, rows=[(row.label, *row.cells) for row in rows])
