"""Progress on stderr: one line per update, made for terminals and log files alike."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.status import Status

    from rlef.evaluation.episodes import Progress as EpisodeProgress

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
        return _clock(seconds)


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _cell(value: object, scale: float, form: str) -> str:
    if not isinstance(value, int | float) or value != value:
        return "-"
    return format(scale * value, form)


class EpisodeDisplay:
    """Shows how an evaluation goes: a line that changes on a terminal, else a line now and then."""

    _EVERY_S = 30.0

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._started = time.monotonic()
        self._last = 0.0
        self._status: Status | None = None

    def __enter__(self) -> "EpisodeDisplay":
        """Begins to show."""
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the changing line away."""
        if self._status is not None:
            self._status.stop()

    def message(self, text: str) -> None:
        """Shows a line of text that stays."""
        self._console.print(text)

    def show(self, progress: "EpisodeProgress") -> None:
        """Shows solve rate so far and time left."""
        now = time.monotonic()
        if progress.new == 0:
            self._started = self._last = now
            if progress.done > 0:
                self.message(f"{progress.done} of {progress.total} episodes are there already")
            return
        solved = 100 * progress.solved / progress.done
        pace = (now - self._started) / progress.new
        left = _clock(round(pace * (progress.total - progress.done)))
        line = f"{progress.done}/{progress.total} episodes, {solved:.1f} % solved, {left} left"
        if self._status is not None:
            self._status.update(line)
        elif now - self._last >= self._EVERY_S or progress.done == progress.total:
            self._last = now
            self.message(line)
