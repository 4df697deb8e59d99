"""The weights of a learner in other processes: ``Weights`` elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from numpy.typing import NDArray
from torch import Tensor

from rlef.distributed.calls import result
from rlef.engines.transfer import Dtypes, StreamedWeights

if TYPE_CHECKING:
    from rlef.distributed.learner import RayLearner


class RemoteWeights:
    """The policy of a learner elsewhere: ``Weights`` that are read as long as it does not learn.

    Args:
        learner: Whose.
        version: See ``Weights``.
    """

    model = None

    def __init__(self, learner: "RayLearner", version: int) -> None:
        self.version = version
        self._learner = learner

    @property
    def at_rest(self) -> bool:
        """Whether they can be read now, and are still those of ``version``."""
        return self._learner.at_rest and self._learner.version == self.version

    def mend(self) -> None:
        """Makes their learner anew, see ``RayLearner.mend``."""
        self._learner.mend()

    def borrowed(self) -> AbstractContextManager[bool]:
        """Within it they stay as they are, if it says so: see ``RayLearner.borrowed``."""
        return self._learner.borrowed(self.version)

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """See ``Weights``."""
        return self._here(checkpoint_names=False).merged()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """See ``Weights``."""
        return self._here(checkpoint_names=True).tensors()

    def logprobs(self, rows: Sequence[Sequence[int]], first: int) -> NDArray[np.float64]:
        """See ``Weights``."""
        found: NDArray[np.float64] = self._learner.logprobs(rows, first)
        return found

    def remote_logprobs(self) -> Callable[[Sequence[Sequence[int]], int], Any]:
        """Returns ``logprobs`` for another process."""
        return self._learner.remote_logprobs()

    def buckets(self, *, checkpoint_names: bool, dtypes: Dtypes) -> Iterator[Any]:
        """Yields references to buckets, see ``RayLearner.buckets``."""
        return self._learner.buckets(checkpoint_names=checkpoint_names, dtypes=dtypes)

    def send(self, kind: str, engines: Sequence[Any], workers: int) -> None:
        """See ``RayLearner.send``."""
        self._learner.send(kind, engines, workers)

    def _here(self, *, checkpoint_names: bool) -> StreamedWeights:
        whole = self.buckets(checkpoint_names=checkpoint_names, dtypes={})
        return StreamedWeights(self.version, map(ray.get, whole), self.logprobs)


def ask_logprobs(
    actors: Sequence[Any], timeout_s: float, rows: Sequence[Sequence[int]], first: int
) -> Any:
    """Calls ``Weights.logprobs`` on all ranks; returns what the first says."""
    calls = [actor.ask.remote("logprobs", rows, first) for actor in actors]
    return result(calls, timeout_s, "scoring tokens")[0]
