"""Progress on stderr: one line per update, made for terminals and log files alike."""

import time
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
        self._first: tuple[float, int] | None = None

    def message(self, text: str) -> None:
        """Shows a line of text."""
        typer.echo(text, err=True)

    def update(self, metrics: Mapping[str, object]) -> None:
        """Shows the metrics of an update: rates in percent, "-" for what it lacks."""
        if self._lines % _LINES_PER_HEADING == 0:
            heading = "".join(f"{title:>10}" for _, title, _, _ in _COLUMNS)
            typer.echo(f"{'update':>11}{heading}{'left':>10}", err=True)
        self._lines += 1
        cells = "".join(
            f"{_cell(metrics.get(key), scale, form):>10}" for key, _, scale, form in _COLUMNS
        )
        left = self._time_left(metrics["update"])
        typer.echo(f"{metrics['update']:>5}/{self._updates:<5}{cells}{left:>10}", err=True)

    def _time_left(self, update: object) -> str:
        """Time to the last update at the pace since the first line; "-" on the first line."""
        now = time.monotonic()
        if not isinstance(update, int):
            return "-"
        if self._first is None:
            self._first = (now, update)
        started, first = self._first
        if update <= first:
            return "-"
        seconds = round((now - started) / (update - first) * (self._updates - update))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _cell(value: object, scale: float, form: str) -> str:
    if not isinstance(value, int | float) or value != value:
        return "-"
    return format(scale * value, form)
