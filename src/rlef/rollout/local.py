"""Episodes in this process: one event loop in a thread of its own."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self

from rlef.engines import ChatCompletion, Completion, Engine, PolicyEngine, SamplingParams, Weights
from rlef.engines.busy import BusyClock
from rlef.environment import ChatFormat
from rlef.rollout.episode import EpisodeRequest, EpisodeSettings, run_episode
from rlef.rollout.service import RolloutTiming, note_under_way
from rlef.rollout.types import Rollout
from rlef.sandbox import JudgeJob, JudgePool, JudgeReport

_PER_SLOT = 4
"""Episodes under way for each prompt that the engine samples at once: the others are being judged,
or stand in line so that the engine never waits for one."""


class LocalRollouts:
    """Runs episodes with an engine and a sandbox: ``Rollouts`` in this process.

    Which episodes sample together follows from the order of ``submit`` alone, if all are submitted
    before ``finished`` is called.

    Args:
        engine: Samples answers; not closed here, and others may use it as well.
        chat: The chat format of the engine's tokenizer; ``None``: it takes messages.
        sandbox: Judges programs.
        settings: Of the episodes.
    """

    def __init__(
        self,
        engine: Engine,
        chat: ChatFormat | None,
        sandbox: JudgePool,
        settings: EpisodeSettings,
    ) -> None:
        self._engine = engine
        self._chat = chat
        self._settings = settings
        self._most = _PER_SLOT * engine.concurrency
        self._judge = _Judge(sandbox, self._most)
        self._under_way = BusyClock()
        # The caller's:
        self._submitted: deque[tuple[int, EpisodeRequest]] = deque()
        self._indices: set[int] = set()
        self._failure: Exception | None = None
        # From the loop to the caller:
        self._ended: queue.SimpleQueue[tuple[int, Rollout] | Exception] = queue.SimpleQueue()
        # The loop's:
        self._todo: deque[tuple[int, EpisodeRequest]] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._at_engine: set[asyncio.Task[Any]] = set()
        self._error: Exception | None = None
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._on_error)
        self._thread = threading.Thread(target=self._run_loop, name="rlef-rollouts", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def timing(self) -> RolloutTiming:
        """Since the beginning; the engine's time is that of its whole life."""
        return RolloutTiming(generate_s=self._engine.busy_s, under_way_s=self._under_way.seconds)

    @property
    def under_way(self) -> int:
        """Episodes that have been submitted and not returned."""
        return len(self._indices)

    @property
    def sampling(self) -> int:
        """Of these, how many have asked the engine; the others are judged, or stand in line."""
        return len(self._at_engine)

    def submit(self, index: int, request: EpisodeRequest) -> None:
        """Adds an episode, see ``Rollouts.submit``.

        Raises:
            ValueError: One with this index is under way.
        """
        note_under_way(index, self._indices)
        self._submitted.append((index, request))

    def begin(self) -> None:
        """Begins what has been submitted; ``finished`` does it too."""
        new = []
        with suppress(IndexError):
            while True:  # one by one: another thread may submit meanwhile
                new.append(self._submitted.popleft())
        if new:
            self._loop.call_soon_threadsafe(self._begin, new)

    def finished(self, timeout_s: float) -> list[tuple[int, Rollout]]:
        """Waits for rollouts, see ``Rollouts.finished``.

        Raises:
            EngineError: The engine cannot go on.
            Exception: Whatever else ended an episode, of the judge for instance.
        """
        self.begin()
        found: list[tuple[int, Rollout]] = []
        try:
            while self._failure is None:
                ended = self._ended.get(timeout=0 if found else timeout_s)
                if isinstance(ended, Exception):
                    self._failure = ended
                else:
                    found.append(ended)
                    self._indices.remove(ended[0])
        except queue.Empty:
            pass
        if self._failure is not None and not found:
            raise self._failure
        return found

    def use(self, weights: Weights) -> float | None:
        """Samples from these weights, see ``Rollouts.use``.

        Raises:
            EngineError: See ``PolicyEngine.load_weights``.
            ValueError: The engine's weights cannot be replaced, or these do not fit.
        """
        if not isinstance(self._engine, PolicyEngine):
            raise ValueError(f"{type(self._engine).__name__} takes no weights; allowed: hf, vllm")
        return self._engine.load_weights(weights)

    def sleep(self) -> None:
        """Frees memory, see ``Rollouts.sleep``."""
        if isinstance(self._engine, PolicyEngine):
            self._engine.sleep()

    def close(self) -> None:
        """Drops the episodes that have not ended, and waits until the engine is free."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._wait_for_the_end())
        self._judge.close()

    async def _wait_for_the_end(self) -> None:
        await self._stop.wait()
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)

    def _begin(self, new: Sequence[tuple[int, EpisodeRequest]]) -> None:
        self._todo.extend(new)
        for _ in range(min(len(self._todo), self._most - len(self._runners))):
            runner = self._loop.create_task(self._run())
            self._runners.add(runner)
            runner.add_done_callback(self._end)

    async def _run(self) -> None:
        """Runs one episode after the other, with nothing between that could change their order."""
        while self._todo and self._error is None:
            index, request = self._todo.popleft()
            with self._under_way, self._engine.seat() as generate:

                async def sample(
                    prompt: Any, params: SamplingParams, seed: int, generate: Any = generate
                ) -> Completion | ChatCompletion:
                    if self._error is not None:
                        raise self._error
                    task = asyncio.current_task()
                    assert task is not None  # a coroutine runs in one
                    self._at_engine.add(task)
                    try:
                        answer: Completion | ChatCompletion = await generate(prompt, params, seed)
                        return answer
                    finally:
                        self._at_engine.discard(task)

                rollout = await run_episode(
                    request, self._chat, sample, self._judge, self._settings
                )
            self._ended.put((index, rollout))

    def _end(self, runner: asyncio.Task[None]) -> None:
        self._runners.discard(runner)
        if not runner.cancelled() and isinstance(error := runner.exception(), Exception):
            self._fail(error)
        elif self._error is not None:
            self._fail(self._error)

    def _fail(self, error: Exception) -> None:
        """Lets episodes go on until they need another answer; begins no more; tells in the end."""
        if self._error is None:
            self._error = error
            for task in self._at_engine:
                task.cancel()
        if not self._runners:
            self._ended.put(self._error)

    def _on_error(self, _: object, context: dict[str, Any]) -> None:
        """Hears of what fails in the loop outside of any episode."""
        error = context.get("exception")
        self._fail(error if isinstance(error, Exception) else RuntimeError(context["message"]))


class _Judge:
    """Judges programs in other threads; those that come together in one call."""

    def __init__(self, sandbox: JudgePool, threads: int) -> None:
        self._sandbox = sandbox
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rlef-judging")
        self._jobs: list[JudgeJob] = []
        self._call: asyncio.Task[list[JudgeReport]] | None = None

    async def __call__(self, job: JudgeJob) -> JudgeReport:
        if self._call is None:
            self._jobs = []
            self._call = asyncio.get_running_loop().create_task(self._judge(self._jobs))
        place = len(self._jobs)
        self._jobs.append(job)
        reports = await asyncio.shield(self._call)
        return reports[place]

    async def _judge(self, jobs: list[JudgeJob]) -> list[JudgeReport]:
        self._call = None  # it begins once all that could run have asked
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._sandbox.judge_many, jobs)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
