"""A rollout: one sampled episode with its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlef.environment import Conversation, EpisodeRecord, MessageConversation, StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One sampled episode; of an engine that answers in text, without tokens.

    Attributes:
        record: what happened, as text and outcomes.
        token_ids: all tokens from the first prompt to the last answer.
        turn_ids: per token; its turn from 0 if it was sampled (an action token), else -1.
        logprobs: per token; behaviour log-probability if it was sampled, else 0.
        prompt_ends: per turn, the index of its prompt's last token.
        rewards: per turn, before any KL penalty.
        seed: the episode's seed.
    """

    record: EpisodeRecord
    token_ids: tuple[int, ...]
    turn_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    prompt_ends: tuple[int, ...]
    rewards: tuple[float, ...]
    seed: int

    @property
    def trainable(self) -> bool:
        """Whether it says anything about the policy: it has tokens, and its judge did its work."""
        return bool(self.prompt_ends) and self.record.stop is not StopReason.INFRA_ERROR

    def after_first_turn(self) -> "Rollout":
        """Returns the rollout as one whose first answer is part of its first prompt.

        What is left of an episode of one turn has no prompt, and is not trainable.
        """
        return replace(
            self,
            turn_ids=tuple(max(turn - 1, -1) for turn in self.turn_ids),
            logprobs=tuple(
                logprob if turn > 0 else 0.0
                for logprob, turn in zip(self.logprobs, self.turn_ids, strict=True)
            ),
            prompt_ends=self.prompt_ends[1:],
            rewards=self.rewards[1:],
        )

    @classmethod
    def of(
        cls,
        record: EpisodeRecord,
        conversation: Conversation | MessageConversation,
        rewards: Sequence[float],
        seed: int,
    ) -> "Rollout":
        """Joins an episode's record with its tokens; a prompt that got no answer is cut off."""
        if isinstance(conversation, MessageConversation):
            return cls(
                record=record,
                token_ids=(),
                turn_ids=(),
                logprobs=(),
                prompt_ends=(),
                rewards=tuple(rewards),
                seed=seed,
            )
        turns = len(record.turns)
        end = len(conversation.token_ids)
        if len(conversation.prompt_ends) > turns:
            last_turn = max(
                (i for i, sampled in enumerate(conversation.action_mask) if sampled), default=-1
            )
            end = last_turn + 1
        return cls(
            record=record,
            token_ids=tuple(conversation.token_ids[:end]),
            turn_ids=tuple(conversation.turn_ids[:end]),
            logprobs=tuple(conversation.logprobs[:end]),
            prompt_ends=tuple(conversation.prompt_ends[:turns]),
            rewards=tuple(rewards),
            seed=seed,
        )
