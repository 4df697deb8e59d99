"""Rows that no problem can be made of: an error, or left out and counted."""

from collections.abc import Iterator
from contextlib import contextmanager

from rlef.problems.errors import ProblemError

HINT = "broken=skip leaves such rows out"
_SHOWN = 3


class RowError(ProblemError):
    """One row is wrong; its message says which."""


class OddRows:
    """What becomes of the odd rows of one data set.

    Args:
        skip: Whether they are left out; else the first one is an error.
    """

    def __init__(self, *, skip: bool = False) -> None:
        self._skip = skip
        self.unread = 0
        """Rows left out that could not even be read as an object."""
        self.errors: list[str] = []
        """What is wrong with each row left out, file, line and field first."""

    @contextmanager
    def row(self, place: str = "", *, reading: bool = False) -> Iterator[None]:
        """Whatever is wrong with a row inside the block ends the block only, if rows are skipped.

        Args:
            place: Where the row stands.
            reading: Whether the block makes the record itself.

        Raises:
            ProblemError: The row is wrong, and rows are not skipped.
        """
        try:
            yield
        except (RowError, RecursionError) as error:
            deep = isinstance(error, RecursionError)
            what = f"{place}: holds a value that is nested too deeply" if deep else str(error)
            if not self._skip:
                raise ProblemError(f"{what}; {HINT}") from None
            self.unread += reading
            self.errors.append(what)

    def summary(self) -> str:
        """How many rows were left out, and what is wrong with the first ones; may be empty."""
        if not self.errors:
            return ""
        count = len(self.errors)
        more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
        rows = "1 row" if count == 1 else f"{count} rows"
        return f"left out {rows}: {'; '.join(self.errors[:_SHOWN])}{more}"
