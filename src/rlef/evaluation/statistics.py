"""What happened turn by turn in a set of episodes."""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rlef.environment.types import EpisodeRecord, StopReason
from rlef.sandbox.types import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of episodes; NaN where undefined (nothing to take a share of).

    Infrastructure errors are counted and otherwise left out. Tuples "by turn" have one entry per
    turn up to the turn limit. "Consecutive" means two turns that follow each other in an episode.
    """

    turn_limit: int
    episodes: int
    """Episodes that count, infrastructure errors not among them."""
    infra_errors: int
    problems: int
    """Problems with an episode that counts."""
    solve_rate_by_turn: tuple[float, ...]
    """Entry k - 1: share solved with at most k turns, averaged per problem first. An episode ends
    as soon as its public tests pass, so this is what a turn limit of k would give. Blind episodes
    go on all the same, and only their last program is judged on all tests: NaN below that."""
    one_at_n: float
    """1@n with n the turn limit: the last entry of ``solve_rate_by_turn``."""
    repair_rate_by_turn: tuple[float, ...]
    """Entry t - 1: of the episodes with a turn t + 1, the share solved there. One entry less. NaN
    for blind episodes, which may have been right before."""
    repair_rate: float
    """Share of all turns after the first that solved their problem; NaN for blind episodes."""
    regression_rate: float
    """Of the public tests passed in a turn that was not the last, the share that the next turn
    failed; a turn without a program fails all."""
    error_types_by_turn: tuple[dict[str, int], ...]
    """How many episodes failed in a turn, by cause: the verdict of the first failing public test,
    ``"invalid"`` (no program), or ``"private"`` (public tests passed, others not). In blind
    episodes also ``"unjudged"``: public tests passed, others not run."""
    invalid_rate: float
    """Share of turns without a program."""
    repeated_rate: float
    """Share of pairs of consecutive programs that are identical."""
    code_change: float
    """Mean of 1 - chrF (0 to 1, sacrebleu's defaults, which disregard white space) over pairs of
    consecutive programs."""
    response_chars: float
    """Mean length of a response in characters."""
    context_limit_rate: float
    """Share of episodes that ended because another answer had no room in the context."""

    def to_json(self) -> dict[str, object]:
        """All fields as JSON values, with null for NaN."""
        return {
            field.name: _json_value(getattr(self, field.name)) for field in dataclasses.fields(self)
        }


class HiddenDetailSplit(NamedTuple):
    """Episodes on problems that leave a detail to be found from feedback, and all others."""

    hidden: list[EpisodeRecord]
    open: list[EpisodeRecord]


def split_by_hidden_detail(records: Iterable[EpisodeRecord]) -> HiddenDetailSplit:
    """Part the episodes; give either part to ``episode_statistics`` for a breakdown."""
    split = HiddenDetailSplit([], [])
    for record in records:
        (split.open if record.hidden_detail is None else split.hidden).append(record)
    return split


def solved_by_problem(records: Iterable[EpisodeRecord]) -> dict[str, list[float]]:
    """1 or 0 for each episode that counts, by problem name, as the bootstrap takes it.

    A problem with infrastructure errors only has an empty list.
    """
    solved: dict[str, list[float]] = {}
    for record in records:
        values = solved.setdefault(record.problem, [])
        if record.stop is not StopReason.INFRA_ERROR:
            values.append(float(record.solved))
    return solved


def episode_statistics(
    records: Iterable[EpisodeRecord], turn_limit: int, *, code_changes: bool = True
) -> Statistics:
    """Statistics of episodes that were played with one turn limit.

    Args:
        records: Episodes in any order; several per problem are samples of it.
        turn_limit: The limit that they were played with.
        code_changes: Whether ``code_change`` is wanted, which takes milliseconds an episode and is
            the dearest by far; without it NaN.

    Returns:
        The statistics; without episodes, counts of 0 and rates of NaN.

    Raises:
        ValueError: ``turn_limit`` is below 1, or an episode is longer, or its turns have
            different numbers of public verdicts.
    """
    if turn_limit < 1:
        raise ValueError(f"turn_limit must be at least 1, not {turn_limit}")
    everything = list(records)
    counted = [record for record in everything if record.stop is not StopReason.INFRA_ERROR]
    for record in counted:
        if len(record.turns) > turn_limit:
            raise ValueError(
                f"an episode on problem {record.problem!r} has {len(record.turns)} turns, "
                f"but turn_limit is {turn_limit}"
            )
    solve_rates = tuple(_solve_rate(counted, k) for k in range(1, turn_limit + 1))
    turns = [turn for record in counted for turn in record.turns]
    programs = consecutive_programs(counted)
    repairs = repairs_by_problem(counted).values()
    return Statistics(
        turn_limit=turn_limit,
        episodes=len(counted),
        infra_errors=len(everything) - len(counted),
        problems=len({record.problem for record in counted}),
        solve_rate_by_turn=solve_rates,
        one_at_n=solve_rates[-1],
        repair_rate_by_turn=tuple(_repair_rate(counted, t) for t in range(1, turn_limit)),
        repair_rate=share(sum(part for part, _ in repairs), sum(whole for _, whole in repairs)),
        regression_rate=_regression_rate(counted),
        error_types_by_turn=tuple(_error_types(counted, t) for t in range(1, turn_limit + 1)),
        invalid_rate=mean([float(turn.program is None) for turn in turns]),
        repeated_rate=repeated_rate(programs),
        code_change=code_change(programs) if code_changes else math.nan,
        response_chars=mean([float(len(turn.response)) for turn in turns]),
        context_limit_rate=mean([float(r.stop is StopReason.CONTEXT_LIMIT) for r in counted]),
    )


def _solve_rate(records: Sequence[EpisodeRecord], k: int) -> float:
    """Share solved with at most k turns, averaged per problem first; NaN where one is unknown."""
    if not all(is_known(record, k) for record in records):
        return math.nan
    by_problem: defaultdict[str, list[float]] = defaultdict(list)
    for record in records:
        by_problem[record.problem].append(float(record.solved and len(record.turns) <= k))
    return mean([mean(values) for values in by_problem.values()])


def _repair_rate(records: Sequence[EpisodeRecord], turn: int) -> float:
    """Of the episodes with a turn after this one (counted from 1), the share solved there."""
    if not all(is_known(record, turn) for record in records):
        return math.nan
    reached = [record for record in records if len(record.turns) > turn]
    solved = sum(record.solved and len(record.turns) == turn + 1 for record in reached)
    return share(solved, len(reached))


def _regression_rate(records: Sequence[EpisodeRecord]) -> float:
    passed = lost = 0
    for record in records:
        for before, after in pairwise(record.turns):
            if before.program is None:
                continue
            verdicts = after.public_verdicts
            if after.program is None:
                verdicts = (Verdict.CE,) * len(before.public_verdicts)
            if len(verdicts) != len(before.public_verdicts):
                raise ValueError(
                    f"an episode on problem {record.problem!r} has turns with "
                    f"{len(before.public_verdicts)} and {len(verdicts)} public verdicts"
                )
            for old, new in zip(before.public_verdicts, verdicts, strict=True):
                passed += old is Verdict.AC
                lost += old is Verdict.AC and new is not Verdict.AC
    return share(lost, passed)


def _error_types(records: Sequence[EpisodeRecord], turn: int) -> dict[str, int]:
    """Causes of failure in the given turn (counted from 1), in alphabetical order."""
    counts: Counter[str] = Counter()
    for record in records:
        is_solved_here = record.solved and len(record.turns) == turn
        if len(record.turns) >= turn and not is_solved_here:
            counts[failure_cause(record, turn)] += 1
    return dict(sorted(counts.items()))


def failure_cause(record: EpisodeRecord, turn: int) -> str:
    """Why a turn (counted from 1) failed that did not solve its problem.

    As ``error_types_by_turn`` has it.
    """
    this = record.turns[turn - 1]
    if this.program is None:
        return "invalid"
    failing = (verdict for verdict in this.public_verdicts if verdict is not Verdict.AC)
    passed = "private" if turn == len(record.turns) else "unjudged"
    return next((verdict.value for verdict in failing), passed)


def is_known(record: EpisodeRecord, turns: int) -> bool:
    """Whether it is known how the episode would have ended with so many turns at most.

    It is not where a blind episode went on: its programs before the last were judged on the public
    tests only.
    """
    return len(record.turns) <= turns or not record.blind


def repairs_by_problem(
    records: Iterable[EpisodeRecord], turn_limit: int | None = None
) -> dict[str, tuple[float, float]]:
    """Turns that solved their problem, and all turns after the first, as ``ratio_interval`` takes.

    Args:
        records: Episodes; infrastructure errors do not count.
        turn_limit: Turns beyond it do not count.

    Returns:
        Problem name to two numbers; NaN for those with a blind episode of several turns.
    """
    found: dict[str, tuple[float, float]] = {}
    for record in records:
        if record.stop is StopReason.INFRA_ERROR:
            continue
        count = len(record.turns)
        last = count if turn_limit is None else min(count, turn_limit)
        repaired = float(record.solved and 1 < count == last)
        if not all(is_known(record, turn) for turn in range(1, last)):
            repaired = math.nan
        part, whole = found.get(record.problem, (0.0, 0.0))
        found[record.problem] = part + repaired, whole + max(0, last - 1)
    return found


def consecutive_programs(
    records: Iterable[EpisodeRecord], turn: int | None = None
) -> list[tuple[str, str]]:
    """Pairs of programs of turns that follow each other; with ``turn``, of that one and the next.

    Turns count from 1; where either has no program there is no pair.
    """
    return [
        (before.program, after.program)
        for record in records
        for number, (before, after) in enumerate(pairwise(record.turns), start=1)
        if turn in (None, number) and before.program is not None and after.program is not None
    ]


def repeated_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Share of pairs of programs that are identical."""
    return mean([float(before == after) for before, after in pairs])


def code_change(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean of 1 - chrF over pairs of programs."""
    return mean([_change(before, after) for before, after in pairs])


@lru_cache(maxsize=2**17)
def _change(before: str, after: str) -> float:
    if before == after:
        return 0.0
    from sacrebleu.metrics.chrf import CHRF

    score: float = CHRF().sentence_score(after, [before]).score
    return 1 - score / 100


def mean(values: Sequence[float]) -> float:
    """The mean, NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def share(part: float, whole: float) -> float:
    """``part / whole``, NaN of nothing."""
    return part / whole if whole else math.nan


def _json_value(value: object) -> object:
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
