"""Many rollout actors in few processes: for engines that are simulated, and take no cores.

The fleet, the calls and what they carry are those of a real cluster. What differs: actors of one
process share its interpreter, and none of them is lost alone.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray

from rlef.distributed.actors import LearnerActor, RolloutActor
from rlef.distributed.fleet import Fleet
from rlef.distributed.learner import Make, RayLearner
from rlef.distributed.rollouts import RayRollouts
from rlef.distributed.session import auth_mode_kept, start
from rlef.rollout import EpisodeSettings

_CALLS = 4
"""Under way for each actor at once: one waits for rollouts, others bring work and weights."""
_OBJECTS = 1 << 28
"""Bytes of Ray's memory for objects."""


class Host:
    """Rollout actors in one process, by number."""

    def __init__(self, slots: list[int]) -> None:
        self._actors = {slot: RolloutActor() for slot in slots}

    def call(self, slot: int, method: str, *words: Any) -> Any:
        """Calls a method of one of them."""
        return getattr(self._actors[slot], method)(*words)


class Seat:
    """Stands for Ray's handle of a rollout actor that is one of many in its process.

    Args:
        host: The handle of its ``Host``.
        slot: Its number.
    """

    def __init__(self, host: Any, slot: int) -> None:
        self._host = host
        self._slot = slot

    def __getattr__(self, method: str) -> "_Method":
        return _Method(self._host, self._slot, method)


class _Method:
    def __init__(self, host: Any, slot: int, method: str) -> None:
        self._words = slot, method
        self._host = host

    def remote(self, *words: Any) -> Any:
        """Begins a call."""
        return self._host.call.remote(*self._words, *words)


@contextmanager
def crowded(
    open_words: tuple[Callable[..., Any], Callable[..., Any]],
    make_learner: Make,
    settings: EpisodeSettings,
    *,
    actors: int,
    processes: int,
    together: int,
    most: int,
    timeout_s: float = 120.0,
) -> Iterator[tuple[RayRollouts, RayLearner]]:
    """Starts a Ray on this machine with a learner and so many rollout actors, for a while.

    Args:
        open_words: What makes engine and judges of an actor, see ``RolloutActor.open``.
        make_learner: What makes the learner.
        settings: Of the episodes.
        actors: Rollout actors.
        processes: They are spread over.
        together: See ``RayRollouts``.
        most: Likewise.
        timeout_s: A call that takes longer is a hang.
    """
    processes = min(processes, actors)
    with ExitStack() as stack:
        stack.enter_context(auth_mode_kept())
        start(
            ray, address="local", num_cpus=processes + 2, include_dashboard=False,
            log_to_driver=False, logging_level=logging.ERROR, object_store_memory=_OBJECTS,
        )  # fmt: skip
        stack.callback(ray.shutdown)
        slots = [list(range(first, actors, processes)) for first in range(processes)]
        hosts = [
            ray.remote(Host).options(num_cpus=0, max_concurrency=_CALLS * len(some)).remote(some)
            for some in slots
        ]
        learner = RayLearner(
            lambda _: ray.remote(LearnerActor).options(num_cpus=0).remote(),
            lambda _rank, _ranks, _address: make_learner,
            1,
            timeout_s=timeout_s,
            say=print,
        )
        stack.callback(learner.close)
        fleet = Fleet(
            lambda slot: Seat(hosts[slot % processes], slot),
            open_words,
            actors,
            checkpoint_names=False,
            timeout_s=timeout_s,
            say=print,
        )
        stack.callback(fleet.close)
        learner.wait_until_ready()
        fleet.wait_until_ready()
        rollouts = RayRollouts(fleet, settings, together=together, most=most)
        yield stack.enter_context(rollouts), learner
