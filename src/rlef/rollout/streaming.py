"""The loop for engines that take prompts one by one: sampling and judging side by side.

An episode's next prompt goes to the engine as soon as its program has been judged, so the engine's
batch stays full while some programs run long.
"""

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from rlef.engines import EngineError, SamplingParams, StreamingEngine
from rlef.rollout.running import RolloutTiming, Running

_COLLECT_S = 0.05
"""So often a program that has been judged meanwhile is looked at."""


class EpisodeStream:
    """Runs episodes; at most ``engine.concurrency`` are between their start and their end.

    Args:
        engine: Samples; nobody else gives it prompts meanwhile.
        episodes: Those to run, with their keys, begun when it is their turn.
        sampling: How answers are drawn.
        seed_of: Seed of an episode's next answer.
        max_context: Tokens of a whole conversation; ``None``: the engine says when it is too long.
        judge: Judges an episode's program; called from several threads.
        timing: Is added to.
    """

    def __init__(
        self,
        engine: StreamingEngine,
        episodes: Iterator[tuple[int, Running]],
        *,
        sampling: SamplingParams,
        seed_of: Callable[[Running], int],
        max_context: int | None,
        judge: Callable[[Running], None],
        timing: RolloutTiming,
    ) -> None:
        self._engine = engine
        self._episodes = episodes
        self._params = sampling
        self._seed_of = seed_of
        self._max_context = max_context
        self._judge = judge
        self._timing = timing
        self._sampling: dict[int, Running] = {}
        self._judging: dict[Future[None], tuple[int, Running]] = {}
        self._ended: list[tuple[int, Running]] = []

    def run(self) -> Generator[list[tuple[int, Running]]]:
        """Yields the episodes that have ended, with their keys, as they end.

        Raises:
            EngineError: The engine cannot go on; what was being judged then has been finished and
                yielded before.
        """
        failure: EngineError | None = None
        pool = ThreadPoolExecutor(self._engine.concurrency, thread_name_prefix="rlef-judging")
        try:
            while True:
                try:
                    if failure is None:
                        self._begin()
                        self._collect(pool)
                except EngineError as error:
                    failure = error
                    self._sampling.clear()
                self._observe(blocking=not self._sampling, go_on=failure is None)
                if self._ended:
                    yield self._ended
                    self._ended = []
                elif not self._sampling and not self._judging:
                    break
            if failure is not None:
                raise failure
        finally:
            self._engine.cancel()
            pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        while len(self._sampling) + len(self._judging) < self._engine.concurrency:
            new = next(self._episodes, None)
            if new is None:
                return
            self._advance(*new)

    def _advance(self, key: int, running: Running) -> None:
        """Sends an episode's next prompt to the engine, unless it has ended."""
        if running.episode.done or not running.extend(self._max_context):
            self._ended.append((key, running))
            return
        self._engine.submit(key, running.prompt, self._params, self._seed_of(running))
        self._sampling[key] = running

    def _collect(self, pool: ThreadPoolExecutor) -> None:
        """Takes answers from the engine and sends their programs to the judge."""
        if not self._sampling:
            return
        started = time.perf_counter()
        answers = self._engine.collect(_COLLECT_S)
        self._timing.generate_s += time.perf_counter() - started
        for key, completion in answers:
            running = self._sampling.pop(key)
            self._timing.sampled_tokens += running.answer(completion)
            if running.program is None:
                self._advance(key, running)
            else:
                self._judging[pool.submit(self._judge, running)] = (key, running)

    def _observe(self, *, blocking: bool, go_on: bool) -> None:
        """Moves on the episodes whose programs have been judged.

        Args:
            blocking: Wait for one if there is none.
            go_on: False: those that have not ended are dropped.
        """
        if blocking and self._judging:
            started = time.perf_counter()
            wait(self._judging, return_when=FIRST_COMPLETED)
            self._timing.judge_wait_s += time.perf_counter() - started
        for future in [future for future in self._judging if future.done()]:
            key, running = self._judging.pop(future)
            future.result()
            running.program = None
            if running.episode.done or go_on:
                self._advance(key, running)
