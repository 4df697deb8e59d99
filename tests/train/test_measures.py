"""Metrics of a batch that say what became of its programs, and how fast."""

import math

import numpy as np
import pytest

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout
from rlef.sandbox import Verdict
from rlef.train.measures import rate_metrics, verdict_metrics

AC, WA, RE = Verdict.AC, Verdict.WA, Verdict.RE


def rollout(*turns: tuple[Verdict, ...] | None, final: Verdict | None = None, stop: str) -> Rollout:
    """Two tokens per turn; a turn is its public verdicts, ``None`` one without a program."""
    records = [
        TurnRecord(
            response="r",
            program=None if verdicts is None else "p",
            public_verdicts=verdicts or (),
            feedback=None,
        )
        for verdicts in turns
    ]
    count = len(turns)
    return Rollout(
        record=EpisodeRecord(
            problem="p",
            family=None,
            hidden_detail=None,
            turns=tuple(records),
            stop=StopReason(stop),
            solved=final is AC,
            final_verdict=final,
        ),
        token_ids=np.zeros(3 * count, np.int32),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=np.array([t for turn in range(count) for t in (-1, turn, turn)], np.int32),
        logprobs=np.zeros(3 * count, np.float32),
        prompt_ends=np.arange(0, 3 * count, 3, dtype=np.int32),
        rewards=np.zeros(count, np.float32),
        policy_versions=np.zeros(count, np.int64),
        seed=0,
    )


BATCH = [
    rollout((WA, AC), (AC, AC), final=AC, stop="public_passed"),
    rollout((AC, AC), final=WA, stop="public_passed"),
    rollout((WA, AC), (AC, RE), stop="turn_limit"),
    rollout((WA, WA), None, stop="turn_limit"),
    rollout(stop="infra_error"),
]


def test_each_rollout_ends_in_one_way() -> None:
    found = verdict_metrics(BATCH)
    assert {key: value for key, value in found.items() if value} == {
        "verdict/AC": 0.2,
        "verdict/WA": 0.2,
        "verdict/RE": 0.2,
        "verdict/none": 0.2,
        "verdict/IE": 0.2,
    }
    assert sum(found.values()) == pytest.approx(1.0)
    assert len(found) == len(Verdict) + 1  # the same keys in every batch


def test_rates_are_over_the_whole_batch() -> None:
    timing = {"rollout_s": 3.0, "update_s": 1.0, "generate_s": 2.0}
    assert rate_metrics(BATCH, timing) == {"tokens_per_s": 14 / 4, "tests_per_s": 12 / 4}
    repeated = rate_metrics(BATCH, {**timing, "generate_s": 0.0})
    assert all(map(math.isnan, repeated.values()))
