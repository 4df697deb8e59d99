"""Progress on stderr: one line per update, made for terminals and log files alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from rlef.cli.common import printable, say

if TYPE_CHECKING:
    from rich.status import Status

    from rlef.evaluation.progress import Progress as EpisodeProgress

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
_WIDTHS = (8, 8, 8, 8, 9, 9, 10)
"""Of ``_COLUMNS``; with 11 for the update and 9 for the time a line has 80 characters."""
_FIRST, _LAST = 11, 9


class Display:
    """Shows how a training run goes.

    Args:
        updates: Of the recipe.
        evaluations_s: Tells how long the evaluations after the last update will take, in seconds;
            ``None``: nobody knows, and no time left is shown.
    """

    def __init__(self, updates: int, evaluations_s: Callable[[], float | None]) -> None:
        self._updates = updates
        self._evaluations_s = evaluations_s
        self._lines = 0
        self._first: tuple[float, int] | None = None

    def message(self, text: str) -> None:
        """Shows a line of text."""
        say(text)

    def update(self, metrics: Mapping[str, object]) -> None:
        """Shows the metrics of an update: rates in percent, "-" for what it lacks."""
        if self._lines % _LINES_PER_HEADING == 0:
            titles = [title for _, title, _, _ in _COLUMNS]
            self._line("update", titles, "left")
        self._lines += 1
        cells = [_cell(metrics.get(key), scale, form) for key, _, scale, form in _COLUMNS]
        done = f"{metrics['update']}/{self._updates}"
        self._line(done, cells, self._time_left(metrics["update"]))

    def _line(self, first: str, cells: Sequence[str], last: str) -> None:
        middle = "".join(
            f" {cell:>{width - 1}}" for cell, width in zip(cells, _WIDTHS, strict=True)
        )
        typer.echo(f"{first:>{_FIRST}}{middle} {last:>{_LAST - 1}}", err=True)

    def _time_left(self, update: object) -> str:
        """Time to the end, with the evaluations after the last update.

        At the pace since the first line; "-" on that line, and where evaluations are not known.
        """
        now = time.monotonic()
        if not isinstance(update, int):
            return "-"
        if self._first is None:
            self._first = (now, update)
        started, first = self._first
        if update <= first:
            return "-"
        evaluations = self._evaluations_s()
        if evaluations is None:
            return "-"
        pace = (now - started) / (update - first)
        return _clock(round(pace * (self._updates - update) + evaluations))


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

        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
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
        """Shows a line of text that stays, as it is: no markup, no line breaks."""
        self._console.print(printable(text), soft_wrap=True)

    def show(self, progress: "EpisodeProgress") -> None:
        """Shows time left, and the solve rate of the first episodes if all of those have ended."""
        now = time.monotonic()
        if progress.new == 0:
            self._started = self._last = now
            if progress.done > 0:
                self.message(f"{progress.done} of {progress.total} episodes are there already")
            return
        pace = (now - self._started) / progress.new
        left = _clock(round(pace * (progress.total - progress.done)))
        parts = [f"{progress.done}/{progress.total} episodes", progress.rate(), f"{left} left"]
        line = ", ".join(part for part in parts if part)
        if self._status is not None:
            self._status.update(line)
        elif now - self._last >= self._EVERY_S or progress.done == progress.total:
            self._last = now
            self.message(line)
