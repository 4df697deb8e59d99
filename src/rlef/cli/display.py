"""How a training or an evaluation goes, on stderr and in ``rlef.log``: a ``Progress``.

A line per update with columns of its own, a panel on a terminal that is wide enough, elsewhere a
line whenever there was none for ten seconds. The log has all lines with their times, whatever is
shown.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from rlef.text import one_line, printable

if TYPE_CHECKING:
    from io import TextIOWrapper

    from rlef.cli.screen import Screen
    from rlef.evaluation.progress import Progress as EpisodeProgress

_FIRST_SIGN_S, _EVERY_S = 0.7, 10.0
"""So long nothing is shown, at first and later, before the stage is."""


class Loudness(Enum):
    """How much is shown."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"

    @classmethod
    def of(cls, *, quiet: bool, verbose: bool) -> "Loudness":
        """The one that two switches mean.

        Raises:
            BadParameter: Both are given.
        """
        if quiet and verbose:
            raise typer.BadParameter("--quiet and --verbose are both given; allowed: one of them")
        return cls.QUIET if quiet else cls.VERBOSE if verbose else cls.NORMAL


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors and one line at the end.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show each stage and its seconds.")
]
"""The two switches, as commands have them."""


class Display:
    """Shows how runs go, one after the other.

    Args:
        loudness: How much.
        now: Tells the time, in seconds.
    """

    def __init__(
        self, loudness: Loudness = Loudness.NORMAL, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._loudness = loudness
        self._now = now
        self._log: TextIOWrapper | None = None
        self._screen: Screen | None = None
        self.begin("", updates=0)

    def begin(
        self,
        title: str,
        *,
        updates: int,
        evaluations_s: Callable[[], float | None] = lambda: None,
        log: Path | None = None,
    ) -> None:
        """Begins to show another run.

        Args:
            title: What it is.
            updates: Of the recipe; 0: an evaluation.
            evaluations_s: Tells how long the evaluations after the last update will take, in
                seconds; ``None``: nobody knows, and no time left is shown.
            log: Gets all lines, behind those of earlier processes.
        """
        from rlef.cli.progress_text import Shown
        from rlef.cli.update_lines import UpdateLines

        started = self._now()
        self._shown: Shown = Shown(
            title=one_line(title), updates=updates, stage_since=started, left_s=self._left
        )
        self._evaluations_s = evaluations_s
        self._log_lines, self._screen_lines = UpdateLines(updates), UpdateLines(updates)
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None
        self._next_sign = started + _FIRST_SIGN_S
        self._close_log("finished")
        if log is not None:
            self._open_log(log)

    @property
    def is_quiet(self) -> bool:
        """Whether only errors and the last line are to be shown."""
        return self._loudness is Loudness.QUIET

    def __enter__(self) -> Self:
        """Begins to show."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        """Takes away what changes; the log ends with what went wrong, or that nothing did."""
        self.close()
        self._close_log("finished" if kind is None else _last_words(error))

    def open(self) -> None:
        """Begins to show."""
        from rlef.cli.screen import Screen

        if self._screen is None:
            self._screen = Screen(
                self._panel,
                lambda: self._shown.title,
                self._tick,
                shows=self._loudness is not Loudness.QUIET,
            )
            self._screen.open()

    def close(self) -> None:
        """Takes away what changes, so that others may write to the terminal."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    # --- what the work tells ---

    def message(self, text: str) -> None:
        """Shows a line of text."""
        self._line(printable(text))

    def stage(self, name: str, total: int = 0, done: Callable[[], int] = lambda: 0) -> None:
        """Shows what begins now; see ``rlef.train.progress``."""
        now, shown = self._now(), self._shown
        if self._loudness is Loudness.VERBOSE and name != shown.stage:
            self._line(f"{shown.stage}: {now - shown.stage_since:.1f} s")
        shown.begin_stage(name, total, done, now)

    def completed(self, metrics: Mapping[str, object]) -> None:
        """Ignores what the last batch's line did not say."""

    def episodes(self, progress: "EpisodeProgress") -> None:
        """Shows how far episodes are, with the solve rate of the first ones if those have ended."""
        shown = self._shown
        if shown.stage == "loading":
            self.stage("evaluating")
        if shown.episodes is None or not progress.new:
            shown.episodes_since = self._now()
        shown.episodes = progress
        if shown.updates and shown.stage != "evaluating":
            return  # a batch: its line comes with its update
        if not progress.new and progress.done:
            done = f"{progress.done} of {progress.total} episodes"
            self.message(f"{progress.name}: {done} are there already")
        elif progress.new and progress.done == progress.total:
            rate = progress.rate()
            end = f", {rate}" if rate else ""
            self.message(f"{progress.name}: {progress.done} episodes{end}")

    def update(self, metrics: Mapping[str, object]) -> None:
        """Shows the metrics of an update: rates in percent, "-" for what it lacks."""
        from rlef.cli.update_lines import WHOLE

        self._shown.take(metrics)
        self._note_time(metrics.get("update"))
        left = None if self._last is None else self._left(self._last[0])
        lines = self._screen_lines
        self._line(
            "\n".join(self._log_lines.next(metrics, left, WHOLE)),
            lambda width: "\n".join(lines.next(metrics, left, width)),
        )

    # --- time ---

    def _note_time(self, update: object) -> None:
        if isinstance(update, int):
            self._last = self._now(), update
            self._first = self._first or self._last

    def _left(self, now: float) -> float | None:
        """Seconds to the end, with the evaluations after the last update.

        At the pace since the first line; ``None`` on that line, and where evaluations are not
        known.
        """
        if self._first is None or self._last is None or self._last[1] <= self._first[1]:
            return None
        evaluations = self._evaluations_s()
        if evaluations is None:
            return None
        (started, first), (ended, last) = self._first, self._last
        pace = (ended - started) / (last - first)
        return max(0.0, pace * (self._shown.updates - last) + evaluations - (now - ended))

    # --- where it goes ---

    def _line(self, text: str, fitted: Callable[[int], str] | None = None) -> None:
        """Shows lines, on a terminal as they fit its width."""
        self._next_sign = self._now() + _EVERY_S
        for line in text.split("\n"):
            self._write_log(line)
        if self._screen is not None:
            self._screen.line(text if fitted is None else fitted)

    def _tick(self) -> None:
        """Lets nobody wait for long without a line; a panel says the same."""
        now = self._now()
        if now < self._next_sign:
            return
        self._next_sign = now + _EVERY_S
        from rlef.cli.progress_text import BEAT, beat

        shown = self._shown
        self._write_log(beat(shown, now))
        screen = self._screen
        if screen is not None and not screen.has_panel:
            screen.line(lambda width: beat(shown, now, min(width, BEAT)))

    def _panel(self, width: int, signs: str) -> Sequence[str]:
        from rlef.cli.progress_text import panel_lines

        return panel_lines(self._shown, width, self._now(), signs)

    def _open_log(self, path: Path) -> None:
        from rlef import __version__

        try:
            self._log = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError:
            return  # a folder that cannot be written to is told by what has to be written
        self._write_log(f"rlef {__version__}, process {os.getpid()}: {self._shown.title}")

    def _write_log(self, text: str) -> None:
        log = self._log
        if log is None:
            return
        try:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")
        except (OSError, ValueError):  # a full disk: what has to be written says so
            self._log = None

    def _close_log(self, last_words: str) -> None:
        self._write_log(last_words)
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except OSError:
                return


def _last_words(error: BaseException | None) -> str:
    """Why a run ended before its time, in one line."""
    if isinstance(error, Exception) and not isinstance(error, typer.Exit):
        from rlef.cli.errors import explain

        return explain(error)[0]
    return "stopped"
