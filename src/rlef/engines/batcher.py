"""Fixed groups of episodes before an engine that samples whole batches.

The prompts of a group are sampled together, once all its episodes that go on have asked. Two groups
take turns in strict order, so that one group's programs are judged while the other one samples. Who
is sampled beside whom never depends on how long a judge takes.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from rlef.engines.types import Completion, Generate, SamplingParams

_GROUPS = 2
SampleBatch = Callable[
    [Sequence[Sequence[int]], SamplingParams, Sequence[int], Callable[[], bool]], list[Completion]
]
"""(prompts, params, seeds, whether nobody waits for them any more) -> the answers."""


@dataclass(slots=True, eq=False)
class _Call:
    prompt: Sequence[int]
    params: SamplingParams
    seed: int
    answer: asyncio.Future[Completion]


@dataclass(slots=True, eq=False)
class _Seat:
    call: _Call | None = None
    """What waits for the group's next batch."""
    left: bool = False


class Batcher:
    """Seats episodes in groups, in the order in which they come. It belongs to one event loop.

    Args:
        sample: Samples a batch.
        size: Episodes of a group.
        thread: Where ``sample`` is called.
    """

    def __init__(self, sample: SampleBatch, size: int, thread: Executor) -> None:
        self._sample = sample
        self._size = size
        self._thread = thread
        self._waiting: deque[_Seat] = deque()
        self._groups: deque[list[_Seat]] = deque()
        """The first one is sampled next."""
        self._batch: asyncio.Task[None] | None = None

    @contextmanager
    def seat(self) -> Iterator[Generate]:
        """Seats an episode until it has no more prompts; its group waits for it so long."""
        seat = _Seat()

        async def generate(prompt: Sequence[int], params: SamplingParams, seed: int) -> Completion:
            loop = asyncio.get_running_loop()
            seat.call = call = _Call(prompt, params, seed, loop.create_future())
            loop.call_soon(self._look)
            try:
                return await call.answer
            except asyncio.CancelledError:
                if (batch := self._batch) is not None:
                    await asyncio.wait([batch])  # it stops soon, and leaves the engine free
                raise

        self._waiting.append(seat)
        try:
            yield generate
        finally:
            seat.left = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Samples the group whose turn it is, unless that waits for one of its episodes."""
        if self._batch is not None:
            return
        while True:
            while len(self._groups) < _GROUPS and self._waiting:
                self._groups.append(self._new_group())
            if not self._groups:
                return
            seats = [seat for seat in self._groups[0] if not seat.left]
            if seats:
                break
            self._groups.popleft()
            if self._waiting:
                self._groups.appendleft(self._new_group())  # and its turn is now
        calls = [seat.call for seat in seats if seat.call is not None]
        if len(calls) == len(seats):
            for seat in seats:
                seat.call = None
            self._batch = asyncio.get_running_loop().create_task(self._run(calls))

    def _new_group(self) -> list[_Seat]:
        return [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]

    async def _run(self, calls: Sequence[_Call]) -> None:
        loop = asyncio.get_running_loop()
        for params in dict.fromkeys(call.params for call in calls):
            alike = [call for call in calls if call.params == params]
            prompts, seeds = [call.prompt for call in alike], [call.seed for call in alike]

            def abandoned(alike: Sequence[_Call] = alike) -> bool:
                return all(call.answer.cancelled() for call in alike)

            try:
                answers = await loop.run_in_executor(
                    self._thread, self._sample, prompts, params, seeds, abandoned
                )
            except Exception as error:
                for call in alike:
                    if not call.answer.done():
                        call.answer.set_exception(error)
            else:
                for call, answer in zip(alike, answers, strict=True):
                    if not call.answer.done():
                        call.answer.set_result(answer)
        self._batch = None
        self._groups.rotate(-1)
        loop.call_soon(self._look)
