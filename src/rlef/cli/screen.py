"""Lines that stay on stderr, and on a terminal a panel below them that changes.

A thread of its own writes: who shows something never waits for a terminal that is stopped or for a
pipe that nobody reads, and whatever goes wrong with either ends the showing, never the work.
"""

import io
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

LEAST_WIDTH, LEAST_HEIGHT = 60, 8
"""Of a terminal with a panel; smaller ones get lines."""
_REFRESH_S = 1.0
_LOOK_S = 0.25
_GOODBYE_S = 3.0
UNLIMITED = 100_000
"""Columns of what is no terminal."""
_FRAME = 4
"""Columns, and lines, that the panel's border takes, with the line below it."""
_ECHO = 3
"""Columns to the right of the panel: a terminal writes ``^C`` there, and must not begin a line."""


class _End(Enum):
    """Stands behind the last line."""

    END = 0


_Text = str | Callable[[int], str]
_END = _End.END


class Screen:
    """Shows lines and a panel.

    Args:
        panel: The lines of the panel for a width, the most important first, given the signs of
            curves; called in another thread.
        title: Of the panel.
        tick: Called every quarter of a second, in that thread.
        shows: ``False``: nothing is shown, but ``tick`` is called all the same.

    Attributes:
        has_panel: whether there is one now.
    """

    def __init__(
        self,
        panel: Callable[[int, str], Sequence[str]],
        title: Callable[[], str],
        tick: Callable[[], None],
        *,
        shows: bool,
    ) -> None:
        self._panel, self._title, self._tick = panel, title, tick
        self._shows = shows
        self._queue: queue.SimpleQueue[_Text | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.has_panel = False

    def line(self, text: _Text) -> None:
        """Shows a line that stays, or several: as it is, no markup, no line breaks.

        Args:
            text: It, or what gives it for the columns of a terminal.
        """
        if self._shows:
            self._queue.put(text)

    def open(self) -> None:
        """Begins to show."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rlef-screen", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Shows what is left, and takes the panel away; gives up on a terminal that is stopped."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(_GOODBYE_S)
            self._thread = None

    def _run(self) -> None:
        try:
            self._show()
        except Exception:  # of the terminal, the pipe or rich: the work goes on unseen
            self._shows = False
        with suppress(Exception):
            while not self._shows:  # the log goes on
                if self._next() is _END:
                    return
                self._tick()

    def _show(self) -> None:
        if not self._shows:
            return
        console = _console()
        with ExitStack() as stack:
            live = self._live(console, stack)
            self.has_panel = live is not None
            refreshed = -_REFRESH_S
            while (text := self._next()) is not _END:
                self._tick()
                if text is not None:
                    self._print(console, text)
                if live is None:
                    continue
                if console.width < LEAST_WIDTH:
                    stack.close()
                    live, self.has_panel = None, False
                elif time.monotonic() - refreshed >= _REFRESH_S:
                    refreshed = time.monotonic()
                    live.update(self._rendered(console), refresh=True)

    def _next(self) -> _Text | _End | None:
        """The next line; ``None`` where there is none for now."""
        with suppress(queue.Empty):
            text = self._queue.get(timeout=_LOOK_S)
            return _END if text is None else text
        return None

    def _print(self, console: "Console", text: _Text) -> None:
        is_terminal = console.is_terminal  # which would break lines within words
        if not isinstance(text, str):
            text = text(console.width if is_terminal else UNLIMITED)
        console.print(text, soft_wrap=not is_terminal, markup=False, highlight=False)

    def _live(self, console: "Console", stack: ExitStack) -> "Live | None":
        if not console.is_terminal or console.is_dumb_terminal or not os.environ.get("TERM"):
            return None
        if console.width < LEAST_WIDTH or console.height < LEAST_HEIGHT:
            return None
        from rich.live import Live

        return stack.enter_context(
            Live(
                self._rendered(console),
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
            )
        )

    def _rendered(self, console: "Console") -> Any:
        from rich import box
        from rich.panel import Panel
        from rich.text import Text

        from rlef.report.sparkline import ASCII, BLOCKS

        is_plain = not console.encoding.startswith("utf")
        width = console.width - _ECHO
        lines = self._panel(width - _FRAME, ASCII if is_plain else BLOCKS)
        text = Text("\n".join(lines[: console.height - _FRAME]), no_wrap=True, overflow="ignore")
        return Panel(
            text,
            title=Text(self._title()[: width - 8]),
            title_align="left",
            box=box.ASCII if is_plain else box.ROUNDED,
            border_style="dim",
            width=width,
        )


def _console() -> "Console":
    from rich.console import Console

    class OnStderr(Console):
        def on_broken_pipe(self) -> None:
            """Raises, where rich would close stdout and end the process."""
            raise BrokenPipeError

    file: Any = _Raw(sys.stderr) if _is_real(sys.stderr) else None
    return OnStderr(
        stderr=True,
        file=file,
        force_terminal=file is not None and file.isatty(),  # whatever FORCE_COLOR says
        highlight=False,
        markup=False,
        emoji=False,
    )


def _is_real(stream: Any) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


class _Raw:
    """A stream's file without its buffer, whose lock a thread that never wakes would keep."""

    def __init__(self, stream: Any) -> None:
        self._descriptor = stream.fileno()
        self.encoding = stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Writes all of it, or raises OSError."""
        data = text.encode(self.encoding, "backslashreplace")
        while data:
            data = data[os.write(self._descriptor, data) :]
        return len(text)

    def flush(self) -> None:
        """Does nothing: nothing is held back."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Its number."""
        return self._descriptor  # type: ignore[no-any-return]
