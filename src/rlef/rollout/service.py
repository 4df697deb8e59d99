"""All that the training loop and evaluations know of sampling."""

from collections.abc import Sequence
from typing import Protocol

from rlef.engines import Weights
from rlef.rollout.episode import EpisodeRequest
from rlef.rollout.types import Rollout

_WAIT_S = 1.0


class Rollouts(Protocol):
    """Runs episodes, in this process or elsewhere."""

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
