"""How far an evaluation is, with a solve rate that does not depend on what ends first."""

from collections.abc import Iterable
from dataclasses import dataclass

_PARTS = 5
"""Of all episodes; a rate is over the first so many of these parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an evaluation is.

    Episodes that are solved at once end first, so the rate over those that have ended is too high
    until all have. ``first`` and ``solved`` are of episodes that were chosen before any began.
    """

    name: str
    done: int
    total: int
    new: int
    """Episodes among ``done`` that this process has run."""
    first: int = 0
    """All of the first so many episodes, in the order in which they begin, have ended: the largest
    fifth of all of which that is true; 0: not even of the first."""
    solved: int = 0
    """Of the first ``first``, how many were solved; infrastructure errors are none."""
    counted: int = 0
    """Of the first ``first``, how many were no infrastructure errors."""
    solved_by_turn: tuple[int, ...] = ()
    """Entry t-1: of the first ``first``, how many were solved with at most t turns; as long as the
    episode with the most turns that was solved."""

    def rate(self) -> str:
        """The solve rate in words; empty where nothing can be said yet."""
        if not self.counted:
            return ""
        of = "" if self.first == self.total else f" of the first {self.first}"
        return f"{100 * self.solved / self.counted:.1f} %{of} solved"


class Tally:
    """Counts episodes as they end.

    Args:
        name: Of the evaluation.
        total: Episodes.
    """

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._steps = sorted({total * part // _PARTS for part in range(1, _PARTS + 1)} - {0})
        self._ended: dict[int, int | None] = {}
        self._total = total
        self._whole = 0
        self._new = 0

    def add(self, outcomes: Iterable[tuple[int, int | None]], *, new: bool = True) -> None:
        """Takes episodes that have ended.

        Args:
            outcomes: Place of each in the order in which they begin, from 0, and the turn at which
                it was solved, 0 where it was not; ``None``: an infrastructure error.
            new: Whether this process has run them.
        """
        before = len(self._ended)
        self._ended.update(outcomes)
        self._new += len(self._ended) - before if new else 0

    def progress(self) -> Progress:
        """How far it is."""
        while self._whole in self._ended:
            self._whole += 1
        first = max((step for step in self._steps if step <= self._whole), default=0)
        known = [self._ended[place] for place in range(first)]
        turns = [turn for turn in known if turn]
        by_turn = (sum(t <= turn for t in turns) for turn in range(1, max(turns, default=0) + 1))
        return Progress(
            name=self._name,
            done=len(self._ended),
            total=self._total,
            new=self._new,
            first=first,
            solved=len(turns),
            counted=sum(outcome is not None for outcome in known),
            solved_by_turn=tuple(by_turn),
        )
