"""The learning figure of a run: what training changed, and how it went."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlef.report.tables import setting_name
from rlef.run import RunFolder
from rlef.stored import read_metrics, read_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metrics = Mapping[str, Any]

_SMOOTHING = 0.08
"""Width of the running mean, as a share of all updates."""


class _Series(NamedTuple):
    key: str
    label: str
    color: str


# Colours of Okabe and Ito, which colour-blind readers can tell apart.
_STAGES = (
    _Series("before", "before", "#7f8c8d"),
    _Series("random_feedback", "after, random feedback", "#e69f00"),
    _Series("after", "after", "#0072b2"),
)
PLOT_STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a939c",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
}


def learning_figure(run: RunFolder, path: Path) -> None:
    """Draws the figure from a run's metrics and, once it is finished, its summary.

    Left: solve rate by turn before training, after it, and after it with random feedback, at the
    main setting of evaluation. Right:
    training curves over updates, raw (pale) and as a running mean.

    Args:
        run: The run.
        path: The PNG to write.
    """
    import matplotlib

    with matplotlib.rc_context(PLOT_STYLE):
        figure = _draw(read_summary(run), read_metrics(run))
        figure.savefig(path, dpi=160, facecolor="white")


def _draw(summary: Mapping[str, Any] | None, metrics: Sequence[Metrics]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(12.5, 5.4), layout=layout)
    grid = figure.add_gridspec(2, 3, width_ratios=[1.35, 1, 1])
    by_turn = figure.add_subplot(grid[:, 0])
    if summary is None:
        by_turn.set_axis_off()
        by_turn.text(0.5, 0.5, "not evaluated yet", ha="center", transform=by_turn.transAxes)
    else:
        _draw_by_turn(by_turn, summary)
    axes = [figure.add_subplot(grid[i, j]) for i in (0, 1) for j in (1, 2)]
    last_turn = max(
        (int(key.rpartition("_")[2]) for line in metrics for key in line if _is_turn(key)),
        default=1,
    )
    solve = [_Series("solve_rate/turn_1", "by turn 1", "#56b4e9")]
    if last_turn > 1:
        solve.append(_Series(f"solve_rate/turn_{last_turn}", f"by turn {last_turn}", "#0072b2"))
    solve.append(_Series("repair_rate", "repair rate", "#009e73"))
    _draw_curves(axes[0], "Training: solve and repair rate, %", metrics, solve, scale=100)
    kl = [_Series("kl", "", "#d55e00")]
    _draw_curves(axes[1], "KL to the initial policy, nats per token", metrics, kl)
    entropy = [_Series("entropy", "", "#cc79a7")]
    _draw_curves(axes[2], "Entropy, nats per token", metrics, entropy)
    variance = [_Series("explained_variance", "", "#555e68")]
    _draw_curves(axes[3], "Explained variance of the critic", metrics, variance)
    # One wild update of a fresh critic must not flatten the curve.
    axes[3].set_ylim(bottom=max(-1.0, axes[3].get_ylim()[0]), top=1.0)
    for ax in axes[:2]:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    for ax in axes[2:]:
        ax.set_xlabel("update")
    return figure


def _is_turn(key: str) -> bool:
    return key.startswith("solve_rate/turn_") and key.rpartition("_")[2].isdigit()


def _draw_by_turn(ax: "Axes", summary: Mapping[str, Any]) -> None:
    """Grouped bars with intervals, the number on top of each."""
    width = 0.27
    turns = int(summary["turn_limit"])
    highest = 0.0
    for i, stage in enumerate(_STAGES):
        rates = (summary.get(stage.key) or {}).get("solve_rate_by_turn") or []
        offset = (i - 1) * width
        for t, rate in enumerate(rates):
            mean, low, high = (_percent(rate.get(key)) for key in ("mean", "low", "high"))
            if math.isnan(mean):
                continue
            bars = ax.bar(t + offset, mean, width * 0.92, color=stage.color)
            top = mean
            if not math.isnan(low + high):
                error = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
                ax.errorbar(t + offset, mean, error, color="#2b3137", capsize=2.5, linewidth=1)
                top = max(mean, high)
            ax.annotate(
                f"{mean:.0f}",
                (t + offset, top),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
            if t == 0:
                bars.set_label(stage.label)
            highest = max(highest, top)
    ax.set_xticks(range(turns), [f"turn {t + 1}" for t in range(turns)])
    ax.set_xlim(-0.55, turns - 0.45)
    ax.set_ylim(0, min(119, max(10.0, highest * 1.25)))
    ax.set_yticks([tick for tick in ax.get_yticks() if tick <= 100])
    ax.grid(visible=False, axis="x")
    at = f"\n{setting_name(summary)}" if "also" in summary else ""
    ax.set_title(f"Solved by turn, % of {summary['test_problems']} test problems{at}")
    if ax.patches:
        ax.legend(loc="upper left")


def _draw_curves(
    ax: "Axes",
    title: str,
    metrics: Sequence[Metrics],
    series: Sequence[_Series],
    scale: float = 1.0,
) -> None:
    ax.set_title(title)
    drawn = 0
    for one in series:
        points = [
            (float(line["update"]), scale * float(line[one.key]))
            for line in metrics
            if line.get(one.key) is not None
        ]
        if not points:
            continue
        updates, values = zip(*points, strict=True)
        ax.plot(updates, values, color=one.color, alpha=0.28, linewidth=0.9)
        window = max(1, round(_SMOOTHING * len(values)))
        marker = "o" if len(values) == 1 else ""
        ax.plot(
            updates,
            running_mean(values, window),
            color=one.color,
            linewidth=1.9,
            marker=marker,
            label=one.label,
        )
        drawn += 1
    if drawn > 1:
        ax.legend(loc="best", fontsize=8.5)


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean over ``window`` values to either side, over fewer at the ends.

    Example:
        >>> running_mean([0.0, 3.0, 6.0, 0.0], 1)
        [1.5, 3.0, 3.0, 3.0]
    """
    means = []
    for i in range(len(values)):
        near = values[max(0, i - window) : i + window + 1]
        means.append(math.fsum(near) / len(near))
    return means


def _percent(rate: float | None) -> float:
    return math.nan if rate is None else 100 * rate
