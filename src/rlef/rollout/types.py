"""A rollout: one sampled episode with its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rlef.environment import Conversation, EpisodeRecord, MessageConversation, StopReason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """One sampled episode of T tokens and U turns; of an engine that answers in text, T = U = 0.

    Its tokens are S sequences one after the other: one, or where each turn is rendered anew
    (``ChatFormat.turns``) the prompt and answer of each turn.

    Attributes:
        record: what happened, as text and outcomes.
        token_ids: (T,) int32, all tokens from the first prompt to the last answer.
        sequence_starts: (S,) int32, index of each sequence's first token.
        turn_ids: (T,) int32, the turn from 0 of a sampled token (an action token), else -1.
        logprobs: (T,) float32, behaviour log-probability of a sampled token, else 0.
        prompt_ends: (U,) int32, index of the last token of each turn's prompt.
        rewards: float32, before any KL penalty, one per turn of the record.
        policy_versions: (U,) int64, the oldest version that sampled any token of the turn.
        seed: the episode's seed.
    """

    record: EpisodeRecord
    token_ids: NDArray[np.int32]
    sequence_starts: NDArray[np.int32]
    turn_ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    prompt_ends: NDArray[np.int32]
    rewards: NDArray[np.float32]
    policy_versions: NDArray[np.int64]
    seed: int

    @property
    def trainable(self) -> bool:
        """Whether it says anything about the policy: it has tokens, and its judge did its work."""
        return len(self.prompt_ends) > 0 and self.record.stop is not StopReason.INFRA_ERROR

    @property
    def oldest_version(self) -> int | None:
        """The oldest policy version that sampled any token; ``None`` where there is no token."""
        return int(self.policy_versions.min()) if len(self.policy_versions) else None

    def behind(self, tokens: Sequence[int]) -> "Rollout":
        """Returns the rollout with further tokens in front of each of its sequences.

        Args:
            tokens: No action tokens.
        """
        count, starts = len(tokens), self.sequence_starts
        places = np.repeat(starts, count)
        before = count * np.searchsorted(starts, self.prompt_ends, side="right")
        return replace(
            self,
            token_ids=np.insert(self.token_ids, places, np.tile(tokens, len(starts))),
            sequence_starts=starts + count * np.arange(len(starts), dtype=np.int32),
            turn_ids=np.insert(self.turn_ids, places, -1),
            logprobs=np.insert(self.logprobs, places, 0),
            prompt_ends=self.prompt_ends + before.astype(np.int32),
        )

    @classmethod
    def of(
        cls,
        record: EpisodeRecord,
        conversation: Conversation | MessageConversation,
        rewards: Sequence[float],
        versions: Sequence[int],
        seed: int,
    ) -> "Rollout":
        """Joins an episode's record with its tokens; a prompt that got no answer is cut off."""
        if isinstance(conversation, MessageConversation):
            tokens: tuple[Sequence[float], ...] = ((), (), (), (), ())
        else:
            turns, end = len(record.turns), len(conversation.token_ids)
            while end and conversation.turn_ids[end - 1] < 0:
                end -= 1
            tokens = (
                conversation.token_ids[:end],
                conversation.turn_ids[:end],
                conversation.logprobs[:end],
                conversation.prompt_ends[:turns],
                [start for start in conversation.sequence_starts if start < end],
            )
        token_ids, turn_ids, logprobs, prompt_ends, starts = tokens
        return cls(
            record=record,
            token_ids=np.array(token_ids, np.int32),
            sequence_starts=np.array(starts, np.int32),
            turn_ids=np.array(turn_ids, np.int32),
            logprobs=np.array(logprobs, np.float32),
            prompt_ends=np.array(prompt_ends, np.int32),
            rewards=np.array(rewards, np.float32),
            policy_versions=np.array(versions, np.int64),
            seed=seed,
        )
