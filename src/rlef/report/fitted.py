"""Tables for terminals of any width: numbers are never cut or broken.

A table that does not fit becomes a list, a row under the other. Cells are text as it is: what
looks like markup in a name is shown.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from textwrap import wrap
from typing import TYPE_CHECKING

from rlef.text import in_encoding, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_GAP = 2
_INDENT = 2
_UNKNOWN = 80
"""Columns of a terminal that does not say."""
UNLIMITED = 100_000
"""Columns of what is no terminal."""
_LEAST = 4
"""Characters that a shortened part keeps."""
_WORD = 8
"""Longest beginning of a word that is kept because its end differs."""


def output_width() -> int:
    """Columns of stdout: ``COLUMNS`` if it is set, a terminal's own, none for a pipe or a file."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return min(int(given), UNLIMITED)
    if sys.stdout is not None and sys.stdout.isatty():  # None: it was closed at the start
        return os.get_terminal_size(sys.stdout.fileno()).columns or _UNKNOWN
    return UNLIMITED


@dataclass(frozen=True, kw_only=True)
class FittedTable:
    """A table that ``rich`` prints in the form that fits.

    Attributes:
        headings: One per column; the first column is text, the others numbers.
        rows: As many cells each.
        short: Headings to try where these are too wide, and for the list.
        named: How many headings from the second on may become letters, told above the table,
            before it becomes a list.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    short: Sequence[str] | None = None
    named: int = 0

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Yields lines."""
        from rich.text import Text

        encoding = options.encoding
        table = replace(  # before columns are measured: a sign may become two
            self,
            headings=[in_encoding(text, encoding) for text in self.headings],
            short=self.short and [in_encoding(text, encoding) for text in self.short],
            rows=[[in_encoding(cell, encoding) for cell in row] for row in self.rows],
        )
        for line in table.lines(options.max_width):
            yield Text(line, no_wrap=True, overflow="ignore")

    def lines(self, width: int) -> list[str]:
        """The table in at most ``width`` columns, where its longest word allows that."""
        rows = [list(map(one_line, row)) for row in self.rows]  # names may give orders
        own = list(map(one_line, self.headings))
        broken = [heading.replace(", ", ",\n") for heading in own]
        for headings in (broken, self.short):
            if headings is not None:
                found = list(_grid(headings, rows))
                if max(map(_cells, found)) <= width:
                    return found
        if self.named:
            found = list(_grid(self._letters(), rows))
            if max(map(_cells, found)) <= width:
                return [*self._legend(width), *found]
        return list(_stack(self.short or own, rows, width))

    def _letters(self) -> list[str]:
        letters = ascii_uppercase[: self.named]
        rest = [name.replace(" / ", " /\n") for name in self.headings[1 + self.named :]]
        return [self.headings[0], *letters, *rest]

    def _legend(self, width: int) -> Iterator[str]:
        for letter, name in zip(ascii_uppercase, self.headings[1 : 1 + self.named], strict=False):
            yield from _wrapped(f"{letter}: {name}", width, 0)


def flowed(parts: Sequence[str], between: str, width: int) -> list[str]:
    """Parts one behind the other in lines of at most so many columns; none is broken.

    Example:
        >>> flowed(["one", "two", "three"], " · ", 10)
        ['one · two', 'three']
    """
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and _cells(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def short_names(names: Sequence[str], width: int = 16) -> list[str]:
    """Names of about ``width`` characters, shortened in the middle; what differs is kept whole.

    Example:
        >>> short_names(["eval-20261127-220115", "eval-20261127-221507"])
        ['eval-2026…220115', 'eval-2026…221507']
    """
    if len(names) < 2 or max(map(len, names)) <= width:
        return list(names)
    same = _same(names)
    last = max(names[0].rfind(sign, 0, same) for sign in "-_./ ")
    start = last + 1 if same - last <= _WORD else same  # from the beginning of a word
    end = _same([name[start:][::-1] for name in names])
    return [_shortened(name, start, len(name) - end, width) for name in names]


def _same(names: Sequence[str]) -> int:
    """How many characters all names begin with alike."""
    columns = enumerate(zip(*names, strict=False))
    return next((i for i, signs in columns if len(set(signs)) > 1), min(map(len, names)))


def _shortened(name: str, start: int, end: int, width: int) -> str:
    """The name without the middle of what stands before ``start``, or of what follows ``end``."""
    head, core, tail = name[:start], name[start:end], name[end:]
    spare = width - len(core) - 1
    if len(head) >= len(tail):
        kept = max(_LEAST, spare - len(tail))
        return f"{head[:kept]}…{core}{tail}" if kept < len(head) - 1 else name
    kept = max(_LEAST, spare - len(head))
    return f"{head}{core}…{tail[-kept:]}" if kept < len(tail) - 1 else name


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table with a column for each heading, which may have several lines."""
    parts = [heading.split("\n") for heading in headings]
    height = max(map(len, parts))
    top = [[*[""] * (height - len(part)), *part] for part in parts]
    lines = [[part[i] for part in top] for i in range(height)] + [list(row) for row in rows]
    widths = [max(_cells(line[i]) for line in lines) for i in range(len(headings))]
    for line in lines:
        padded = [
            cell + " " * (width - _cells(cell)) if i == 0 else " " * (width - _cells(cell)) + cell
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield (" " * _GAP).join(padded).rstrip()


def _stack(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Lines of a list: each row's label, then its cells under their headings' names."""
    names = headings[1:]
    longest = max(map(_cells, names), default=0)
    cells = max((_cells(cell) for row in rows for cell in row[1:]), default=0)
    is_narrow = _INDENT + longest + _GAP + cells > width
    for row in rows:
        yield from _wrapped(row[0], width, 0)
        for name, cell in zip(names, row[1:], strict=True):
            if is_narrow:
                yield from _wrapped(name, width, _INDENT)
                yield from _wrapped(cell, width, 2 * _INDENT)
            else:
                pad = " " * (longest - _cells(name) + _GAP)
                yield " " * _INDENT + name + pad + cell


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    """The text in lines that end between words."""
    room = max(1, width - indent)
    lines = wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [" " * indent + line for line in lines]


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
