"""Batches of rollouts: how many are asked for, which make up a batch, which are too old for one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Event
from typing import Protocol

from rlef.engines import EngineError
from rlef.evaluation.episodes import outcome_of
from rlef.evaluation.progress import Progress, Tally
from rlef.rollout import Rollout, Rollouts
from rlef.rollout.ledger import Ledger, Taken
from rlef.run import RunDamagedError
from rlef.train.requests import RequestSource

_WAIT_S = 1.0
_COLLECT_S = 0.2
"""So often what has ended during an update goes to disk."""
_TOO_OLD_FACTOR = 4
"""How many times what may be under way can be too old for one batch before a run stops."""


class _Tell(Protocol):
    def __call__(self, ended: Iterable[tuple[int, Rollout]], *, new: bool = True) -> None: ...


class Batches:
    """Keeps rollouts coming and cuts them into batches.

    At most ``size * (1 + max_staleness)`` rollouts are under way or wait to be taken. With
    ``max_staleness`` 0 a batch is the next ``size`` indices, whatever ends first: all of them are
    of the present policy. Above it a batch is the first ``size`` that end, and fewer are under way
    where the sampler is ahead of the learner, since more would only grow old in the queue.

    Args:
        source: Says what an index stands for.
        rollouts: Runs the episodes.
        ledger: Remembers what has ended and what has been taken.
        size: Rollouts of a batch.
        total: Batches of the run.
        max_staleness: Batches that the policy of a rollout's oldest turn may be behind.
        updates_per_batch: Optimizer steps on each batch, the unit of policy versions.
    """

    def __init__(
        self,
        source: RequestSource,
        rollouts: Rollouts,
        ledger: Ledger,
        *,
        size: int,
        total: int,
        max_staleness: int,
        updates_per_batch: int,
    ) -> None:
        self._source = source
        self._rollouts = rollouts
        self._ledger = ledger
        self._size = size
        self._total = total
        self._max_staleness = max_staleness
        self._updates_per_batch = updates_per_batch
        self._unseen = ledger.unseen()
        self._under_way = 0
        self._ahead = max_staleness
        """Batches that are asked for beyond the one to be taken."""

    def take(self, number: int, show: Callable[[Progress], None] = lambda _: None) -> Taken:
        """Returns a batch of rollouts: as the ledger has it, or as soon as there is one.

        Args:
            number: From 0; all before it have been taken.
            show: Hears of every step while there is none.

        Raises:
            RunDamagedError: One before it is not there, or cannot be read.
            EngineError: The engine cannot go on, or goes on with old weights.
        """
        if number > self._ledger.batches:
            raise RunDamagedError(
                f"rollouts of batch {self._ledger.batches} are missing in the run's folder, but "
                f"its checkpoint has learnt from {number} batches; put back rollouts/train"
            )
        if number < self._ledger.batches:
            return self._ledger.batch(number)
        sampler_waited = not self._under_way and len(self._ledger.pending) > self._size
        if self._max_staleness and sampler_waited:
            self._ahead = max(1, self._ahead - 1)
        self._ask(number)
        self.collect(0.0)  # what has been asked for begins
        tell = self._teller(number, show)
        tell(self._ledger.pending_rollouts.items(), new=False)
        while True:
            taken = self._ledger.take(
                self._size,
                in_order=self._max_staleness == 0,
                too_old=lambda rollout: self._is_too_old(rollout, number),
            )
            if taken is not None:
                return taken
            self._refuse_a_sampler_that_stands_still(number)
            self._ahead = min(self._max_staleness, self._ahead + 1)  # the learner has to wait
            self._ask(number)
            tell(self.collect(_WAIT_S))

    def _teller(self, number: int, show: Callable[[Progress], None]) -> "_Tell":
        """Returns what tells how far batch ``number`` is, given what has ended.

        Where it is the first rollouts to end, whatever they are, no rate can be told before it is
        whole that does not depend on which end first.
        """
        tally, first = Tally(f"batch {number + 1}", self._size), number * self._size

        def tell(ended: Iterable[tuple[int, Rollout]], *, new: bool = True) -> None:
            if self._max_staleness:
                done = min(self._size, len(self._ledger.pending))
                show(Progress(name=f"batch {number + 1}", done=done, total=self._size, new=done))
                return
            places = ((index - first, rollout) for index, rollout in ended)
            tally.add(
                (
                    (place, outcome_of(rollout.record))
                    for place, rollout in places
                    if 0 <= place < self._size
                ),
                new=new,
            )
            show(tally.progress())

        return tell

    def settle(self) -> None:
        """Waits for all that has been asked for, so that others may have the engine."""
        while self._under_way:
            self.collect(_WAIT_S)

    def staleness(self, rollout: Rollout, number: int) -> int:
        """Returns by how many batches the policy of its oldest turn is behind that of a batch."""
        oldest = rollout.oldest_version
        return 0 if oldest is None else number - oldest // self._updates_per_batch

    def _is_too_old(self, rollout: Rollout, number: int) -> bool:
        # in turns none is, even where a study samples a policy that stays as it was
        behind = self._max_staleness and self.staleness(rollout, number)
        return behind > self._max_staleness

    def staleness_metrics(self, taken: Taken) -> dict[str, float]:
        """Returns the mean staleness of a batch, its histogram, and how many were too old for it.

        Nothing where all rollouts are of the present policy by construction.
        """
        if self._max_staleness == 0:
            return {}
        found = [self.staleness(rollout, taken.number) for rollout in taken.rollouts]
        histogram = {f"staleness/{n}": found.count(n) for n in range(self._max_staleness + 1)}
        return {
            "staleness": sum(found) / len(found),
            **histogram,
            "dropped_stale": taken.dropped,
        }

    def _refuse_a_sampler_that_stands_still(self, number: int) -> None:
        """Raises EngineError where rollouts keep coming and all of them are too old.

        Of those under way when weights came, a batch's worth for each step of staleness may be.
        """
        if self._ledger.too_old > _TOO_OLD_FACTOR * self._size * (1 + self._max_staleness):
            raise EngineError(
                f"the engine samples old weights: {self._ledger.too_old} rollouts that ended after "
                f"batch {number} are all more than rollout.max_staleness = {self._max_staleness} "
                "batches old; allowed: an engine that takes new weights"
            )

    def _ask(self, number: int) -> None:
        """Submits what may be asked for while batch ``number`` is the next to be taken."""
        wanted = min(1 + self._ahead, self._total - number) * self._size
        missing = wanted - self._under_way - len(self._ledger.pending)
        for index in islice(self._unseen, max(0, missing)):
            self._rollouts.submit(index, self._source.request(index))
            self._under_way += 1

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Within it, what ends goes to disk by itself, while the caller does something else.

        Raises:
            EngineError, RunWriteError: As ``collect``, at the end.
        """
        done = Event()

        def collect() -> None:
            while not done.wait(_COLLECT_S):
                self.collect(0.0)

        with ThreadPoolExecutor(1, thread_name_prefix="rlef-collecting") as thread:
            collector = thread.submit(collect)
            try:
                yield
            finally:
                done.set()
        collector.result()

    def collect(self, timeout_s: float) -> list[tuple[int, Rollout]]:
        """Puts rollouts that have ended on disk; waits up to ``timeout_s`` for the first.

        Returns:
            Those that have.
        """
        ended = self._rollouts.finished(timeout_s)
        self._ledger.add(ended)
        self._under_way -= len(ended)
        return ended
