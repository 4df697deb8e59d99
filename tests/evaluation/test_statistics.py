import dataclasses
import json
import math

import pytest
from sacrebleu.metrics.chrf import CHRF

from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.evaluation import (
    Statistics,
    episode_statistics,
    solved_by_problem,
    split_by_hidden_detail,
)
from rlef.sandbox.types import Verdict

AC, WA, RE, TLE, IE = Verdict.AC, Verdict.WA, Verdict.RE, Verdict.TLE, Verdict.IE


def turn(program: str | None, *verdicts: Verdict) -> TurnRecord:
    response = f"<{program}>" if program else "no"
    return TurnRecord(response=response, program=program, public_verdicts=verdicts, feedback=None)


def episode(
    problem: str, *turns: TurnRecord, solved: bool = False, hidden: str | None = None
) -> EpisodeRecord:
    verdicts = turns[-1].public_verdicts if turns else ()
    is_public_passed = bool(verdicts) and all(verdict is AC for verdict in verdicts)
    return EpisodeRecord(
        problem=problem,
        family=None,
        hidden_detail=hidden,
        turns=turns,
        stop=StopReason.PUBLIC_PASSED if is_public_passed else StopReason.TURN_LIMIT,
        solved=solved,
        final_verdict=AC if solved else WA,
    )


INFRA = EpisodeRecord(
    problem="broken",
    family=None,
    hidden_detail=None,
    turns=(turn("print(9)", IE),),
    stop=StopReason.INFRA_ERROR,
    solved=False,
    final_verdict=IE,
)

RECORDS = [
    episode("easy", turn("aa", AC, AC), solved=True),
    episode("easy", turn("bb", AC, AC), solved=True),
    episode("easy", turn("cc", WA, TLE), turn("dddd", AC, AC), solved=True, hidden="no spaces"),
    episode("easy", turn("ee", AC, AC)),  # public passed, private not
    episode("hard", turn("ff", AC, WA), turn("gg", RE, AC), turn("gg", RE, AC)),
    episode("hard", turn(None), turn("hh", AC, WA), turn(None), hidden="upper case"),
    INFRA,
]


def test_counts_and_solve_rates() -> None:
    statistics = episode_statistics(RECORDS, turn_limit=3)
    assert (statistics.episodes, statistics.infra_errors, statistics.problems) == (6, 1, 2)
    # easy: 2 of 4, then 3 of 4; hard: never. Averaged over the two problems.
    assert statistics.solve_rate_by_turn == (0.25, 0.375, 0.375)
    assert statistics.one_at_n == 0.375


def test_repairs_and_regressions() -> None:
    statistics = episode_statistics(RECORDS, turn_limit=3)
    # Three episodes have a second turn, one is solved there; two have a third.
    assert statistics.repair_rate_by_turn == (pytest.approx(1 / 3), 0.0)
    assert statistics.repair_rate == pytest.approx(1 / 5)
    # Passed before a later turn: ff's first, gg's second, hh's first; lost: ff's and hh's.
    assert statistics.regression_rate == pytest.approx(2 / 3)


def test_a_repair_belongs_to_the_turn_that_made_it() -> None:
    late = episode("p", turn("a", WA), turn("b", WA), turn("c", AC), solved=True)
    assert episode_statistics([late], 3).repair_rate_by_turn == (0.0, 1.0)
    assert episode_statistics([late], 3).repair_rate == 0.5


def test_error_types() -> None:
    statistics = episode_statistics(RECORDS, turn_limit=3)
    assert statistics.error_types_by_turn == (
        {"WA": 2, "invalid": 1, "private": 1},
        {"RE": 1, "WA": 1},
        {"RE": 1, "invalid": 1},
    )
    assert statistics.invalid_rate == pytest.approx(2 / 11)


def test_programs_and_responses() -> None:
    statistics = episode_statistics(RECORDS, turn_limit=3)
    # Pairs of programs: cc-dddd, ff-gg, gg-gg; nothing in common but in the last.
    assert statistics.repeated_rate == pytest.approx(1 / 3)
    assert statistics.code_change == pytest.approx(2 / 3)
    assert statistics.response_chars == pytest.approx((8 * 4 + 6 + 2 * 2) / 11)


def test_episodes_without_room_for_another_answer() -> None:
    full = dataclasses.replace(RECORDS[0], stop=StopReason.CONTEXT_LIMIT)
    assert episode_statistics(RECORDS, 3).context_limit_rate == 0
    assert episode_statistics([full, *RECORDS[1:]], 3).context_limit_rate == pytest.approx(1 / 6)


def test_code_change_is_one_minus_chrf() -> None:
    before, after = "n = int(input())\nprint(n)", "n = int(input())\nprint(2 * n)"
    records = [episode("p", turn(before, WA), turn(after, WA))]
    expected = 1 - CHRF().sentence_score(after, [before]).score / 100
    assert episode_statistics(records, 2).code_change == pytest.approx(expected)
    without = dataclasses.replace(episode_statistics(records, 2), code_change=math.nan)
    assert episode_statistics(records, 2, code_changes=False).to_json() == without.to_json()
    assert 0.05 < expected < 0.5


def cut(record: EpisodeRecord, limit: int) -> EpisodeRecord:
    """The episode as a lower turn limit would have ended it."""
    if len(record.turns) <= limit:
        return record
    return dataclasses.replace(record, turns=record.turns[:limit], solved=False)


def test_solve_rate_by_turn_is_what_a_lower_limit_gives() -> None:
    full = episode_statistics(RECORDS, 3)
    for limit in (1, 2):
        lower = episode_statistics([cut(record, limit) for record in RECORDS], limit)
        assert lower.solve_rate_by_turn == full.solve_rate_by_turn[:limit]
        assert lower.error_types_by_turn == full.error_types_by_turn[:limit]
        assert lower.repair_rate_by_turn == full.repair_rate_by_turn[: limit - 1]


def test_infrastructure_errors_change_nothing_but_their_count() -> None:
    without = episode_statistics(RECORDS[:-1], 3)
    assert dataclasses.replace(without, infra_errors=1) == episode_statistics(RECORDS, 3)


def test_undefined_is_nan_and_null_in_json() -> None:
    statistics = episode_statistics([INFRA], turn_limit=2)
    assert (statistics.episodes, statistics.infra_errors) == (0, 1)
    record = json.loads(json.dumps(statistics.to_json(), allow_nan=False))
    assert record == {
        "turn_limit": 2,
        "episodes": 0,
        "infra_errors": 1,
        "problems": 0,
        "solve_rate_by_turn": [None, None],
        "one_at_n": None,
        "repair_rate_by_turn": [None],
        "repair_rate": None,
        "regression_rate": None,
        "error_types_by_turn": [{}, {}],
        "invalid_rate": None,
        "repeated_rate": None,
        "code_change": None,
        "response_chars": None,
        "context_limit_rate": None,
    }
    assert list(record) == [field.name for field in dataclasses.fields(Statistics)]


def test_single_turns_have_nothing_to_repair() -> None:
    statistics = episode_statistics(RECORDS[:1], turn_limit=1)
    assert statistics.repair_rate_by_turn == ()
    assert math.isnan(statistics.repair_rate)
    assert math.isnan(statistics.regression_rate)
    assert math.isnan(statistics.code_change)


def test_an_episode_without_turns_counts_as_unsolved() -> None:
    statistics = episode_statistics([*RECORDS[:1], episode("long")], turn_limit=1)
    assert statistics.solve_rate_by_turn == (0.5,)
    assert statistics.error_types_by_turn == ({},)


def test_split_by_hidden_detail() -> None:
    split = split_by_hidden_detail(RECORDS)
    assert [record.hidden_detail for record in split.hidden] == ["no spaces", "upper case"]
    assert len(split.open) == 5
    assert episode_statistics(split.hidden, 3).solve_rate_by_turn == (0.0, 0.5, 0.5)


def test_solved_by_problem() -> None:
    assert solved_by_problem(RECORDS) == {
        "easy": [1.0, 1.0, 1.0, 0.0],
        "hard": [0.0, 0.0],
        "broken": [],
    }


def test_refusals() -> None:
    with pytest.raises(ValueError, match="problem 'hard' has 3 turns, but turn_limit is 2"):
        episode_statistics(RECORDS, turn_limit=2)
    with pytest.raises(ValueError, match="turn_limit must be at least 1"):
        episode_statistics(RECORDS, turn_limit=0)
    with pytest.raises(ValueError, match="problem 'p' has turns with 2 and 1 public verdicts"):
        episode_statistics([episode("p", turn("a", WA, WA), turn("b", WA))], 2)
