"""Outcomes to rewards, one per turn; the KL penalty is the learner's."""

from dataclasses import dataclass

from rlef.environment.types import EpisodeRecord, StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """RLEF's rewards (section 2.2). Its single-turn training has no ``invalid``: set that to 0."""

    solved: float = 1.0
    """Last turn; the last program passes all tests."""
    failed: float = -1.0
    """Last turn; it does not."""
    invalid: float = -0.2
    """A turn before the last whose answer has no valid code."""


_RLEF = RewardConfig()


def turn_rewards(record: EpisodeRecord, config: RewardConfig = _RLEF) -> tuple[float, ...]:
    """Returns the reward of each turn, before the KL penalty (RLEF section 2.2).

    The cases are exclusive, in the paper's order: a last answer without valid code gets ``failed``
    only. An episode that ended in an infrastructure error gets 0 for its last turn: it is neither
    right nor wrong and has to be masked out of training.

    Example:
        >>> from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
        >>> talk = TurnRecord(response="Hm.", program=None, public_verdicts=(), feedback="Code?")
        >>> record = EpisodeRecord(problem="p", family=None, hidden_detail=None,
        ...     turns=(talk, talk), stop=StopReason.TURN_LIMIT, solved=False, final_verdict=None)
        >>> turn_rewards(record)
        (-0.2, -1.0)
    """
    if not record.turns:
        return ()
    last = config.solved if record.solved else config.failed
    if record.stop is StopReason.INFRA_ERROR:
        last = 0.0
    before = (config.invalid if turn.program is None else 0.0 for turn in record.turns[:-1])
    return (*before, last)
