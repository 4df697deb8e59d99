"""What a model does from turn to turn: which errors it makes, mends and repeats.

The numbers behind the paper's analysis of inference-time behaviour. Error types of each turn, and
rates over all turns, stand in ``statistics``.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.evaluation.statistics import (
    code_change,
    consecutive_programs,
    failure_cause,
    is_known,
    mean,
    repeated_rate,
    share,
)
from rlef.run import json_value

SOLVED = "solved"
"""The state of a turn that solved its problem; other states are the causes of failure of
``Statistics.error_types_by_turn``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What became of the episodes that failed their first turn in one way."""

    episodes: int
    by_turn: tuple[int, ...]
    """Entry t - 2: how many were solved in turn t or before, for t from 2 to the turn limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Behaviour of one run; NaN where undefined. Infrastructure errors are left out.

    Tuples have one entry per turn up to the turn limit, over the episodes that reached it; those of
    pairs of turns (``transitions``, ``repeated_rate``, ``code_change``) one for each turn and the
    next.
    """

    turn_limit: int
    episodes: tuple[int, ...]
    """How many reached the turn."""
    transitions: tuple[dict[str, dict[str, int]], ...]
    """From state to state: how many episodes failed one turn for a cause, and how the next ended.
    Episodes that ended there (``"private"`` always does) are not among them."""
    fixed: dict[str, Fixed]
    """By the cause of failure of the first turn; empty where an episode is blind."""
    invalid_rate: tuple[float, ...]
    """Share of answers without a program."""
    repeated_rate: tuple[float, ...]
    """Share of pairs of consecutive programs that are identical."""
    code_change: tuple[float, ...]
    """Mean of 1 - chrF over pairs of consecutive programs."""
    response_chars: tuple[float, ...]
    """Mean lengths of answers ..."""
    response_tokens: tuple[float, ...]
    """(as sampled; NaN where a turn of the run holds no count)"""
    program_chars: tuple[float, ...]
    """... and of their programs, where they have one."""
    program_tokens: tuple[float, ...]
    """(NaN without a tokenizer)"""

    def to_json(self) -> dict[str, object]:
        """All fields as JSON values, with null for NaN."""
        return {key: json_value(value) for key, value in dataclasses.asdict(self).items()}


def episode_behaviour(
    records: Iterable[EpisodeRecord],
    turn_limit: int,
    *,
    count_tokens: Callable[[str], int] | None = None,
) -> Behaviour:
    """Behaviour of a model over one run's episodes.

    Args:
        records: The episodes, in any order.
        turn_limit: The limit that they were played with.
        count_tokens: Length of a text in the model's tokens, for the lengths of programs.

    Raises:
        ValueError: ``turn_limit`` is below 1, or an episode is longer.
    """
    if turn_limit < 1:
        raise ValueError(f"turn_limit must be at least 1, not {turn_limit}")
    counted = [record for record in records if record.stop is not StopReason.INFRA_ERROR]
    longest = max((len(record.turns) for record in counted), default=0)
    if longest > turn_limit:
        raise ValueError(f"an episode has {longest} turns, but turn_limit is {turn_limit}")
    turns = [
        [record.turns[i] for record in counted if len(record.turns) > i] for i in range(turn_limit)
    ]
    programs = [[turn.program for turn in reached if turn.program is not None] for reached in turns]
    pairs = [consecutive_programs(counted, turn) for turn in range(1, turn_limit)]
    return Behaviour(
        turn_limit=turn_limit,
        episodes=tuple(map(len, turns)),
        transitions=tuple(_transitions(counted, turn) for turn in range(1, turn_limit)),
        fixed=_fixed(counted, turn_limit),
        invalid_rate=tuple(
            share(len(reached) - len(valid), len(reached))
            for reached, valid in zip(turns, programs, strict=True)
        ),
        repeated_rate=tuple(map(repeated_rate, pairs)),
        code_change=tuple(map(code_change, pairs)),
        response_chars=tuple(mean([len(turn.response) for turn in reached]) for reached in turns),
        response_tokens=tuple(map(_mean_tokens, turns)),
        program_chars=tuple(mean([len(program) for program in valid]) for valid in programs),
        program_tokens=tuple(
            mean([count_tokens(program) for program in valid] if count_tokens else [])
            for valid in programs
        ),
    )


def _state(record: EpisodeRecord, turn: int) -> str:
    """How a turn (counted from 1) ended."""
    if record.solved and len(record.turns) == turn:
        return SOLVED
    return failure_cause(record, turn)


def _transitions(records: Sequence[EpisodeRecord], turn: int) -> dict[str, dict[str, int]]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        if len(record.turns) > turn:
            counts[_state(record, turn)][_state(record, turn + 1)] += 1
    return {state: dict(sorted(counts[state].items())) for state in sorted(counts)}


def _fixed(records: Sequence[EpisodeRecord], turn_limit: int) -> dict[str, Fixed]:
    if not all(is_known(record, turn) for record in records for turn in range(1, turn_limit)):
        return {}
    groups: defaultdict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        if record.turns and _state(record, 1) != SOLVED:
            groups[_state(record, 1)].append(record)
    return {
        cause: Fixed(
            episodes=len(group),
            by_turn=tuple(
                sum(record.solved and len(record.turns) <= turn for record in group)
                for turn in range(2, turn_limit + 1)
            ),
        )
        for cause, group in sorted(groups.items())
    }


def _mean_tokens(turns: Sequence[TurnRecord]) -> float:
    counts = [turn.completion_tokens for turn in turns]
    known = [count for count in counts if count is not None]
    return mean(known if len(known) == len(counts) else [])
