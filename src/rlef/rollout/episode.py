"""One episode from its first message to its rollout: where sampling and judging meet."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rlef.engines import ChatCompletion, Completion, FinishReason, Generate, SamplingParams
from rlef.environment import (
    ChatFormat,
    Conversation,
    Episode,
    FeedbackOptions,
    FeedbackOverride,
    MessageConversation,
    Prompts,
    RandomFeedbackPool,
    RewardConfig,
    StopReason,
    join_reports,
    private_job,
    public_job,
    turn_rewards,
)
from rlef.environment.feedback import Fits
from rlef.environment.room import least_answer, message_budget
from rlef.problems import Problem
from rlef.rollout.seeds import derive_seed
from rlef.rollout.types import Rollout
from rlef.sandbox import JudgeJob, JudgeReport, Limits, Verdict

Judge = Callable[[JudgeJob], Awaitable[JudgeReport]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRequest:
    """One episode to run: the same request gives the same rollout, whatever runs beside it."""

    problem: Problem
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSettings:
    """What holds for all episodes of a kind.

    Attributes:
        sampling: how answers are drawn.
        max_turns: turn limit; RLEF: 3.
        max_context: tokens of a prompt and its answer; an episode whose next prompt leaves no room
            for the least answer ends there. ``None``: the engine says when one is too long.
        min_new_tokens: the least answer, see ``least_answer``.
        prompts: templates.
        feedback: what feedback says; the kind ``random`` needs ``random_feedback``.
        rewards: rewards of the turns.
        limits: of each test where a problem names none.
        random_feedback: replaces feedback by that on other problems: the control.
    """

    sampling: SamplingParams
    max_turns: int
    max_context: int | None
    min_new_tokens: int | None = None
    prompts: Prompts
    feedback: FeedbackOptions = field(default_factory=FeedbackOptions)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    limits: Limits = field(default_factory=Limits)
    random_feedback: RandomFeedbackPool | None = None

    @property
    def least_new_tokens(self) -> int:
        """Tokens of room without which no answer is asked for."""
        return least_answer(self.sampling.max_new_tokens, self.min_new_tokens)


async def run_episode(
    request: EpisodeRequest,
    chat: ChatFormat | None,
    sample: Generate,
    judge: Judge,
    settings: EpisodeSettings,
) -> Rollout:
    """Samples and judges in turn until the episode ends.

    Args:
        request: Which episode.
        chat: The chat format of the engine's tokenizer; ``None``: the engine takes messages.
        sample: Answers a prompt, see ``Engine.seat``.
        judge: Runs a program.
        settings: How.

    Raises:
        EngineError: There is no answer.
        SandboxError: There is no verdict.
    """
    problem = request.problem
    conversation = MessageConversation() if chat is None else Conversation(chat)
    fits = _Room(conversation, settings).fits if isinstance(conversation, Conversation) else None
    episode = Episode(
        problem.public,
        max_turns=settings.max_turns,
        prompts=settings.prompts,
        feedback_options=settings.feedback,
        feedback_override=_random_feedback(settings.random_feedback, request.seed, fits),
        fits=fits,
    )
    versions: list[int] = []
    report: JudgeReport | None = None
    while not episode.done and _ask(episode, conversation, settings):
        seed = derive_seed(request.seed, "answer", len(episode.turns))
        completion = await sample(_prompt(conversation), settings.sampling, seed)
        if isinstance(completion, Completion):
            versions.append(completion.version)
        program = _answer(episode, conversation, completion)
        if program is not None:
            report = await judge(public_job(problem, program, settings.limits))
            episode.observe(report)
    graded = settings.rewards.graded
    if report is not None and _matters(episode, graded=graded):
        report = await _judge_private(problem, episode, report, judge, settings)
    else:
        report = None
    record = episode.finish(
        report,
        family=problem.family,
        hidden_detail=problem.hidden_detail,
        passed_share=_passed_share(report, problem) if graded else None,
    )
    rewards = turn_rewards(record, settings.rewards)
    return Rollout.of(record, conversation, rewards, versions, request.seed)


class _Room:
    """What is left of a conversation's context.

    Args:
        conversation: Whose; it may grow.
        settings: How much a message and an answer may have.
    """

    def __init__(self, conversation: Conversation, settings: EpisodeSettings) -> None:
        self._conversation = conversation
        self._settings = settings
        self._turns = 0
        self._most: int | None = None

    def fits(self, message: str) -> bool:
        """Whether a message after an answer has no more tokens than it may have."""
        turns = len(self._conversation.prompt_ends)
        if turns != self._turns:
            self._turns, self._most = turns, self._longest_prompt()
        return self._most is None or len(self._conversation.next_prompt(message)) <= self._most

    def _longest_prompt(self) -> int | None:
        settings = self._settings
        without = len(self._conversation.next_prompt("x")) - 1
        max_context = settings.max_context
        budget = message_budget(
            None if max_context is None else max_context - without,
            max_new_tokens=settings.sampling.max_new_tokens,
            least_new_tokens=settings.least_new_tokens,
            max_tokens=settings.feedback.max_tokens,
        )
        return None if budget is None else without + budget


def _random_feedback(
    pool: RandomFeedbackPool | None, seed: int, fits: Fits | None
) -> FeedbackOverride | None:
    if pool is None:
        return None
    return lambda name, turn: pool.draw(name, derive_seed(seed, "feedback", turn), fits)


def _ask(
    episode: Episode, conversation: Conversation | MessageConversation, settings: EpisodeSettings
) -> bool:
    """Appends the next message; False if that leaves no room for an answer."""
    message = episode.next_message
    assert message is not None  # the episode is not done, and its last report was observed
    if isinstance(conversation, Conversation) and settings.max_context is not None:
        tokens = len(conversation.next_prompt(message)) + settings.least_new_tokens
        if tokens > settings.max_context:
            episode.stop_for_context_limit()
            return False
    if episode.turns:
        conversation.add_observation(message)
    else:
        conversation.start(message)
    return True


def _prompt(conversation: Conversation | MessageConversation) -> Any:
    if isinstance(conversation, MessageConversation):
        return list(conversation.messages)
    return conversation.prompt


def _answer(
    episode: Episode,
    conversation: Conversation | MessageConversation,
    completion: Completion | ChatCompletion,
) -> str | None:
    """Takes the engine's answer; returns its program, if it has one."""
    if isinstance(completion, Completion):
        assert isinstance(conversation, Conversation)
        text = conversation.chat.answer_text(completion.token_ids)
        prompt_tokens: int | None = len(conversation.prompt)
        sampled: int | None = len(completion.token_ids)
        conversation.add_action(completion.token_ids, completion.logprobs)
    else:
        assert isinstance(conversation, MessageConversation)
        if completion.finish is FinishReason.NO_ROOM:
            episode.stop_for_context_limit()
            return None
        text = completion.text
        prompt_tokens, sampled = completion.prompt_tokens, completion.completion_tokens
        conversation.add_action(text)
    return episode.answer(text, prompt_tokens=prompt_tokens, completion_tokens=sampled)


def _matters(episode: Episode, *, graded: bool) -> bool:
    """Whether the private tests can change anything for the last program.

    Where a public test failed no other test can change the verdict, so none is run unless rewards
    are graded by how many pass.
    """
    ends = {StopReason.PUBLIC_PASSED}
    if graded:
        ends |= {StopReason.TURN_LIMIT, StopReason.CONTEXT_LIMIT}
    return episode.stop in ends and episode.last_program is not None


async def _judge_private(
    problem: Problem,
    episode: Episode,
    public: JudgeReport,
    judge: Judge,
    settings: EpisodeSettings,
) -> JudgeReport:
    """Returns the report on all tests of the last program."""
    program = episode.last_program
    assert program is not None  # ``_matters``
    job = private_job(problem, program, settings.limits, graded=settings.rewards.graded)
    return public if job is None else join_reports(public, await judge(job))


def _passed_share(report: JudgeReport | None, problem: Problem) -> float:
    tests = report.tests if report else ()
    return sum(test.verdict is Verdict.AC for test in tests) / len(problem.all_tests)
