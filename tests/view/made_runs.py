"""Run folders made by hand, and a reader that looks at them without the viewer."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.rollout.records import episode_to_json
from rlef.run import RunFolder
from rlef.run.scores import SCORES, scores_path, write_scores
from rlef.sandbox import Verdict

CONFIG = {
    "name": "by-hand",
    "seed": 0,
    "model": {"name": "mini"},
    "updates": 8,
    "data": {"train": "jsonl:elsewhere.jsonl", "test": "jsonl:elsewhere.jsonl"},
    "rollout": {"batch": 8, "turn_limit": 3, "prompts": "mini"},
    "learner": {"minibatch": 4},
}
WRONG = "Wrong answer.\nInput:\n2 3\nExpected output:\n5\nYour output:\n6\nTry again."
HOSTILE = "<script>alert(1)</script>\x1b[31m\0\u202e \ud800 \U0010ffff‮"


def turn(outcome: str, response: str, feedback: str | None = WRONG) -> TurnRecord:
    has_program = outcome != "none"
    verdicts = {"none": (), "AC": (Verdict.AC, Verdict.AC)}
    return TurnRecord(
        response=response,
        program=f"print({len(response)})" if has_program else None,
        public_verdicts=verdicts.get(outcome, (Verdict.AC, Verdict(outcome or "AC")))
        if has_program
        else (),
        feedback=feedback,
        prompt_tokens=5,
        completion_tokens=3,
    )


def record(
    problem: str, outcomes: list[str], *, solved: bool = False, said: str = "an answer"
) -> EpisodeRecord:
    last = len(outcomes) - 1
    turns = tuple(
        turn(outcome, f"{said} {t}", None if t == last else WRONG)
        for t, outcome in enumerate(outcomes)
    )
    passed = outcomes[-1] == "AC"
    final = None if not passed else Verdict.AC if solved else Verdict.WA
    stop = StopReason.PUBLIC_PASSED if passed else StopReason.TURN_LIMIT
    if outcomes[-1] == "IE":
        stop = StopReason.INFRA_ERROR
    return EpisodeRecord(
        problem=problem,
        family=problem.partition("/")[0],
        hidden_detail=None,
        turns=turns,
        stop=stop,
        solved=solved,
        final_verdict=final,
    )


def rollout(index: int, of: EpisodeRecord) -> Rollout:
    """Of each turn 5 tokens of a prompt and 3 that were sampled."""
    turns = len(of.turns)
    turn_ids = np.concatenate([[-1] * 5 + [t] * 3 for t in range(turns)]).astype(np.int32)
    tokens = np.arange(10, 10 + len(turn_ids), dtype=np.int32)
    logprobs = np.where(turn_ids >= 0, -0.5 - np.arange(len(tokens)) / 64, 0)
    return Rollout(
        record=of,
        token_ids=tokens,
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=turn_ids,
        logprobs=logprobs.astype(np.float32),
        prompt_ends=np.arange(4, 8 * turns, 8, dtype=np.int32),
        rewards=np.array([0.0] * (turns - 1) + [1.0 if of.solved else -1.0], np.float32),
        policy_versions=np.full(turns, index // 8 * 2, np.int64),
        seed=2**62 + index,
    )


def random_records(count: int, seed: int) -> list[EpisodeRecord]:
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        outcomes = ["AC"]
        while len(outcomes) < 3 and draw.random() < 0.6:
            outcomes.insert(0, draw.choice(["WA", "RE", "TLE", "none"]))
        if draw.random() < 0.3:
            outcomes = [*outcomes[1:], draw.choice(["WA", "none", "IE"])][:3]
        solved = outcomes[-1] == "AC" and draw.random() < 0.8
        said = draw.choice(["plain", "with a needle in it", HOSTILE])
        found.append(record(f"sums/{draw.randrange(6)}", outcomes, solved=solved, said=said))
    return found


def make_training(path: Path, batches: int = 3, pending: int = 3, **changes: Any) -> RunFolder:
    """A training with batches of 8, of which one rollout is too old, and some in no batch."""
    run = RunFolder.create(path, json.dumps(CONFIG | changes))
    ledger = Ledger(run.training_path)
    records = random_records(8 * batches + pending + 3, seed=changes.get("seed", 0))
    records[2] = record("sums/0", ["WA", "AC"], solved=True)
    for number in range(batches):
        first = 8 * number
        ledger.add([(i, rollout(i, records[i])) for i in range(first, first + 8)])
        if number == 1:  # one that is too old for it
            ledger.add([(900, rollout(900, records[-1]))])
        ledger.take(8, in_order=False, too_old=lambda one: one.seed == 2**62 + 900)
        run.append_metrics({"update": 2 * number + 2, "solve_rate": number / 4, "kl": float("nan")})
    first = 8 * batches
    ledger.add([(i, rollout(i, records[i])) for i in range(first, first + pending)])
    rows = [
        {
            **{"index": i, "update": 2, "values": [0.5, 0.25, 0.125], "returns": [1.0, 1.0, 1.0]},
            **{"advantages": [2.0, 3.0, 4.0], "kl": None, "ref_logprobs": None},
            "policy_logprobs": [float(k) for k in range(24)],
        }
        for i in (8, 9)
    ]
    if batches > 1:
        write_scores(scores_path(run.training_path, 1), pa.Table.from_pylist(rows, SCORES))
    return run


def lines(records: list[EpisodeRecord], **more: Any) -> list[dict[str, Any]]:
    return [
        {**episode_to_json(each), "place": i, "sample": 0, "statement": f"Add {i}.", **more}
        for i, each in enumerate(records)
    ]


def make_evaluation(path: Path, count: int = 40, seed: int = 5) -> RunFolder:
    options = {"model": "mini", "data": "jsonl:elsewhere.jsonl", "turns": 3, "seed": 1}
    run = RunFolder.create(path, json.dumps(options))
    run.append_rollouts("eval", lines(random_records(count, seed), problem_hash="h"))
    return run


def rows_of(run: RunFolder) -> list[dict[str, Any]]:
    """All rows of batches, by pyarrow."""
    tables = [pq.read_table(path) for path in sorted(run.training_path.glob("batch-*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def outcome_of(verdicts: list[str]) -> str:
    return next((v for v in verdicts if v != "AC"), "AC") if verdicts else "none"
