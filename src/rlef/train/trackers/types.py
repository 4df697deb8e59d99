"""What a tracker is to a run, and a run to a tracker."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """A run, as a tracker is told of it.

    Attributes:
        path: its folder.
        config: every setting by its key with dots.
        id: what the tracker called it in an earlier process; ``None``: it is new to the tracker.
    """

    path: Path
    config: Mapping[str, object]
    id: str | None

    @property
    def name(self) -> str:
        """What people see."""
        return self.path.resolve().name

    def id_or_new(self) -> str:
        """The id that the tracker knows, or one that no other run has."""
        return self.id or secrets.token_hex(8)


class Tracker(Protocol):
    """One run in a tracker. Any of these may raise what it likes: see ``Tracked``."""

    @property
    def id(self) -> str:
        """By which a later process goes on with the same run."""
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Takes the metrics of a batch; steps only grow."""
        ...

    def finish(self, figures: Mapping[str, float], step: int) -> None:
        """Takes what the evaluations came to, at the last step."""
        ...

    def close(self, *, finished: bool) -> None:
        """Ends it for this process."""
        ...
