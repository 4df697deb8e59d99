"""Progress on stderr: one line per update, made for terminals and log files alike."""

from collections.abc import Mapping

import typer

_COLUMNS = (
    ("solve_rate/turn_1", "turn 1", 100.0, ".1f"),
    ("solve_rate", "solved", 100.0, ".1f"),
    ("repair_rate", "repair", 100.0, ".1f"),
    ("reward", "reward", 1.0, ".2f"),
    ("kl", "KL", 1.0, ".4f"),
    ("entropy", "entropy", 1.0, ".3f"),
    ("explained_variance", "expl.var", 1.0, ".2f"),
)
_LINES_PER_HEADING = 20


class Display:
    """Shows how a training run goes."""

    def __init__(self, updates: int) -> None:
        self._updates = updates
        self._lines = 0

    def message(self, text: str) -> None:
        """Shows a line of text."""
        typer.echo(text, err=True)

    def update(self, metrics: Mapping[str, object]) -> None:
        """Shows the metrics of an update: rates in percent, "-" for what it lacks."""
        if self._lines % _LINES_PER_HEADING == 0:
            heading = "".join(f"{title:>10}" for _, title, _, _ in _COLUMNS)
            typer.echo(f"{'update':>11}{heading}", err=True)
        self._lines += 1
        cells = "".join(
            f"{_cell(metrics.get(key), scale, form):>10}" for key, _, scale, form in _COLUMNS
        )
        typer.echo(f"{metrics['update']:>5}/{self._updates:<5}{cells}", err=True)


def _cell(value: object, scale: float, form: str) -> str:
    if not isinstance(value, int | float) or value != value:
        return "-"
    return format(scale * value, form)
