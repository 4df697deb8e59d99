"""Many episodes at once: sampling and judging in turn, one beside the other.

On an engine that takes all its prompts at once (``hf``), episodes run in fixed groups. While one
group's programs are being judged, in the jails' processes, the next group samples; so with two
groups or more the judge's time is hidden behind the sampler's, and all runs have the same batches.
On one that takes prompts one by one (``vllm``, ``openai``), see ``streaming.py``.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from rlef.engines import Engine, SamplingParams, StreamingEngine
from rlef.environment import (
    ChatFormat,
    Conversation,
    Episode,
    Exchange,
    FeedbackOptions,
    MessageConversation,
    Prompts,
    RandomFeedbackPool,
    RewardConfig,
)
from rlef.rollout.running import EpisodeRequest, RolloutTiming, Running, judge, judge_last
from rlef.rollout.streaming import EpisodeStream
from rlef.rollout.types import Rollout
from rlef.sandbox import Limits, Sandbox

_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Group:
    running: list[Running]
    judged: Future[None]
    """Done when all programs of the group have been judged and the episodes know."""


class RolloutWorker:
    """Runs episodes with an engine and a sandbox.

    Args:
        engine: Samples answers.
        chat: The chat format of the engine's tokenizer; ``None``: it takes messages.
        sandbox: Judges programs.
        sampling: How answers are drawn.
        max_turns: Turn limit; RLEF: 3.
        max_context: Tokens of a whole conversation; an episode whose next prompt leaves no room
            for an answer ends there. ``None``: the engine says when one is too long.
        prompts: Templates.
        feedback: What feedback says; the kind ``random`` needs ``random_feedback``.
        rewards: Rewards of the turns.
        limits: Limits of each test where a problem names none.
        group_size: Episodes that sample at once; a ``StreamingEngine`` has its own number.
        random_feedback: Replaces feedback by that on other problems: the control.
        examples: Exchanges that stand before every first message: few-shot prompting.
        first_engine: Gives every episode's first answer in place of ``engine``, which then repairs;
            of the same tokenizer, and not beside a ``StreamingEngine``.

    Raises:
        ValueError: ``first_engine`` stands beside a ``StreamingEngine``.
    """

    def __init__(
        self,
        *,
        engine: Engine | StreamingEngine,
        chat: ChatFormat | None,
        sandbox: Sandbox,
        sampling: SamplingParams,
        max_turns: int,
        max_context: int | None,
        prompts: Prompts,
        feedback: FeedbackOptions,
        rewards: RewardConfig,
        limits: Limits,
        group_size: int = 64,
        random_feedback: RandomFeedbackPool | None = None,
        examples: Sequence[Exchange] = (),
        first_engine: Engine | None = None,
    ) -> None:
        if first_engine is not None and isinstance(engine, StreamingEngine):
            raise ValueError("a first_engine needs an engine that samples groups, such as hf")
        self._engine = engine
        self._chat = chat
        self._sandbox = sandbox
        self._sampling = sampling
        self._max_turns = max_turns
        self._max_context = max_context
        self._prompts = prompts
        self._feedback = feedback
        self._rewards = rewards
        self._limits = limits
        self._group_size = group_size
        self._random_feedback = random_feedback
        self._examples = tuple(examples)
        self._first_engine = first_engine
        self.timing = RolloutTiming()

    def run(self, requests: Sequence[EpisodeRequest]) -> list[Rollout]:
        """Runs all episodes to their end; returns the rollouts in the order of the requests."""
        found = {place: rollout for ended in self.stream(requests) for place, rollout in ended}
        return [found[i] for i in range(len(requests))]

    def stream(self, requests: Sequence[EpisodeRequest]) -> Iterator[list[tuple[int, Rollout]]]:
        """Runs episodes and yields those that have ended, each with its place in the requests."""
        if len({id(request) for request in requests}) < len(requests):
            raise ValueError("a request stands twice among the requests; allowed: once")
        if isinstance(self._engine, StreamingEngine):
            return self._stream_one_by_one(self._engine, requests)
        return self._stream_in_groups(self._engine, requests)

    def _stream_one_by_one(
        self, engine: StreamingEngine, requests: Sequence[EpisodeRequest]
    ) -> Iterator[list[tuple[int, Rollout]]]:
        stream = EpisodeStream(
            engine,
            ((place, self._begin(request)) for place, request in enumerate(requests)),
            sampling=self._sampling,
            seed_of=_next_seed,
            max_context=self._max_context,
            judge=lambda running: self._judge([running]),
            timing=self.timing,
        )
        with closing(stream.run()) as batches:
            for ended in batches:
                yield self._rollouts(ended)

    def _stream_in_groups(
        self, engine: Engine, requests: Sequence[EpisodeRequest]
    ) -> Iterator[list[tuple[int, Rollout]]]:
        places = {id(request): i for i, request in enumerate(requests)}
        todo = iter(requests)
        groups: deque[_Group] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="rlef-judging") as judging:
            while True:
                while len(groups) < 2 and (new := list(islice(todo, self._group_size))):
                    first = self._first_engine or engine
                    groups.append(self._sample(first, [self._begin(r) for r in new], judging))
                if not groups:
                    return
                group = groups.popleft()
                self._wait(group)
                # Both lists before the next sampling: then the judge's thread moves episodes on.
                ended = [running for running in group.running if running.episode.done]
                going = [running for running in group.running if not running.episode.done]
                if going:
                    groups.append(self._sample(engine, going, judging))
                if ended:
                    yield self._rollouts([(places[id(r.request)], r) for r in ended])

    def _begin(self, request: EpisodeRequest) -> Running:
        override = None
        if self._random_feedback is not None:
            pool, seed = self._random_feedback, request.seed

            def override(name: str, turn: int) -> str:
                return pool.draw(name, derive_seed(seed, "feedback", turn))

        episode = Episode(
            request.problem.public,
            max_turns=self._max_turns,
            prompts=self._prompts,
            feedback_options=self._feedback,
            feedback_override=override,
        )
        conversation = MessageConversation() if self._chat is None else Conversation(self._chat)
        return Running(request, episode, conversation, examples=self._examples)

    def _sample(self, engine: Engine, going: list[Running], judging: ThreadPoolExecutor) -> _Group:
        """Samples the next answer of each episode and sends the programs to the judge."""
        sampled = [running for running in going if running.extend(self._max_context)]
        prompts = [running.prompt for running in sampled]
        seeds = [_next_seed(running) for running in sampled]
        started = time.perf_counter()
        completions = engine.generate(prompts, self._sampling, seeds) if prompts else []
        self.timing.generate_s += time.perf_counter() - started
        for running, completion in zip(sampled, completions, strict=True):
            self.timing.sampled_tokens += running.answer(completion)
        return _Group(going, judging.submit(self._judge, sampled))

    def _judge(self, answered: Sequence[Running]) -> None:
        judge(answered, self._sandbox, self._limits, graded=self._rewards.graded)

    def _rollouts(self, ended: Sequence[tuple[int, Running]]) -> list[tuple[int, Rollout]]:
        running = [running for _, running in ended]
        judge_last(running, self._sandbox, self._limits, graded=self._rewards.graded)
        return [(place, running.rollout(self._rewards)) for place, running in ended]

    def _wait(self, group: _Group) -> None:
        started = time.perf_counter()
        group.judged.result()
        self.timing.judge_wait_s += time.perf_counter() - started


def _next_seed(running: Running) -> int:
    """Returns the seed of an episode's next answer."""
    return derive_seed(running.request.seed, "answer", len(running.episode.turns))


def derive_seed(seed: int, *path: str | int) -> int:
    """Returns a seed for one draw of what has ``seed``.

    Args:
        seed: Any integer.
        path: Which draw: the name of a stream of draws, then numbers in it. Streams of different
            names have nothing to do with each other, nor have paths of different length.

    Returns:
        A hash of all of it, in [0, 2**63): the same on every machine.

    Example:
        >>> derive_seed(0, "train", 7) == derive_seed(0, "eval", 7)
        False
    """
    words = [int(seed), *(part if isinstance(part, str) else int(part) for part in path)]
    digest = hashlib.blake2b(json.dumps(words).encode("ascii"), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _MAX_SEED
