"""Outcomes to rewards, one per turn; the KL penalty is the learner's."""

from collections.abc import Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field

from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.sandbox import Verdict


class RewardConfig(BaseModel):
    """Rewards of turns; the defaults are RLEF's (section 2.2).

    With a turn limit of 1 there is no turn before the last, and so no ``invalid``, as in RLEF's
    single-turn training. The last four fields go past the paper and can be combined.

    Raises:
        ValueError: A number is out of range, or not finite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    solved: float = 1.0
    """Reward of the last turn where the last program passes all tests, public and private."""
    failed: float = -1.0
    """Reward of the last turn where it does not."""
    invalid: float = -0.2
    """Reward of a turn before the last whose answer has no valid code."""
    repeated: float = Field(0.0, le=0)
    """Added to the reward of a turn whose program is, word for word, one that failed public tests
    in a turn before: it fails again. 0: nothing."""
    graded: bool = False
    """Whether the last turn's reward lies between ``failed`` and ``solved``, by the share of all
    tests that its program passes, as in CodeRL (arXiv 2207.01780) and its successors."""
    discount: float = Field(1.0, ge=0, le=1)
    """Factor for each turn before the last, on what the reward exceeds ``failed`` by: solved early
    is better than solved late, and either is better than failed. 1: no discount."""
    potential: float = Field(0.0, ge=0)
    """Weight of a turn's gain in the share of public tests passed (potential-based shaping, Ng et
    al. 1999: F = Phi(s') - Phi(s), gamma 1). The gains of an episode add up to the last program's
    share, so this grades failures and credits the turn that made progress. 0: off."""


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

    Raises:
        ValueError: ``graded``, and the record does not say how many tests its last program passes.
    """
    if not record.turns:
        return ()
    last = _last_reward(record, config)
    if record.stop is StopReason.INFRA_ERROR:
        last = 0.0
    before = (config.invalid if turn.program is None else 0.0 for turn in record.turns[:-1])
    rewards = (*before, last)
    if config.repeated and record.stop is not StopReason.INFRA_ERROR:
        again = repeats(record.turns)
        rewards = tuple(
            r + config.repeated * is_one for r, is_one in zip(rewards, again, strict=True)
        )
    if not config.potential:
        return rewards
    gains = potential_differences([public_share(turn) for turn in record.turns])
    return tuple(r + config.potential * gain for r, gain in zip(rewards, gains, strict=True))


def repeats(turns: Sequence[TurnRecord]) -> list[bool]:
    """Returns whether each turn's program is one that failed public tests in a turn before."""
    failed, found = set[str | None](), []
    for turn in turns:
        found.append(turn.program in failed)
        if turn.public_verdicts and not passed_public(turn):
            failed.add(turn.program)
    return found


def passed_public(turn: TurnRecord) -> bool:
    """Whether a turn's program passed public tests, of which there is at least one, and all."""
    return public_share(turn) == 1


def public_share(turn: TurnRecord) -> float:
    """Returns the share of public tests that a turn's program passes, 0 without a program."""
    passed = sum(verdict is Verdict.AC for verdict in turn.public_verdicts)
    return passed / max(1, len(turn.public_verdicts))


def potential_differences(potentials: list[float]) -> list[float]:
    """Returns by how much each potential exceeds the one before; before the first it is 0.

    Example:
        >>> potential_differences([0.5, 0.25, 1.0])
        [0.5, -0.25, 0.75]
    """
    return [after - before for before, after in pairwise([0.0, *potentials])]


def _last_reward(record: EpisodeRecord, config: RewardConfig) -> float:
    share = float(record.solved)
    if config.graded and record.stop is not StopReason.INFRA_ERROR:
        if record.passed_share is None:
            raise ValueError(
                f"the record on {record.problem!r} lacks passed_share; judge all tests"
            )
        share = record.passed_share
    if share == float(record.solved) and config.discount == 1:
        return config.solved if record.solved else config.failed  # exactly, without rounding
    gain = share * config.discount ** (len(record.turns) - 1)
    return config.failed + gain * (config.solved - config.failed)
