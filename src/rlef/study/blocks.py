"""What the page of a study is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the second level."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows; the first column is text, the others numbers unless ``is_text``."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Axes side by side, each drawn by a function."""

    name: str
    alt: str
    draw: "Sequence[Callable[[Axes], None]]"


Block = Heading | Text | Table | Figure
