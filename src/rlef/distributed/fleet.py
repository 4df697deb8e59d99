"""The rollout actors of a run: made, given weights, watched, and made anew when they are lost."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import ray

from rlef.distributed.calls import Lost, ended, result
from rlef.distributed.weights import RemoteWeights
from rlef.engines import EngineError
from rlef.engines.transfer import Dtypes, agreed
from rlef.learner.service import LearnerLost

LOSSES = 3
"""Times in a row, without a rollout in between, that an actor is made anew."""
_BUCKETS = 2
"""Under way at once."""
_CLOSE_S = 5.0
"""Longest wait for an actor that is to end."""


@dataclass(eq=False, slots=True)
class Member:
    """A rollout actor.

    Attributes:
        slot: its number, which the one that is made in its place has too.
        actor: Ray's handle.
        born: the call that ends when there is a process.
        opened: the call that ends when it has an engine.
        since: when it began to open; ``None`` while there is no process.
        ready: whether it has an engine.
        has_weights: whether it has the present weights.
        machine: address of its machine.
        holds: see ``PolicyEngine.held_dtypes``; ``None`` until it has had weights.
    """

    slot: int
    actor: Any
    born: Any
    opened: Any
    since: float | None = None
    ready: bool = False
    has_weights: bool = False
    machine: str = ""
    holds: Dtypes | None = None

    @property
    def name(self) -> str:
        """How a user hears of it."""
        return f"rollout actor {self.slot}" + (f" on {self.machine}" if self.machine else "")


class Work(Protocol):
    """Whoever has given episodes to members."""

    def take_back(self, member: Member) -> int:
        """Takes back what a lost member had under way; returns how many episodes."""
        ...


class Fleet:
    """Rollout actors with an engine each.

    Args:
        make: Makes the actor of a slot.
        open_words: What ``RolloutActor.open`` is given.
        count: How many.
        checkpoint_names: Whether their engines want weights so, see ``transfer.buckets``.
        native: (``nccl`` or ``ipc``, GPUs of an engine) where weights do not come in buckets, see
            ``RayLearner.send``.
        timeout_s: A call that takes longer is a hang.
        say: Hears of what is lost.
    """

    def __init__(
        self,
        make: Callable[[int], Any],
        open_words: tuple[Any, ...],
        count: int,
        *,
        checkpoint_names: bool,
        native: tuple[str, int] | None = None,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._native = native
        self._make, self._open_words = make, open_words
        self._checkpoint_names = checkpoint_names
        self.timeout_s = timeout_s
        self._say = say
        self._work: list[Work] = []
        self._weights: RemoteWeights | None = None
        self._transfers = itertools.count()
        self._losses = [0] * count
        self._last_ready = time.monotonic()
        self.members = [self._new(slot) for slot in range(count)]

    def wait_until_ready(self) -> None:
        """Waits for all engines.

        Raises:
            ModelError, ValueError: An engine cannot be made, as its actor says.
            EngineError: An actor is lost before it has an engine.
        """
        for member in self.members:
            try:
                self._note_place(member, result(member.born, self.timeout_s, "starting a process"))
                result(member.opened, self.timeout_s, "making an engine")
            except Lost as lost:
                raise EngineError(f"{member.name} did not start: {lost}") from None
            member.ready = True

    def add(self, work: Work) -> None:
        """Remembers whose episodes a lost member has."""
        self._work.append(work)

    def remove(self, work: Work) -> None:
        """Forgets it."""
        self._work.remove(work)

    def able(self) -> list[Member]:
        """Returns the members that may sample; looks after those that were made anew.

        Raises:
            EngineError: There has been none for too long.
        """
        for member in list(self.members):
            if not member.ready:
                self._look_at_new(member)
            if member.ready and not member.has_weights:
                self._catch_up(member)
        found = [member for member in self.members if member.ready and member.has_weights]
        if found or self._weights is None or not self._weights.at_rest:
            self._last_ready = time.monotonic()
        elif time.monotonic() - self._last_ready > self.timeout_s:
            raise EngineError(
                f"no rollout actor could be started for {self.timeout_s:g} s: the cluster has "
                "no room for one any more; allowed: machines that come back, then go on"
            )
        return found

    def waking(self) -> list[Any]:
        """Returns the calls that end when a member that was made anew gets on."""
        return [m.born if m.since is None else m.opened for m in self.members if not m.ready]

    def did_work(self, member: Member) -> None:
        """Notes that a rollout came of it."""
        self._losses[member.slot] = 0

    def lose(self, member: Member, why: str) -> None:
        """Ends a member, takes its episodes back, and begins to make another one.

        Raises:
            EngineError: It is not the first time.
        """
        if self.members[member.slot] is not member:
            return
        _kill([member])
        count = sum(work.take_back(member) for work in self._work)
        self._losses[member.slot] += 1
        if self._losses[member.slot] > LOSSES:
            raise EngineError(
                f"{member.name} was lost {self._losses[member.slot]} times without a rollout in "
                f"between, the last time because {why}"
            )
        going = f"{count} episodes go to others" if count else "it had no episode under way"
        self._say(f"{member.name} is lost ({why}): {going}; another one is made")
        self.members[member.slot] = self._new(member.slot)

    def use(self, weights: RemoteWeights) -> float | None:
        """Hands weights to all members; returns the largest gap, see ``Rollouts.use``."""
        self._weights = weights
        for member in self.members:
            member.has_weights = False
            if not member.ready:
                self._look_at_new(member)
        try:
            return self._hand([member for member in self.members if member.ready], weights)
        except LearnerLost:
            weights.mend()
            raise

    def sleep(self) -> None:
        """Frees the memory of all engines."""
        calls = {member: member.actor.sleep.remote() for member in self.members if member.ready}
        for member, call in calls.items():
            try:
                result(call, self.timeout_s, "going to sleep")
            except Lost as lost:
                self.lose(member, str(lost))

    def close(self) -> None:
        """Ends all members."""
        calls = [member.actor.close.remote() for member in self.members if member.ready]
        with suppress(Exception):
            ray.wait(calls, num_returns=len(calls), timeout=min(_CLOSE_S, self.timeout_s))
        _kill(self.members)

    def _new(self, slot: int) -> Member:
        actor = self._make(slot)
        born = actor.where.remote()
        return Member(slot, actor, born, actor.open.remote(*self._open_words))

    @staticmethod
    def _note_place(member: Member, where: tuple[str, int]) -> None:
        member.machine = where[0]
        member.since = time.monotonic()

    def _look_at_new(self, member: Member) -> None:
        """Notes how far a member that was made anew has got."""
        try:
            if member.since is None:
                if not ended([member.born], 0):
                    return  # it waits for a machine with room
                self._note_place(member, result(member.born, self.timeout_s, "starting"))
            if ended([member.opened], 0):
                result(member.opened, self.timeout_s, "making an engine")
                member.ready = True
            elif time.monotonic() - (member.since or 0) > self.timeout_s:
                raise Lost(f"making an engine took more than {self.timeout_s:g} s")
        except (Lost, EngineError, ValueError) as error:
            self.lose(member, str(error))

    def _catch_up(self, member: Member) -> None:
        """Gives a member the present weights, if their learner still has them."""
        if self._weights is None:
            return
        with self._weights.borrowed() as still_there, suppress(LearnerLost):
            if still_there:
                self._hand([member], self._weights)

    def _hand(self, members: Sequence[Member], weights: RemoteWeights) -> float | None:
        if self._native is None:
            gaps = self._hand_buckets(members, weights)
        else:
            kind, workers = self._native
            weights.send(kind, [member.actor for member in members], workers)
            words = weights.version, weights.remote_logprobs()
            looks = {member: member.actor.compare.remote(*words) for member in members}
            gaps = self._wait_for(looks, "comparing weights")
        for member in gaps:
            member.has_weights = True
        self._ask_what_they_hold(gaps)
        return max((gap for gap in gaps.values() if gap is not None), default=None)

    def _hand_buckets(
        self, members: Sequence[Member], weights: RemoteWeights
    ) -> dict[Member, float | None]:
        transfer = next(self._transfers)
        words = transfer, weights.version
        wait_s = self.timeout_s
        uses = {
            member: member.actor.use.remote(*words, weights.remote_logprobs(), wait_s)
            for member in members
        }
        takes: deque[dict[Member, Any]] = deque()
        try:
            if members:
                dtypes = agreed([member.holds for member in members])
                names = self._checkpoint_names
                for bucket in weights.buckets(checkpoint_names=names, dtypes=dtypes):
                    there = [member for member in uses if self.members[member.slot] is member]
                    takes.append({m: m.actor.take.remote(*words, wait_s, bucket) for m in there})
                    if len(takes) >= _BUCKETS:
                        self._wait_for(takes.popleft(), "taking weights")
        except LearnerLost as lost:
            error = EngineError(f"there are no more weights: {lost}")
            for member in uses:
                member.actor.take.remote(*words, wait_s, error)
            raise
        return self._wait_for(uses, "loading weights")

    def _ask_what_they_hold(self, members: Iterable[Member]) -> None:
        """Asks those that have their first weights: later ones need not be sent in more bytes."""
        if self._native is None:
            new = [member for member in members if member.holds is None]
            calls = {member: member.actor.held_dtypes.remote() for member in new}
            for member, holds in self._wait_for(calls, "telling what it holds").items():
                member.holds = holds

    def _wait_for(self, calls: dict[Member, Any], what: str) -> dict[Member, Any]:
        found = {}
        until = time.monotonic() + self.timeout_s
        for member, call in calls.items():
            try:
                left = max(0.0, until - time.monotonic())
                found[member] = result(call, left, what)
            except (Lost, EngineError) as error:
                self.lose(member, str(error))
        return found


def _kill(members: Sequence[Member]) -> None:
    """Ends processes, of those that are being started once they are there.

    Ray 2.60 may never give a bundle back whose actor is killed while its process starts (seen in 2
    of some 700 kills), and the next actor of that slot would wait for ever.
    """
    births = [member.born for member in members]
    with suppress(Exception):
        ray.wait(births, num_returns=len(births), timeout=_CLOSE_S, fetch_local=False)
    for member in members:
        with suppress(Exception):
            ray.kill(member.actor)
