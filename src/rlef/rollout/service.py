"""All that the training loop and evaluations know of sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlef.engines import Weights
from rlef.rollout.episode import EpisodeRequest
from rlef.rollout.types import Rollout

_WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTiming:
    """Where the time went, in seconds.

    Attributes:
        generate_s: the engine sampled, for these episodes or others.
        under_way_s: there were episodes under way.
    """

    generate_s: float
    under_way_s: float

    @property
    def judge_wait_s(self) -> float:
        """Episodes were under way, but all of them were being judged."""
        return max(0.0, self.under_way_s - self.generate_s)

    def since(self, before: "RolloutTiming") -> "RolloutTiming":
        """Returns what has come to it since an earlier time."""
        return RolloutTiming(
            generate_s=self.generate_s - before.generate_s,
            under_way_s=self.under_way_s - before.under_way_s,
        )


class Rollouts(Protocol):
    """Runs episodes, in this process or elsewhere."""

    @property
    def timing(self) -> RolloutTiming:
        """Where the time went so far; of several engines the mean."""
        ...

    def submit(self, index: int, request: EpisodeRequest) -> None:
        """Adds an episode; it begins, at the earliest, with the next call of ``finished``.

        Args:
            index: Its name in what ``finished`` returns; not that of one under way.
            request: What to run.
        """
        ...

    def finished(self, timeout_s: float) -> list[tuple[int, Rollout]]:
        """Waits for a rollout, up to ``timeout_s``; returns all that have ended, each index once.

        Raises:
            EngineError: The engine cannot go on. Programs that were being judged then have been
                judged, and the episodes that ended so returned before.
        """
        ...

    def use(self, weights: Weights) -> float | None:
        """Samples from these weights from each episode's next turn on.

        Returns:
            The gap between engine and model, see ``PolicyEngine.load_weights``.
        """
        ...

    def sleep(self) -> None:
        """Frees the memory that is needed for sampling only; no episode is under way."""
        ...


def note_under_way(index: int, others: set[int]) -> None:
    """Adds an episode's index to those under way.

    Raises:
        ValueError: It is among them.
    """
    if index in others:
        raise ValueError(f"episode {index} is under way already; allowed: each index once")
    others.add(index)


def run_requests(rollouts: Rollouts, requests: Sequence[EpisodeRequest]) -> list[Rollout]:
    """Runs episodes to their end; returns the rollouts in the order of the requests.

    Args:
        rollouts: With no episode under way.
        requests: What to run.

    Raises:
        EngineError: See ``Rollouts.finished``.
    """
    for index, request in enumerate(requests):
        rollouts.submit(index, request)
    found: dict[int, Rollout] = {}
    while len(found) < len(requests):
        found.update(rollouts.finished(_WAIT_S))
    return [found[index] for index in range(len(requests))]
