"""What a training rollout costs on disk: bytes and time, in the ledger and as a line of JSON.

Rollouts are made up: Zipf's law for tokens, words for text, exponential log-probabilities.

usage: python benchmarks/rollout_files.py [ROLLOUTS [READ]]     # 256; rows to read, none
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.rollout.records import episode_to_json
from rlef.run import RunFolder, json_value
from rlef.run.training import SCHEMA, read_training_rollouts
from rlef.sandbox import Verdict

TURNS, PROMPT, ANSWER = 3, 1667, 1000
WORDS = Path(__file__).read_text().split(" ")


def text(draw: np.random.Generator, tokens: int) -> str:
    return " ".join(draw.choice(WORDS, tokens // 2))


def make(number: int, turns: int = TURNS, prompt: int = PROMPT, answer: int = ANSWER) -> Rollout:
    draw = np.random.default_rng(number)
    turn_ids = np.concatenate([np.repeat([-1, turn], [prompt, answer]) for turn in range(turns)])
    logprobs = np.where(turn_ids < 0, 0, -draw.exponential(0.3, len(turn_ids)))
    record = EpisodeRecord(
        problem=f"problem-{number // 16}",
        family=None,
        hidden_detail=None,
        turns=tuple(
            TurnRecord(
                response=text(draw, answer),
                program=text(draw, answer // 2),
                public_verdicts=(Verdict.AC, Verdict.WA),
                feedback=text(draw, 100),
                prompt_tokens=prompt,
                completion_tokens=answer,
            )
            for _ in range(turns)
        ),
        stop=StopReason.TURN_LIMIT,
        solved=False,
        final_verdict=Verdict.WA,
        passed_share=0.5,
    )
    return Rollout(
        record=record,
        token_ids=(draw.zipf(1.2, len(turn_ids)) % 150_000).astype(np.int32),
        sequence_starts=np.zeros(1, np.int32),
        turn_ids=turn_ids.astype(np.int32),
        logprobs=logprobs.astype(np.float32),
        prompt_ends=(np.arange(turns) * (prompt + answer) + prompt - 1).astype(np.int32),
        rewards=np.zeros(turns, np.float32),
        policy_versions=np.full(turns, number // 1024),
        seed=number,
    )


def line(rollout: Rollout) -> bytes:
    """What was written before there was a ledger: log-probabilities of sampled tokens only."""
    rest: dict[str, Any] = {
        "token_ids": rollout.token_ids.tolist(),
        "logprobs": rollout.logprobs[rollout.turn_ids >= 0].tolist(),
        "prompt_ends": rollout.prompt_ends.tolist(),
        "rewards": rollout.rewards.tolist(),
    }
    return json.dumps(json_value({**episode_to_json(rollout.record), **rest})).encode() + b"\n"


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Its result, the seconds of CPU, and of the wall."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def show(what: str, cpu: float, wall: float, size: float, count: int) -> None:
    print(
        f"{what:32} {cpu / count * 1e3:7.2f} ms of CPU {wall / count * 1e3:7.2f} ms "
        f"{size / count / 1e3:7.1f} kB per rollout"
    )


def write(folder: Path, count: int) -> None:
    rollouts = [make(number) for number in range(count)]
    with (folder / "lines.jsonl").open("ab") as file:

        def append() -> None:
            for rollout in rollouts:
                file.write(line(rollout))
                file.flush()
                os.fsync(file.fileno())

        _, cpu, wall = timed(append)
    show("line of JSON", cpu, wall, (folder / "lines.jsonl").stat().st_size, count)
    warm = Ledger(folder / "warm")
    warm.add([(0, rollouts[0])])
    warm.take(1, in_order=True)
    ledger = Ledger(folder / "train")

    def add() -> None:
        for index, rollout in enumerate(rollouts):
            ledger.add([(index, rollout)])

    _, cpu, wall = timed(add)
    show("ledger: add, one by one", cpu, wall, (folder / "train/pending.bin").stat().st_size, count)
    _, cpu, wall = timed(lambda: ledger.take(count, in_order=True))
    file = folder / "train" / "batch-000000.parquet"
    show("ledger: take", cpu, wall, file.stat().st_size, count)
    _, cpu, wall = timed(lambda: Ledger(folder / "train").batch(0))
    show("ledger: read again", cpu, wall, file.stat().st_size, count)


def read(folder: Path, rows: int, batch: int = 1000) -> None:
    """Rollouts of 600 tokens, so that many fit on a disk."""
    run = RunFolder.create(folder / "run", config="seed: 0")
    ledger = Ledger(run.training_path)
    rollouts = [make(number, prompt=100, answer=100) for number in range(batch)]
    for number in range(rows // batch):
        ledger.add([(number * batch + i, rollout) for i, rollout in enumerate(rollouts)])
        ledger.take(batch, in_order=True)
    columns = ["index", "batch", "problem", "stop", "solved"]
    for what, names in (("a few", columns), ("text", None), ("all", SCHEMA.names)):
        table, cpu, wall = timed(lambda names=names: read_training_rollouts(run, names))
        print(
            f"{what:6} columns of {table.num_rows} rows: {wall:.2f} s, {cpu:.2f} s of CPU, "
            f"{table.nbytes / 1e6:.0f} MB"
        )
        del table
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def main() -> None:
    count, rows = (*map(int, sys.argv[1:]), *(256, 0)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count)
        if rows:
            read(Path(folder), rows)


if __name__ == "__main__":
    main()
