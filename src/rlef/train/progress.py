"""What the loop tells of itself, for whoever shows it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from rlef.evaluation.progress import Progress as EpisodeProgress
    from rlef.rollout import RolloutTiming

Stage = Literal["loading", "sampling", "judging", "learning", "saving", "evaluating"]
"""What a run is at. ``judging``: episodes are under way, and all of them wait for the judge."""

_LOOK_S = 1.0
_STANDS_STILL = 0.1
"""Share of the time under way below which the engine is said to wait for the judge."""


def nothing_done() -> int:
    """Returns 0: a stage whose parts nobody counts."""
    return 0


class Progress(Protocol):
    """What the loop tells of itself. None of these waits for anything, or raises."""

    def message(self, text: str) -> None:
        """Takes a line of text."""
        ...

    def stage(self, name: Stage, total: int = 0, done: Callable[[], int] = nothing_done) -> None:
        """Takes what begins now.

        Args:
            name: What it is.
            total: Parts that it has; 0: they are not counted.
            done: Tells how many of them are done, whenever it is called, in any thread.
        """
        ...

    def episodes(self, progress: "EpisodeProgress") -> None:
        """Takes how far an evaluation is, or a batch that is being sampled."""
        ...

    def update(self, metrics: Mapping[str, object]) -> None:
        """Takes the metrics of a batch of rollouts and its updates."""
        ...

    def completed(self, metrics: Mapping[str, object]) -> None:
        """Takes metrics of the last batch that were not known when it was told of."""
        ...


class Silent:
    """Shows nothing: a ``Progress``."""

    def message(self, text: str) -> None:
        """Ignores a line."""

    def stage(self, name: Stage, total: int = 0, done: Callable[[], int] = nothing_done) -> None:
        """Ignores a stage."""

    def episodes(self, progress: "EpisodeProgress") -> None:
        """Ignores how far episodes are."""

    def update(self, metrics: Mapping[str, object]) -> None:
        """Ignores metrics."""

    def completed(self, metrics: Mapping[str, object]) -> None:
        """Ignores what was not known."""


class BatchWatch:
    """Tells of a batch that is being sampled: how far it is, and who works on it.

    Args:
        display: Hears of it.
        timing: Of the rollouts, see ``Rollouts.timing``.
    """

    def __init__(self, display: Progress, timing: "Callable[[], RolloutTiming]") -> None:
        self._display = display
        self._timing = timing
        self._last = timing()
        self._stage: Stage = "sampling"
        display.stage("sampling")

    def __call__(self, progress: "EpisodeProgress") -> None:
        """Takes how far it is."""
        now = self._timing()
        step = now.since(self._last)
        if step.under_way_s >= _LOOK_S:
            self._last = now
            waits = step.generate_s < _STANDS_STILL * step.under_way_s
            stage: Stage = "judging" if waits else "sampling"
            if stage != self._stage:
                self._stage = stage
                self._display.stage(stage)
        self._display.episodes(progress)
