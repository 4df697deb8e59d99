"""A learner in other processes: ``Learner`` elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import ray

from rlef.algorithms import CalibrationBin
from rlef.distributed.actors import LearnerStatus
from rlef.distributed.calls import Hangs, Lost, ended, result
from rlef.distributed.weights import RemoteWeights, ask_logprobs
from rlef.engines import EngineError
from rlef.engines.transfer import Dtypes
from rlef.learner.scores import RolloutScores
from rlef.learner.service import Learner, LearnerLost, Metrics
from rlef.rollout import RolloutBatch
from rlef.rollout.teacher import TeacherBatch

LOSSES = 3
"""Times in a row, without an update in between, that the learner is made anew."""
_GRACE_S = 10.0
"""For the other ranks, once one has raised something."""

_STAGES = {
    "update": "the update",
    "save": "writing a checkpoint",
    "saved": "writing a checkpoint",
    "restore": "reading a checkpoint",
    "save_policy": "writing the policy",
    "restore_policy": "reading the policy",
}
"""How a user hears of what hangs."""

Make = Callable[[], tuple[Learner, int]]
"""Makes a learner, in its process; also tells the parameters of its policy."""


class RayLearner:
    """A learner on one actor or several ranks: a ``Learner``.

    When a rank is lost or hangs, all are made anew, as they were when the run began: whoever
    catches ``LearnerLost`` restores the last checkpoint.

    Args:
        make_actor: Makes the actor of a rank.
        make: Makes the learner of a rank, of (rank, ranks, address of the first one).
        ranks: How many.
        timeout_s: A call that takes longer is a hang.
        say: Hears of what is lost.

    Attributes:
        parameters: of the policy, without adapters.
    """

    def __init__(
        self,
        make_actor: Callable[[int], Any],
        make: Callable[[int, int, str], Make],
        ranks: int,
        *,
        timeout_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._engines: list[Any] = []
        """Those that the ranks have met, to send weights by a backend of vLLM's."""
        self._make_actor, self._make, self._ranks = make_actor, make, ranks
        self._timeout_s = timeout_s
        self._say = say
        self._losses = 0
        self._lock = threading.Lock()
        self._broken: str | None = None
        """Why the learner is lost, where that has not been told yet."""
        self._actors: list[Any] = []
        self._opening: list[Any] = []
        self._notices: list[str] = []
        self._state: LearnerStatus
        self.parameters = 0
        with _starting():
            self._begin()

    def wait_until_ready(self) -> None:
        """Waits until all ranks have their models.

        Raises:
            ModelError, ValueError: The learner cannot be made.
            EngineError: A rank is lost.
        """
        with _starting():
            self._note_opening()

    def _note_opening(self) -> None:
        found = self._wait(self._opening, "making the learner")
        self._state, self.parameters, self._notices = found[0]

    @property
    def version(self) -> int:
        """See ``Learner``."""
        return self._state.version

    @property
    def policy_moved(self) -> bool:
        """See ``Learner``."""
        return self._state.policy_moved

    @property
    def calibration(self) -> tuple[CalibrationBin, ...]:
        """See ``Learner``."""
        return self._state.calibration

    @property
    def at_rest(self) -> bool:
        """Whether its weights are those of ``version`` and stay so for now."""
        return self._broken is None and not self._lock.locked()

    @contextmanager
    def borrowed(self, version: int) -> Iterator[bool]:
        """Keeps its weights as they are, if they are of a version and it does not learn now."""
        free = self._lock.acquire(blocking=False)
        try:
            yield free and self._broken is None and self.version == version
        finally:
            if free:
                self._lock.release()

    def update(
        self,
        batch: RolloutBatch,
        steps: int,
        lessons: TeacherBatch | None = None,
        replay: RolloutBatch | None = None,
    ) -> Metrics:
        """Learns from a batch, see ``Learner``.

        Raises:
            LearnerLost: A rank is lost.
        """
        more = (None if part is None else ray.put(part) for part in (lessons, replay))
        given = [ray.put(batch), steps, *more]
        metrics: Metrics = self._call("update", *given)
        self._losses = 0
        return metrics

    def scores(self) -> tuple[RolloutScores, ...]:
        """See ``Learner``; the first rank has them."""
        found: tuple[RolloutScores, ...] = self._call("scores")
        return found

    def pass_over(self, steps: int) -> None:
        """See ``Learner``."""
        self._call("pass_over", steps)

    def weights(self) -> RemoteWeights:
        """Returns the policy as it is, to sample from."""
        return RemoteWeights(self, self.version)

    def save(self, folder: Path) -> None:
        """See ``Learner``; the folder must be there on the ranks' machines too."""
        self._call("save", folder.absolute())

    def saved(self, *, wait: bool) -> bool:
        """See ``Learner``: all ranks have written their part."""
        return all(self._call_all("saved", wait=wait))

    def restore(self, folder: Path) -> None:
        """See ``Learner``."""
        self._call("restore", folder.absolute())

    def save_policy(self, folder: Path) -> None:
        """See ``Learner``."""
        self._call("save_policy", folder.absolute())

    def restore_policy(self, folder: Path) -> None:
        """See ``Learner``."""
        self._call("restore_policy", folder.absolute())

    def notices(self) -> list[str]:
        """See ``Learner``."""
        return self._notices

    def close(self) -> None:
        """Ends all ranks."""
        for actor in self._actors:
            with suppress(Exception):
                ray.kill(actor)

    def logprobs(self, rows: Sequence[Sequence[int]], first: int) -> Any:
        """See ``Weights``."""
        calls = [actor.ask.remote("logprobs", rows, first) for actor in self._actors]
        return self._wait(calls, "scoring tokens")[0]

    def remote_logprobs(self) -> Callable[[Sequence[Sequence[int]], int], Any]:
        """Returns ``logprobs`` for another process."""
        return partial(ask_logprobs, self._actors, self._timeout_s)

    def buckets(self, *, checkpoint_names: bool, dtypes: Dtypes) -> Iterator[Any]:
        """Yields references to buckets of the weights, each made when it is asked for.

        Args:
            checkpoint_names: See ``transfer.buckets``.
            dtypes: Likewise.

        Raises:
            LearnerLost: A rank is lost; call ``mend``. Whatever changes the learner does it too.
        """
        how = {"num_returns": "streaming", "_generator_backpressure_num_objects": 1}
        first, *others = self._actors
        stream = first.buckets.options(**how).remote(checkpoint_names, dtypes)
        rest = [actor.follow_buckets.remote(checkpoint_names) for actor in others]
        try:
            with suppress(StopIteration):
                while True:
                    if not ended([stream], self._timeout_s):
                        raise Hangs(f"a bucket of weights took more than {self._timeout_s:g} s")
                    found = next(stream)
                    if ended([stream.completed()], 0):  # the last one, or the rank is lost
                        result(stream.completed(), self._timeout_s, "handing on weights")
                    yield found
            for call in (stream.completed(), *rest):
                result(call, self._timeout_s, "handing on weights")
        except Lost as lost:
            self._break(str(lost))

    def send(self, kind: str, engines: Sequence[Any], workers: int) -> None:
        """Sends the weights to rollout actors by a backend of vLLM's.

        Args:
            kind: ``nccl`` or ``ipc``, see ``vllm_native.open_sender``.
            engines: The actors.
            workers: GPUs of each.

        Raises:
            LearnerLost: A rank is lost; call ``mend``.
            EngineError: An engine cannot take them.
        """
        if list(engines) != self._engines:
            first = self._actors[0]
            calls = [first.where.remote(), first.free_port.remote()]
            (address, _), port = self._wait(calls, "finding a port")
            group = {"address": address, "port": port, "engines": len(engines), "workers": workers}
            call = partial(_do_phase, list(engines), self._timeout_s)
            opening = [
                actor.open_sender.remote(kind, call, {"rank": rank, **group})
                for rank, actor in enumerate(self._actors)
            ]
            self._wait(opening, "meeting the engines")
            self._engines = list(engines)
        self._wait([actor.send.remote() for actor in self._actors], "sending weights")

    def mend(self) -> None:
        """Makes the learner anew, if it is lost.

        Raises:
            LearnerLost: It was.
        """
        if self._broken is not None:
            self._lose(self._broken)

    def _begin(self) -> None:
        self._engines = []
        self._state = LearnerStatus(version=0, policy_moved=False, calibration=())
        self._actors = [self._make_actor(rank) for rank in range(self._ranks)]
        address = ""
        if self._ranks > 1:
            first = self._actors[0]
            calls = [first.where.remote(), first.free_port.remote()]
            (machine, _), port = self._wait(calls, "starting a process")
            address = f"{machine}:{port}"
        self._opening = [
            actor.open.remote(self._make(rank, self._ranks, address))
            for rank, actor in enumerate(self._actors)
        ]

    def _call(self, method: str, *words: Any) -> Any:
        """Calls a method on all ranks; returns what the first says."""
        return self._call_all(method, *words)[0]

    def _call_all(self, method: str, *words: Any, **more: Any) -> list[Any]:
        with self._lock:
            self.mend()
            calls = [actor.call.remote(method, *words, **more) for actor in self._actors]
            try:
                found = self._wait(calls, _STAGES.get(method, method))
            except LearnerLost:
                self.mend()
                raise
            self._state = found[0][1]
            return [one for one, _ in found]

    def _wait(self, calls: Sequence[Any], what: str) -> list[Any]:
        """Returns what all ranks say.

        Raises:
            LearnerLost: One is lost; the others may have raised all sorts of things for it.
            Exception: What one raised, where none is lost.
        """
        found: dict[Any, Any] = {}
        problem: Exception | None = None
        left, until = list(calls), time.monotonic() + self._timeout_s
        while left:  # whoever is lost first tells: the others may wait for it for long
            done = ended(left, max(0.0, until - time.monotonic()))
            if not done:
                break
            for call in done:
                left.remove(call)
                try:
                    found[call] = result(call, self._timeout_s, what)
                except Lost as lost:
                    self._break(str(lost))
                except Exception as error:
                    problem = problem or error
                    until = min(until, time.monotonic() + _GRACE_S)
        if problem is not None:
            raise problem
        if left:
            self._break(f"{what} took more than {self._timeout_s:g} s (cluster.timeout_s)")
        return [found[call] for call in calls]

    def _break(self, why: str) -> NoReturn:
        """Notes that the learner is lost; whoever may wait for another one calls ``mend``."""
        self._broken = why
        raise LearnerLost(why) from None

    def _lose(self, why: str) -> NoReturn:
        """Makes all ranks anew, and says so.

        Raises:
            LearnerLost: Always.
            EngineError: It is not the first time.
        """
        self.close()
        self._broken = None
        self._losses += 1
        if self._losses > LOSSES:
            raise EngineError(
                f"the learner was lost {self._losses} times without an update in between, the last "
                f"time because {why}"
            )
        self._say(f"the learner is lost ({why}): it is made anew and goes on from its checkpoint")
        self._begin()
        self._note_opening()
        raise LearnerLost(why)


@contextmanager
def _starting() -> Iterator[None]:
    """Raises EngineError where a learner is lost that has never been there."""
    try:
        yield
    except LearnerLost as lost:
        raise EngineError(f"the learner did not start: {lost}") from None


def _do_phase(
    engines: Sequence[Any], timeout_s: float, phase: str, words: Sequence[Mapping[str, Any]]
) -> None:
    calls = [one.transfer.remote(phase, own) for one, own in zip(engines, words, strict=True)]
    result(calls, timeout_s, phase)
