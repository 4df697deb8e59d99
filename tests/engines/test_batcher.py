"""Who is sampled beside whom, whatever the judge does."""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlef.engines.batcher import Batcher
from rlef.engines.types import Completion, FinishReason, SamplingParams

PARAMS = SamplingParams(max_new_tokens=4)


class Recorder:
    """Remembers the seeds of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        seeds: Sequence[int],
        abandoned: Callable[[], bool],
    ) -> list[Completion]:
        self.batches.append(list(seeds))
        return [
            Completion(token_ids=(1,), logprobs=(0.0,), finish=FinishReason.STOP) for _ in seeds
        ]


async def episodes(batcher: Batcher, turns: Sequence[int], delays: random.Random) -> None:
    """Episode i takes ``turns[i]`` turns, each followed by a judge of some speed."""

    async def episode(number: int) -> None:
        with batcher.seat() as generate:
            for turn in range(turns[number]):
                await generate([1], PARAMS, 100 * number + turn)
                for _ in range(delays.choice([0, 0, 1, 5])):
                    await asyncio.sleep(delays.choice([0.0, 0.001, 0.003]))

    await asyncio.gather(*(episode(number) for number in range(len(turns))))


def batches_of(size: int, turns: Sequence[int], seed: int) -> list[list[int]]:
    recorder = Recorder()
    with ThreadPoolExecutor(1) as thread:
        asyncio.run(episodes(Batcher(recorder.sample, size, thread), turns, random.Random(seed)))
    return recorder.batches


def by_hand(size: int, turns: Sequence[int]) -> list[list[int]]:
    """Two groups in turn; the next group begins where one has ended."""
    places = list(range(len(turns)))
    waiting = [places[i : i + size] for i in range(0, len(places), size)]
    queue = [(waiting.pop(0), 0) for _ in range(min(2, len(waiting)))]
    found = []
    while queue:
        group, turn = queue.pop(0)
        going = [number for number in group if turns[number] > turn]
        if going:
            found.append([100 * number + turn for number in going])
            queue.append((group, turn + 1))
        elif waiting:
            queue.insert(0, (waiting.pop(0), 0))
    return found


@pytest.mark.parametrize("size", [1, 3, 5, 40])
def test_batches_do_not_depend_on_the_judge(size: int) -> None:
    draws = random.Random(size)
    turns = [draws.choice([0, 1, 1, 2, 3, 3]) for _ in range(23)]
    expected = by_hand(size, turns)
    for seed in range(6):
        assert batches_of(size, turns, seed) == expected


def test_a_failure_reaches_all_of_a_batch_and_no_other() -> None:
    def fails(
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        seeds: Sequence[int],
        abandoned: Callable[[], bool],
    ) -> list[Completion]:
        if 0 in seeds:
            raise MemoryError("too large")
        return Recorder().sample(prompts, params, seeds, abandoned)

    async def main(thread: ThreadPoolExecutor) -> list[object]:
        batcher = Batcher(fails, 2, thread)

        async def episode(number: int) -> object:
            with batcher.seat() as generate:
                return await generate([1], PARAMS, number)

        return await asyncio.gather(*map(episode, range(4)), return_exceptions=True)

    with ThreadPoolExecutor(1) as thread:
        found = asyncio.run(main(thread))
    assert [type(answer) for answer in found] == [MemoryError] * 2 + [Completion] * 2


def test_prompts_of_other_settings_are_sampled_apart() -> None:
    recorder = Recorder()

    async def main(thread: ThreadPoolExecutor) -> None:
        batcher = Batcher(recorder.sample, 4, thread)

        async def episode(number: int) -> None:
            with batcher.seat() as generate:
                await generate([1], SamplingParams(temperature=number % 2), number)

        await asyncio.gather(*map(episode, range(4)))

    with ThreadPoolExecutor(1) as thread:
        asyncio.run(main(thread))
    assert recorder.batches == [[0, 2], [1, 3]]


def test_a_cancelled_episode_leaves_its_group_free() -> None:
    recorder = Recorder()

    async def main(thread: ThreadPoolExecutor) -> None:
        batcher = Batcher(recorder.sample, 2, thread)

        async def episode(number: int, first_s: float) -> None:
            with batcher.seat() as generate:
                await asyncio.sleep(first_s)
                await generate([1], PARAMS, number)

        one = asyncio.create_task(episode(0, 60))
        other = asyncio.create_task(episode(1, 0))
        await asyncio.sleep(0.02)
        assert recorder.batches == []
        one.cancel()
        await other

    with ThreadPoolExecutor(1) as thread:
        asyncio.run(main(thread))
    assert recorder.batches == [[1]]
