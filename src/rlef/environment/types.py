"""What an episode leaves behind, as text and outcomes (token ids live in ``rlef.rollout``)."""

from dataclasses import dataclass
from enum import StrEnum

from rlef.sandbox import Verdict


class StopReason(StrEnum):
    """Why an episode ended."""

    PUBLIC_PASSED = "public_passed"
    TURN_LIMIT = "turn_limit"
    CONTEXT_LIMIT = "context_limit"
    """the next turn would not fit into the model's context"""
    INFRA_ERROR = "infra_error"
    """the judge could not do its work: neither right nor wrong, kept out of training and metrics"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """One answer of the model and what came back."""

    response: str
    """For human consumption only; never re-tokenised."""
    program: str | None
    """The extracted program; ``None``: the answer had no valid code."""
    public_verdicts: tuple[Verdict, ...]
    """One per public test; empty where there was no program."""
    feedback: str | None
    """The message that followed; ``None`` after the last turn."""
    prompt_tokens: int | None = None
    """Tokens of the whole prompt of this turn; ``None`` where nobody counted them."""
    completion_tokens: int | None = None
    """Tokens of the answer, the one that ended it included; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """All turns on one problem and how it ended."""

    problem: str
    family: str | None
    hidden_detail: str | None
    turns: tuple[TurnRecord, ...]
    stop: StopReason
    solved: bool
    """The last program passes all tests, public and private."""
    final_verdict: Verdict | None
    """Verdict of the last program on all tests; ``None`` where it was not judged."""
    passed_share: float | None = None
    """Share of all tests that the last program passes, 0 without a program; ``None`` where not all
    were run."""
    blind: bool = False
    """The model was told nothing, so the episode went on whatever its public tests said."""

    @property
    def passed_public(self) -> bool:
        """Whether the last program passed every public test."""
        return self.stop is StopReason.PUBLIC_PASSED
