"""Episodes on the rollout actors of a cluster: ``Rollouts`` elsewhere."""

import itertools
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import ray

from rlef.distributed.actors import Ended, Items
from rlef.distributed.calls import Lost, ended, result
from rlef.distributed.fleet import Fleet, Member
from rlef.distributed.weights import RemoteWeights
from rlef.engines import EngineError, Weights
from rlef.environment import EpisodeRecord, StopReason
from rlef.problems import Problem
from rlef.rollout import EpisodeRequest, EpisodeSettings, Rollout, RolloutTiming
from rlef.rollout.service import note_under_way

TRIES = 3
"""Actors that are lost under an episode before it is given up; the last one has nothing else."""
_POLL_S = 5.0
"""So long, at most, an actor lets a call for rollouts wait."""
_CHUNKS = 3
"""Of episodes that an actor has at once: one is sampled, one judged, one stands in line."""
_LOOK_S = 0.2
_KINDS = itertools.count()

_NONE = RolloutTiming(generate_s=0, under_way_s=0)
_Item = tuple[int, EpisodeRequest]


@dataclass(eq=False, slots=True)
class _Work:
    """What one member has of these episodes.

    Attributes:
        given: its episodes under way, by index.
        poll: the call that waits for rollouts, and since when.
        sign: when it last got its first episode or ended one.
        submitted: the last call that brought episodes.
        timing: of its actor.
        stage: where its episodes were when it last said so.
    """

    given: dict[int, EpisodeRequest] = field(default_factory=dict)
    poll: tuple[Any, float] | None = None
    sign: float = 0.0
    submitted: Any = None
    timing: RolloutTiming = _NONE
    stage: str = ""


class Posted:
    """Problems in Ray's memory: each is put there once, and calls carry references."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Problem, Any]] = {}

    def call(self, items: Sequence[_Item]) -> tuple[Items, list[Any]]:
        """Returns episodes as a call carries them, and references to their problems."""
        places: dict[int, int] = {}
        words = []
        for index, request in items:
            key = id(request.problem)
            if key not in self._found:
                self._found[key] = request.problem, ray.put(request.problem)
            words.append((index, places.setdefault(key, len(places)), request.seed))
        return words, [self._found[key][1] for key in places]


class RayRollouts:
    """Runs episodes on the actors of a fleet: a ``Rollouts``.

    What an actor that is lost had under way goes to others, and the first rollout of an index
    counts. An episode under which actors are lost again and again is given up: its rollout is an
    infrastructure error.

    Which episodes sample together is as in ``LocalRollouts`` with an engine of the same group,
    unless there are too few of them for all actors.

    Args:
        fleet: The actors; not closed here, and others may use them in turn.
        settings: Of the episodes.
        together: Episodes that are given to an actor at once, to sample together.
        most: Episodes that it has under way.
    """

    def __init__(
        self, fleet: Fleet, settings: EpisodeSettings, *, together: int, most: int
    ) -> None:
        self._fleet = fleet
        self._kind = next(_KINDS)
        self._settings = ray.put(settings)
        self._problems = Posted()
        self._together, self._most = together, most
        self._indices: set[int] = set()
        self._new: list[_Item] = []
        self._chunks: deque[list[_Item]] = deque()
        self._work: dict[Member, _Work] = {}
        self._tries: dict[int, int] = {}
        self._ended: list[tuple[int, Rollout]] = []
        """What ``finished`` has not returned yet."""
        self._failure: Exception | None = None
        self._gone = _NONE
        fleet.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def timing(self) -> RolloutTiming:
        """Seconds since the beginning, mean of the actors."""
        all_of_them = [self._gone, *(work.timing for work in self._work.values())]
        count = len(self._fleet.members)
        return RolloutTiming(
            generate_s=sum(one.generate_s for one in all_of_them) / count,
            under_way_s=sum(one.under_way_s for one in all_of_them) / count,
        )

    def submit(self, index: int, request: EpisodeRequest) -> None:
        """Adds an episode, see ``Rollouts.submit``.

        Raises:
            ValueError: One with this index is under way.
        """
        note_under_way(index, self._indices)
        self._new.append((index, request))

    def finished(self, timeout_s: float) -> list[tuple[int, Rollout]]:
        """Waits for rollouts, see ``Rollouts.finished``.

        Raises:
            EngineError: An actor is lost again and again, or there is none any more.
            Exception: Whatever else ended an episode, of the judge for instance.
        """
        self._cut()
        if self._failure is None:
            try:
                self._wait(timeout_s)
            except Exception as error:
                self._failure = error
        if self._failure is not None and not self._ended:
            raise self._failure
        found, self._ended = self._ended, []
        for index, _ in found:
            self._indices.discard(index)
            self._tries.pop(index, None)
        return found

    def use(self, weights: Weights) -> float | None:
        """Samples from these weights, see ``Rollouts.use``.

        Raises:
            EngineError: An actor is lost again and again.
            LearnerLost: There are no such weights any more.
        """
        if not isinstance(weights, RemoteWeights):
            raise TypeError(f"weights are {type(weights).__name__}; allowed: those of a RayLearner")
        return self._fleet.use(weights)

    def sleep(self) -> None:
        """Frees memory, see ``Rollouts.sleep``."""
        self._fleet.sleep()

    def close(self) -> None:
        """Drops the episodes that have not ended."""
        self._fleet.remove(self)
        for member in self._work:
            with suppress(Exception):
                member.actor.forget.remote(self._kind)

    def take_back(self, member: Member) -> int:
        """Puts the episodes of a lost actor first in line; see ``Work``."""
        work = self._work.pop(member, None)
        if work is None:
            return 0
        self._gone = RolloutTiming(
            generate_s=self._gone.generate_s + work.timing.generate_s,
            under_way_s=self._gone.under_way_s + work.timing.under_way_s,
        )
        again, alone = [], []
        for index, request in work.given.items():
            tries = self._tries[index] = self._tries.get(index, 0) + 1
            if tries == TRIES:
                self._ended.append((index, _lost_rollout(request)))
            elif self._is_last_try(index):  # who is at fault shows where each is alone
                alone.append([(index, request)])
            else:
                again.append((index, request))
        self._chunks.extendleft(reversed([*alone, *self._in_chunks(again)]))
        return len(work.given)

    def _wait(self, timeout_s: float) -> None:
        """Gives out episodes until one has ended."""
        until = time.monotonic() + timeout_s
        while True:
            self._give_out(self._fleet.able())
            left = until - time.monotonic()
            self._collect(min(max(0.0, left), _LOOK_S))
            if self._ended or left <= 0:
                self._give_out(self._fleet.able())
                return

    def _cut(self) -> None:
        """Cuts what is new into chunks that sample together."""
        new, self._new = self._new, []
        self._chunks.extend(self._in_chunks(new))

    def _in_chunks(self, items: Sequence[_Item]) -> list[list[_Item]]:
        each = -(-len(items) // len(self._fleet.members))
        size = max(1, min(self._together, each))
        return [list(items[i : i + size]) for i in range(0, len(items), size)]

    def _give_out(self, members: Sequence[Member]) -> None:
        """Gives chunks to the members that have the fewest episodes."""
        for member in members:
            self._work.setdefault(member, _Work())
        new: dict[Member, list[_Item]] = {}
        while self._chunks:
            free = self._free_member(members, self._chunks[0])
            if free is None:
                break
            work = self._work[free]
            if not work.given:
                work.sign = time.monotonic()
            chunk = self._chunks.popleft()
            work.given.update(chunk)
            new.setdefault(free, []).extend(chunk)
        for member, items in new.items():
            words, problems = self._problems.call(items)
            call = member.actor.submit.remote(self._kind, self._settings, words, *problems)
            self._work[member].submitted = call

    def _free_member(self, members: Sequence[Member], chunk: Sequence[_Item]) -> Member | None:
        """Returns who may have a chunk: the one with the fewest episodes, if it has room."""
        free = [one for one in members if not any(map(self._is_last_try, self._work[one].given))]
        if not free:
            return None
        member = min(free, key=lambda one: len(self._work[one].given))
        given = len(self._work[member].given)
        most = 1 if self._is_last_try(chunk[0][0]) else self._most
        return member if not given or given + len(chunk) <= most else None

    def _is_last_try(self, index: int) -> bool:
        return self._tries.get(index, 0) == TRIES - 1

    def _collect(self, timeout_s: float) -> None:
        """Takes in rollouts that have ended, waiting for some; finds out who is lost."""
        wait_s = min(_POLL_S, self._fleet.timeout_s / 4)
        for member, work in self._work.items():
            if work.given and work.poll is None:
                # it begins when the episodes are there
                call = member.actor.finished.remote(self._kind, wait_s, work.submitted)
                work.poll = call, time.monotonic()
        polls = {work.poll[0]: member for member, work in self._work.items() if work.poll}
        waking = self._fleet.waking()
        timeout_s = 0 if self._ended else timeout_s
        if not polls and not waking:
            time.sleep(timeout_s)
        failure: Exception | None = None
        for call in ended([*polls, *waking], timeout_s):
            if call in polls:
                try:
                    self._take_in(polls[call], call)
                except Exception as error:  # another call may bring rollouts
                    failure = failure or error
        if failure is not None:
            raise failure
        self._find_hanging(wait_s)

    def _take_in(self, member: Member, call: Any) -> None:
        work = self._work[member]
        work.poll = None
        try:
            told: Ended = result(call, self._fleet.timeout_s, "bringing rollouts")
        except (Lost, EngineError) as error:
            self._fleet.lose(member, str(error))
            return
        work.timing = told.timing
        work.stage = f"{told.sampling} at the engine, {told.under_way - told.sampling} at the judge"
        if told.rollouts:
            work.sign = time.monotonic()
            self._fleet.did_work(member)
        for index, rollout in told.rollouts:
            del work.given[index]
            self._ended.append((index, _own(rollout)))

    def _find_hanging(self, wait_s: float) -> None:
        now, timeout_s = time.monotonic(), self._fleet.timeout_s
        for member, work in list(self._work.items()):
            silent_s = 0.0 if work.poll is None else now - work.poll[1]
            if silent_s > timeout_s + wait_s or (work.given and now - work.sign > timeout_s):
                if silent_s > 2 * wait_s:
                    why = f"its process did not answer for {silent_s:.0f} s"
                else:
                    where = f", {work.stage}" if work.stage else ""
                    why = f"none of its episodes ended in {timeout_s:g} s{where}"
                self._fleet.lose(member, why)


def _own(rollout: Rollout) -> Rollout:
    """Returns a rollout whose arrays are this process's own: Ray's memory holds the others."""
    found: dict[str, Any] = {one.name: getattr(rollout, one.name) for one in fields(rollout)}
    found |= {n: x.copy() for n, x in found.items() if isinstance(x, np.ndarray)}
    return Rollout(**found)


def _lost_rollout(request: EpisodeRequest) -> Rollout:
    """Returns what stands for an episode that was given up: nothing is learnt from it."""
    problem = request.problem
    return Rollout(
        record=EpisodeRecord(
            problem=problem.name,
            family=problem.family,
            hidden_detail=problem.hidden_detail,
            turns=(),
            stop=StopReason.INFRA_ERROR,
            solved=False,
            final_verdict=None,
        ),
        token_ids=np.zeros(0, np.int32),
        sequence_starts=np.zeros(0, np.int32),
        turn_ids=np.zeros(0, np.int32),
        logprobs=np.zeros(0, np.float32),
        prompt_ends=np.zeros(0, np.int32),
        rewards=np.zeros(0, np.float32),
        policy_versions=np.zeros(0, np.int64),
        seed=request.seed,
    )
