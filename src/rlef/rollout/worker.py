"""Many episodes at once: sampling and judging in turn, one beside the other.

Episodes run in groups. While one group's programs are being judged, in the jails' processes, the
next group samples; so with two groups or more the judge's time is hidden behind the sampler's.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from rlef.engines import Completion, Engine, SamplingParams
from rlef.environment import (
    ChatFormat,
    Conversation,
    Episode,
    FeedbackOptions,
    Prompts,
    RandomFeedbackPool,
    RewardConfig,
    StopReason,
    final_job,
    public_job,
    turn_rewards,
)
from rlef.problems import Problem
from rlef.rollout.types import Rollout
from rlef.sandbox import JudgeReport, Limits, Sandbox

_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRequest:
    """One episode to run: the same request gives the same rollout, whatever runs beside it."""

    problem: Problem
    seed: int


@dataclass(slots=True)
class RolloutTiming:
    """Where the time went, in seconds; judging counts only where nothing was sampled meanwhile."""

    generate_s: float = 0.0
    judge_wait_s: float = 0.0
    sampled_tokens: int = 0


@dataclass(slots=True)
class _Running:
    request: EpisodeRequest
    episode: Episode
    conversation: Conversation
    program: str | None = None
    final_report: JudgeReport | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    running: list[_Running]
    judged: Future[None]
    """Done when all programs of the group have been judged and the episodes know."""


class RolloutWorker:
    """Runs episodes with an engine and a sandbox.

    Args:
        engine: Samples answers.
        chat: The chat format of the engine's tokenizer.
        sandbox: Judges programs.
        sampling: How answers are drawn.
        max_turns: Turn limit; RLEF: 3.
        max_context: Tokens of a whole conversation; an episode whose next prompt leaves no room
            for an answer ends there.
        prompts: Templates.
        feedback: How much feedback says.
        rewards: Rewards of the turns.
        limits: Limits of each test where a problem names none.
        group_size: Episodes that sample at once.
        random_feedback: Replaces feedback by that on other problems: the control.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        chat: ChatFormat,
        sandbox: Sandbox,
        sampling: SamplingParams,
        max_turns: int,
        max_context: int,
        prompts: Prompts,
        feedback: FeedbackOptions,
        rewards: RewardConfig,
        limits: Limits,
        group_size: int = 64,
        random_feedback: RandomFeedbackPool | None = None,
    ) -> None:
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
        self.timing = RolloutTiming()

    def run(self, requests: Sequence[EpisodeRequest]) -> list[Rollout]:
        """Runs all episodes to their end; returns the rollouts in the order of the requests."""
        found = {place: rollout for ended in self.stream(requests) for place, rollout in ended}
        return [found[i] for i in range(len(requests))]

    def stream(self, requests: Sequence[EpisodeRequest]) -> Iterator[list[tuple[int, Rollout]]]:
        """Runs episodes and yields those that have ended, each with its place in the requests."""
        places = {id(request): i for i, request in enumerate(requests)}
        if len(places) < len(requests):
            raise ValueError("a request stands twice among the requests; allowed: once")
        todo = iter(requests)
        groups: deque[_Group] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="rlef-judging") as judging:
            while True:
                while len(groups) < 2 and (new := list(islice(todo, self._group_size))):
                    groups.append(self._sample([self._begin(r) for r in new], judging))
                if not groups:
                    return
                group = groups.popleft()
                self._wait(group)
                # Both lists before the next sampling: then the judge's thread moves episodes on.
                ended = [running for running in group.running if running.episode.done]
                going = [running for running in group.running if not running.episode.done]
                if going:
                    groups.append(self._sample(going, judging))
                if ended:
                    yield [(places[id(r.request)], self._rollout(r)) for r in ended]

    def _begin(self, request: EpisodeRequest) -> _Running:
        override = None
        if self._random_feedback is not None:
            pool, seed = self._random_feedback, request.seed

            def override(name: str, turn: int) -> str:
                return pool.draw(name, derive_seed(seed, turn))

        episode = Episode(
            request.problem.public,
            max_turns=self._max_turns,
            prompts=self._prompts,
            feedback_options=self._feedback,
            feedback_override=override,
        )
        return _Running(request, episode, Conversation(self._chat))

    def _sample(self, going: list[_Running], judging: ThreadPoolExecutor) -> _Group:
        """Samples the next answer of each episode and sends the programs to the judge."""
        sampled = [running for running in going if self._extend(running)]
        prompts = [running.conversation.token_ids for running in sampled]
        seeds = [
            derive_seed(running.request.seed, len(running.episode.turns)) for running in sampled
        ]
        started = time.perf_counter()
        completions = self._engine.generate(prompts, self._sampling, seeds) if prompts else []
        self.timing.generate_s += time.perf_counter() - started
        for running, completion in zip(sampled, completions, strict=True):
            self._answer(running, completion)
        return _Group(going, judging.submit(self._judge, sampled))

    def _extend(self, running: _Running) -> bool:
        """Appends the next message; False if that leaves no room for an answer."""
        message = running.episode.next_message
        assert message is not None  # the episode is not done, and its last report was observed
        conversation = running.conversation
        first = not running.episode.turns
        new = self._chat.prompt_ids(message) if first else conversation.observation_ids(message)
        if len(conversation.token_ids) + len(new) >= self._max_context:
            running.episode.stop_for_context_limit()
            return False
        if first:
            conversation.start(message)
        else:
            conversation.add_observation(message)
        return True

    def _answer(self, running: _Running, completion: Completion) -> None:
        prompt_tokens = len(running.conversation.token_ids)
        running.conversation.add_action(completion.token_ids, completion.logprobs)
        self.timing.sampled_tokens += len(completion.token_ids)
        running.program = running.episode.answer(
            self._chat.decode(completion.token_ids),
            prompt_tokens=prompt_tokens,
            completion_tokens=len(completion.token_ids),
        )

    def _judge(self, sampled: Sequence[_Running]) -> None:
        """Judges programs on the public tests, and on all tests where they passed.

        Where a public test failed no other test can change the verdict, so none is run.
        """
        programs = [(running, running.program) for running in sampled]
        waiting = [(running, program) for running, program in programs if program is not None]
        jobs = [public_job(run.request.problem, program, self._limits) for run, program in waiting]
        for (running, _), report in zip(waiting, self._sandbox.judge_many(jobs), strict=True):
            running.episode.observe(report)
        passed = [
            (running, program)
            for running, program in waiting
            if running.episode.stop is StopReason.PUBLIC_PASSED
        ]
        jobs = [final_job(run.request.problem, program, self._limits) for run, program in passed]
        for (running, _), report in zip(passed, self._sandbox.judge_many(jobs), strict=True):
            running.final_report = report

    def _wait(self, group: _Group) -> None:
        started = time.perf_counter()
        group.judged.result()
        self.timing.judge_wait_s += time.perf_counter() - started

    def _rollout(self, running: _Running) -> Rollout:
        problem = running.request.problem
        record = running.episode.finish(
            running.final_report, family=problem.family, hidden_detail=problem.hidden_detail
        )
        return Rollout.of(
            record, running.conversation, turn_rewards(record, self._rewards), running.request.seed
        )


def derive_seed(seed: int, number: int) -> int:
    """Returns a seed for the ``number``-th draw of what has ``seed``; well mixed, in [0, 2**63)."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]) & _MAX_SEED
