from dataclasses import replace

import pytest

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.evaluation.stage import stage_summary
from rlef.sandbox import Verdict

WA, AC = Verdict.WA, Verdict.AC


def make_record(
    problem: str, turns: int, solved: bool, hidden: str | None = None, infra: bool = False
) -> EpisodeRecord:
    verdicts = [WA] * (turns - 1) + [AC if solved else WA]
    stop = StopReason.PUBLIC_PASSED if solved else StopReason.TURN_LIMIT
    return EpisodeRecord(
        problem=problem,
        family=None,
        hidden_detail=hidden,
        turns=tuple(
            TurnRecord(response="r", program="p", public_verdicts=(v,), feedback=None)
            for v in verdicts
        ),
        stop=StopReason.INFRA_ERROR if infra else stop,
        solved=solved,
        final_verdict=AC if solved else None,
    )


def test_a_stage_by_hand() -> None:
    records = [
        make_record("a", 1, solved=True),
        make_record("b", 2, solved=True, hidden="separator"),
        make_record("c", 3, solved=False, hidden="separator"),
        make_record("d", 3, solved=True),
        make_record("e", 2, solved=False, infra=True),
    ]
    stage = stage_summary(records, turn_limit=3)
    assert stage["solve"]["mean"] == pytest.approx(3 / 4)
    assert [r["mean"] for r in stage["solve_rate_by_turn"]] == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    # later turns: b 1 (repaired), c 2 (none), d 2 (the last)
    assert stage["repair_rate"]["mean"] == pytest.approx(2 / 5)
    assert stage["repair_rate"]["mean"] == pytest.approx(stage["statistics"]["repair_rate"])
    assert stage["hidden"]["solve"]["mean"] == pytest.approx(1 / 2)
    assert stage["hidden"]["repair_rate"]["mean"] == pytest.approx(1 / 3)
    for rate in (stage["solve"], stage["repair_rate"]):
        assert rate["low"] <= rate["mean"] <= rate["high"]


def test_problems_without_hidden_details_have_no_such_rows() -> None:
    assert stage_summary([make_record("a", 1, solved=True)], turn_limit=3)["hidden"] == {}


def test_as_many_independent_answers_by_hand() -> None:
    records = [
        # a: of three first answers one is right and one passes the public tests only
        make_record("a", 1, solved=True),
        replace(make_record("a", 1, solved=True), solved=False),
        make_record("a", 3, solved=True),
        # b: no first answer is right, two episodes are repaired
        make_record("b", 2, solved=True),
        make_record("b", 3, solved=False),
        make_record("b", 3, solved=True),
        make_record("b", 1, solved=False, infra=True),
    ]
    found = stage_summary(records, turn_limit=3)["independent"]
    # a: of the two that pass the public tests one is right; b: none
    assert found["solve"]["mean"] == pytest.approx((1 / 2 + 0) / 2)
    # with turns: a 2 of 3, b 2 of 3
    assert found["difference"]["mean"] == pytest.approx((2 / 3 - 1 / 2 + 2 / 3) / 2)
    assert found["difference"]["low"] == pytest.approx(2 / 3 - 1 / 2)
    assert found["difference"]["high"] == pytest.approx(2 / 3)


def test_independent_answers_need_an_episode_per_turn() -> None:
    records = [make_record("a", 1, solved=True)] * 2
    assert stage_summary(records, turn_limit=3)["independent"] == {}
    assert stage_summary(records, turn_limit=1)["independent"] == {}
    assert stage_summary(records, turn_limit=2)["independent"]["solve"]["mean"] == 1
    assert stage_summary([], turn_limit=3)["independent"] == {}
