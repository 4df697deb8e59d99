"""The line of an update: as many columns as fit, below a heading that comes again now and then."""

from collections.abc import Mapping
from typing import NamedTuple

from rlef.cli.progress_text import clock, number

WHOLE = 80
"""Characters of a line with all columns."""
_LINES_PER_HEADING = 20
_FIRST = 11
"""Characters of the update."""


class _Column(NamedTuple):
    """A column.

    Attributes:
        key: of the metrics; empty: the time left.
        form: how its value is written, after it was multiplied by ``scale``.
        width: with the space before it.
        rank: columns of high rank are the first to go where a line is short.
    """

    key: str
    title: str
    width: int
    rank: int
    scale: float = 1.0
    form: str = ""


_COLUMNS = (
    _Column("solve_rate/turn_1", "turn 1", 8, 4, 100.0, ".1f"),
    _Column("solve_rate", "solved", 8, 1, 100.0, ".1f"),
    _Column("repair_rate", "repair", 8, 5, 100.0, ".1f"),
    _Column("reward", "reward", 8, 3, 1.0, ".2f"),
    _Column("kl", "KL", 9, 6, 1.0, ".4f"),
    _Column("entropy", "entropy", 9, 7, 1.0, ".3f"),
    _Column("explained_variance", "expl.var", 10, 8, 1.0, ".2f"),
    _Column("", "left", 9, 2),
)


class UpdateLines:
    """Lines of the updates of a run, one after the other.

    Args:
        updates: Of the recipe.
    """

    def __init__(self, updates: int) -> None:
        self._updates = updates
        self._since_heading = 0
        self._columns: list[_Column] = []

    def next(self, metrics: Mapping[str, object], left_s: float | None, width: int) -> list[str]:
        """The line of an update, below a heading where it needs one.

        Args:
            metrics: Of the update; "-" stands for what they lack.
            left_s: Seconds to the end, ``None``: not known.
            width: Columns of what shows it; numbers are whole, however few.
        """
        columns = _fitting(width)
        lines = []
        if columns != self._columns or self._since_heading == _LINES_PER_HEADING:
            self._columns, self._since_heading = columns, 0
            lines.append(_joined("update", {each: each.title for each in columns}))
        self._since_heading += 1
        left = "-" if left_s is None else clock(left_s)
        cells = {each: _cell(metrics, each) if each.key else left for each in columns}
        return [*lines, _joined(f"{metrics['update']}/{self._updates}", cells)]


def _fitting(width: int) -> list[_Column]:
    """The columns of a line, in order."""
    room, chosen = width - _FIRST, set[_Column]()
    for column in sorted(_COLUMNS, key=lambda each: each.rank):
        room -= column.width
        if room < 0:
            break
        chosen.add(column)
    return [column for column in _COLUMNS if column in chosen]


def _joined(first: str, cells: Mapping[_Column, str]) -> str:
    rest = "".join(f" {cell:>{column.width - 1}}" for column, cell in cells.items())
    return f"{first:>{_FIRST}}{rest}"


def _cell(metrics: Mapping[str, object], column: _Column) -> str:
    value = number(metrics, column.key)
    return "-" if value is None else format(column.scale * value, column.form)
