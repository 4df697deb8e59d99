"""What runs in the processes of a cluster: an engine with its episodes, a learner.

Each class wraps what does the same work in one process.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from rlef.algorithms import CalibrationBin
from rlef.distributed.judges import where
from rlef.engines import PolicyEngine
from rlef.engines.transfer import Bucket, Dtypes, Inbox, Logprobs, StreamedWeights, buckets
from rlef.environment import ChatFormat
from rlef.learner.service import Learner
from rlef.problems import Problem
from rlef.rollout import EpisodeRequest, EpisodeSettings, LocalRollouts, Rollout, RolloutTiming
from rlef.sandbox import JudgePool, Sandbox

if TYPE_CHECKING:
    from rlef.engines.vllm import VLLMEngine

Items = Sequence[tuple[int, int, int]]
"""Episodes as calls carry them: index, place of the problem among those of the call, seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a rollout actor tells of its episodes.

    Attributes:
        rollouts: that ended, with their indices.
        timing: of the actor while it had episodes of this kind.
        under_way: episodes that go on.
        sampling: of these, how many the engine has.
    """

    rollouts: list[tuple[int, Rollout]]
    timing: RolloutTiming
    under_way: int
    sampling: int


@dataclass(slots=True)
class _Kind:
    """Episodes of a kind.

    An engine's time is that of its whole life, and other kinds have it in turn: what it works
    while none of these episodes is under way is not theirs.

    Attributes:
        rollouts: runs them.
        under_way: how many the driver has not been told of.
        busy_s: of the engine, when it was last looked at.
        generate_s: of that, what fell to these episodes.
    """

    rollouts: LocalRollouts
    under_way: int = 0
    busy_s: float = 0.0
    generate_s: float = 0.0

    def look(self, busy_s: float) -> None:
        """Counts the engine's time since the last look; for before ``under_way`` changes."""
        if self.under_way:
            self.generate_s += busy_s - self.busy_s
        self.busy_s = busy_s


class RolloutActor:
    """An engine and its episodes: ``LocalRollouts`` for each kind of them.

    Calls come in several threads: one may wait for rollouts while others bring work or weights.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inboxes: dict[int, Inbox] = {}
        self._kinds: dict[int, _Kind] = {}
        self._forgotten: set[int] = set()

    def where(self) -> tuple[str, int]:
        """Returns the machine's address and the process's number."""
        return where()

    def open(
        self,
        open_engine: Callable[[], tuple[PolicyEngine, ChatFormat]],
        open_judges: Callable[[], JudgePool],
    ) -> None:
        """Makes engine and judge.

        Raises:
            ModelError, ValueError: The engine cannot be made.
        """
        self._engine, self._chat = open_engine()
        self._judges = open_judges()

    def submit(
        self, kind: int, settings: EpisodeSettings, items: Items, *problems: Problem
    ) -> None:
        """Begins episodes of a kind, which has the same settings in each call."""
        with self._lock:
            if kind in self._forgotten:
                return
            own = self._kinds.get(kind)
            if own is None:
                own = _Kind(LocalRollouts(self._engine, self._chat, self._judges, settings))
                self._kinds[kind] = own
            own.look(self._engine.busy_s)
            own.under_way += len(items)
            for index, place, seed in items:
                own.rollouts.submit(index, EpisodeRequest(problem=problems[place], seed=seed))
            own.rollouts.begin()

    def finished(self, kind: int, timeout_s: float, _submitted: None) -> Ended:
        """Waits for rollouts of a kind, once they are submitted; see ``Rollouts.finished``.

        A call that waits for others may come after ``forget``, which waits for none.
        """
        with self._lock:
            own = self._kinds.get(kind)
        if own is None:
            nothing = RolloutTiming(generate_s=0, under_way_s=0)
            return Ended(rollouts=[], timing=nothing, under_way=0, sampling=0)
        found = own.rollouts.finished(timeout_s)
        with self._lock:
            own.look(self._engine.busy_s)
            own.under_way -= len(found)
            return Ended(
                rollouts=found,
                timing=replace(own.rollouts.timing, generate_s=own.generate_s),
                under_way=own.under_way,
                sampling=own.rollouts.sampling,
            )

    def forget(self, kind: int) -> None:
        """Drops a kind with its episodes under way; what comes for it later is nothing."""
        with self._lock:
            self._forgotten.add(kind)
            own = self._kinds.pop(kind, None)
        if own is not None:
            own.rollouts.close()

    def use(
        self,
        transfer: int,
        version: int,
        logprobs: Logprobs,
        timeout_s: float,
    ) -> float | None:
        """Samples from weights that arrive by ``take``, see ``PolicyEngine.load_weights``."""
        inbox = self._inbox(transfer, version, timeout_s)
        try:
            return self._engine.load_weights(StreamedWeights(version, inbox, logprobs))
        finally:
            inbox.close()

    def take(
        self, transfer: int, version: int, timeout_s: float, bucket: Bucket | Exception
    ) -> None:
        """Brings a part of the weights; returns when the engine reads it, or soon will."""
        self._inbox(transfer, version, timeout_s).put(bucket)

    def _inbox(self, transfer: int, version: int, timeout_s: float) -> Inbox:
        with self._lock:
            for old in [key for key in self._inboxes if key < transfer]:
                del self._inboxes[old]
            return self._inboxes.setdefault(transfer, Inbox(version, timeout_s))

    def held_dtypes(self) -> Dtypes:
        """Returns what its engine rounds weights to, see ``PolicyEngine.held_dtypes``."""
        return self._engine.held_dtypes()

    def transfer(self, phase: str, words: Mapping[str, Any]) -> None:
        """Does a phase of vLLM's, see ``VLLMEngine.transfer``."""
        cast("VLLMEngine", self._engine).transfer(phase, words)

    def compare(self, version: int, logprobs: Logprobs) -> float:
        """Compares weights that came so with the learner's, see ``VLLMEngine.compare``."""
        weights = StreamedWeights(version, (), logprobs)
        return cast("VLLMEngine", self._engine).compare(weights)

    def sleep(self) -> None:
        """Frees memory, see ``PolicyEngine.sleep``."""
        self._engine.sleep()

    def close(self) -> None:
        """Ends engine and judge."""
        for kind in list(self._kinds):
            self.forget(kind)
        self._engine.close()
        if isinstance(self._judges, Sandbox):
            self._judges.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerStatus:
    """What the driver keeps of a learner; see ``Learner``."""

    version: int
    policy_moved: bool
    calibration: tuple[CalibrationBin, ...]


class LearnerActor:
    """A learner, or one rank of it."""

    _learner: Learner
    _sender: Any = None

    def where(self) -> tuple[str, int]:
        """Returns the machine's address and the process's number."""
        return where()

    def free_port(self) -> int:
        """Returns a port of this machine that nothing listens on."""
        with socket.socket() as one:
            one.bind(("", 0))
            return int(one.getsockname()[1])

    def open(self, make: Callable[[], tuple[Learner, int]]) -> tuple[LearnerStatus, int, list[str]]:
        """Makes the learner.

        Returns:
            Its state, the parameters of its policy, and its notices.

        Raises:
            ModelError, ValueError: It cannot be made.
        """
        self._learner, parameters = make()
        return self._state(), parameters, self._learner.notices()

    def call(self, method: str, *words: Any, **more: Any) -> tuple[Any, LearnerStatus]:
        """Calls a method of the learner; returns its result and the state after it."""
        found = getattr(self._learner, method)(*words, **more)
        return found, self._state()

    def ask(self, method: str, *words: Any) -> Any:
        """Calls a method of its weights."""
        return getattr(self._learner.weights(), method)(*words)

    def buckets(self, checkpoint_names: bool, dtypes: Dtypes) -> Iterator[Bucket]:
        """Yields the weights in buckets, see ``transfer.buckets``."""
        weights = self._learner.weights()
        yield from buckets(weights, checkpoint_names=checkpoint_names, dtypes=dtypes)

    def follow_buckets(self, checkpoint_names: bool) -> None:
        """Does what the first rank's ``buckets`` needs of the others."""
        weights = self._learner.weights()
        for _ in weights.tensors() if checkpoint_names else weights.merged():
            pass

    def open_sender(self, kind: Any, call: Any, group: Mapping[str, Any]) -> None:
        """Meets the engines, to send them weights by vLLM's own backend; see ``vllm_native``."""
        from rlef.engines.vllm_native import EnginesClient, Group, Source, open_sender

        if self._sender is not None:
            self._sender.shutdown()
        members = Group(**group)
        self._client = EnginesClient(call, members)
        source = Source(lambda: self._learner.weights())
        self._sender = open_sender(kind, members, source, self._client)

    def send(self) -> None:
        """Sends the weights of now to all engines."""
        self._client.version = self._learner.version
        self._sender.send_weights()

    def _state(self) -> LearnerStatus:
        learner = self._learner
        return LearnerStatus(
            version=learner.version,
            policy_moved=learner.policy_moved,
            calibration=learner.calibration,
        )
