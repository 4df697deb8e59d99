"""The multi-turn environment: prompts, episodes, feedback, rewards, and conversations in tokens.

Needs no torch. Start at ``episode.py``.
"""

from rlef.environment.chat import ChatFormat, Exchange, stop_token_ids
from rlef.environment.chat_settings import ChatSettings
from rlef.environment.conversation import Conversation, MessageConversation
from rlef.environment.episode import Episode, FeedbackOverride
from rlef.environment.extract import extract_program
from rlef.environment.feedback import FeedbackKind, FeedbackOptions, write_feedback
from rlef.environment.few_shot import repair_dialogues
from rlef.environment.jobs import (
    final_job,
    join_reports,
    limits_of,
    private_job,
    public_job,
    reveal_private_tests,
)
from rlef.environment.judged import (
    AsyncJudge,
    JudgedEpisode,
    NotJudgedError,
    episode_metrics,
    episode_reward,
    judged_record,
    problems_by_name,
    settle,
    settle_soon,
)
from rlef.environment.random_feedback import RandomFeedbackPool
from rlef.environment.rendering import Tokenizer
from rlef.environment.reward import RewardConfig, turn_rewards
from rlef.environment.template_probes import TemplateError
from rlef.environment.templates import Prompts
from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord

__all__ = [
    "AsyncJudge",
    "ChatFormat",
    "ChatSettings",
    "Conversation",
    "Episode",
    "EpisodeRecord",
    "Exchange",
    "FeedbackKind",
    "FeedbackOptions",
    "FeedbackOverride",
    "JudgedEpisode",
    "MessageConversation",
    "NotJudgedError",
    "Prompts",
    "RandomFeedbackPool",
    "RewardConfig",
    "StopReason",
    "TemplateError",
    "Tokenizer",
    "TurnRecord",
    "episode_metrics",
    "episode_reward",
    "extract_program",
    "final_job",
    "join_reports",
    "judged_record",
    "limits_of",
    "private_job",
    "problems_by_name",
    "public_job",
    "repair_dialogues",
    "reveal_private_tests",
    "settle",
    "settle_soon",
    "stop_token_ids",
    "turn_rewards",
    "write_feedback",
]
