"""One episode from its first message to its rollout: where sampling and judging meet."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rlef.engines import ChatCompletion, Completion, FinishReason, Generate, SamplingParams
from rlef.environment import (
    ChatFormat,
    Conversation,
    FeedbackOptions,
    FeedbackOverride,
    JudgedEpisode,
    MessageConversation,
    Prompts,
    RandomFeedbackPool,
    RewardConfig,
    turn_rewards,
)
from rlef.environment.feedback import Fits
from rlef.environment.room import least_answer, message_budget
from rlef.problems import Problem
from rlef.rollout.seeds import derive_seed
from rlef.rollout.types import Rollout
from rlef.sandbox import JudgeJob, JudgeReport, Limits

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
    episode = JudgedEpisode(
        problem,
        limits=settings.limits,
        graded=settings.rewards.graded,
        max_turns=settings.max_turns,
        prompts=settings.prompts,
        feedback_options=settings.feedback,
        feedback_override=_random_feedback(settings.random_feedback, request.seed, fits),
        fits=fits,
    )
    versions: list[int] = []
    while episode.message is not None:
        if _ask(episode, conversation, settings):
            seed = derive_seed(request.seed, "answer", len(episode.turns))
            completion = await sample(_prompt(conversation), settings.sampling, seed)
            if isinstance(completion, Completion):
                versions.append(completion.version)
            _answer(episode, conversation, completion)
        while episode.job is not None:
            episode.observe(await judge(episode.job))
    record = episode.record
    assert record is not None  # nothing waits
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
    episode: JudgedEpisode,
    conversation: Conversation | MessageConversation,
    settings: EpisodeSettings,
) -> bool:
    """Appends the next message; False if that leaves no room for an answer."""
    message = episode.message
    assert message is not None  # the caller has seen it
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
    episode: JudgedEpisode,
    conversation: Conversation | MessageConversation,
    completion: Completion | ChatCompletion,
) -> None:
    """Takes the engine's answer."""
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
            return
        text = completion.text
        prompt_tokens, sampled = completion.prompt_tokens, completion.completion_tokens
        conversation.add_action(text)
    episode.answer(text, prompt_tokens=prompt_tokens, completion_tokens=sampled)
