"""Solve rate in training over rollouts, some ways to train beside each other.

usage: python benchmarks/learning_curves.py FILE.png NAME RUN ... [-- NAME RUN ...] ...

Runs of a name are seeds: the thick line is their mean, thin ones are each, all as means of three
batches. Prints how many rollouts each name took to the rates below, or that it did not get there.
"""

import sys
from itertools import accumulate, groupby
from pathlib import Path
from statistics import fmean

import matplotlib
from matplotlib.figure import Figure

from rlef.report.figures import PLOT_STYLE, running_mean
from rlef.run import RunFolder

RATES = (50, 60, 70)
COLORS = ("#7f8c8d", "#56b4e9", "#0072b2", "#d55e00", "#009e73", "#cc79a7")


def curve(path: str) -> tuple[list[float], list[float]]:
    """Rollouts so far, and the solve rate in %, in the middle of each three batches."""
    lines = list(RunFolder.open(path).read_metrics())
    ends = list(accumulate(line["trained_rollouts"] for line in lines))
    rates = running_mean([100 * line["solve_rate"] for line in lines], 1)
    return ends[1:-1], rates[1:-1]


def reached(rollouts: list[float], rates: list[float], wanted: float) -> str:
    found = next((x for x, rate in zip(rollouts, rates, strict=True) if rate >= wanted), None)
    return "-" if found is None else f"{found:,.0f}"


def main() -> None:
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    file, *words = sys.argv[1:]
    groups = [list(some) for is_end, some in groupby(words, "--".__eq__) if not is_end]
    print("| | " + " | ".join(f"{rate} %" for rate in RATES) + " |")
    print("|---|" + "---:|" * len(RATES))
    with matplotlib.rc_context(PLOT_STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        ax = figure.subplots()
        for (name, *runs), color in zip(groups, COLORS, strict=False):
            found = [curve(run) for run in runs]
            length = min(len(xs) for xs, _ in found)
            xs = found[0][0][:length]
            mean = [fmean(ys[i] for _, ys in found) for i in range(length)]
            for rollouts, ys in found if len(found) > 1 else []:
                ax.plot(rollouts, ys, color=color, alpha=0.25, linewidth=0.8)
            ax.plot(xs, mean, color=color, linewidth=2, label=f"{name} ({len(runs)})")
            print(f"| {name} | " + " | ".join(reached(xs, mean, r) for r in RATES) + " |")
        ax.set_xlabel("rollouts")
        ax.set_title("Training: solve rate, %")
        ax.legend()
        figure.savefig(Path(file), dpi=150, facecolor="white")


if __name__ == "__main__":
    main()
