"""Trains in child processes, each killed at some moment, but for the last, which comes to the end.

    python tests/train/killed_run.py RUN_FOLDER DATA SEED KILLS UPDATES [key=value ...]

A child dies as it changes a file (the end of one that grows is torn), as it hands weights to the
sampler, or by the clock. After each death: of the training rollouts that were on disk none is lost,
asked for again, or there twice, and no batch has changed. Prints where each child died.
"""

import os
import random
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from threading import Timer

import pyarrow.parquet as pq
from torch import Tensor

from rlef.config import dump_config, load_config
from rlef.engines import HFEngine, Weights
from rlef.rollout import EpisodeRequest
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.run.training import batch_paths
from rlef.train.loop import train
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig
from rlef.train.requests import RequestSource

sys.path.insert(0, str(Path(__file__).parents[1]))
from killer import Killer, Moments


class Kept:
    """What was on disk of the training rollouts when the last child had died."""

    def __init__(self) -> None:
        self.batches: dict[Path, bytes] = {}
        self.indices: set[int] = set()

    def look(self, run: RunFolder, size: int, asked: list[int]) -> None:
        """Looks again, and compares."""
        again = self.indices.intersection(asked)
        assert not again and len(set(asked)) == len(asked), f"asked for again: {again} of {asked}"
        batches = {path: path.read_bytes() for path in batch_paths(run.training_path)}
        assert self.batches.items() <= batches.items(), "a batch has changed"
        tables = [pq.read_table(path, columns=["index", "status"]) for path in batches]
        for table in tables:
            assert table["status"].to_pylist().count("taken") == size, "a batch of another size"
        indices = [index for table in tables for index in table["index"].to_pylist()]
        indices += Ledger(run.training_path).pending
        assert len(set(indices)) == len(indices), f"an index is there twice: {sorted(indices)}"
        assert self.indices <= set(indices), f"lost: {self.indices - set(indices)}"
        self.batches, self.indices = batches, set(indices)


def watch_weights(moments: Moments) -> None:
    """Makes moments of the handing over of weights."""
    load, take = HFEngine.load_weights, HFEngine._take

    def loading(engine: HFEngine, weights: Weights) -> None:
        moments.moment("weights not handed over yet")
        load(engine, weights)
        moments.moment("weights handed over")

    def taking(engine: HFEngine, version: int, new: Iterable[tuple[Tensor, Tensor]]) -> None:
        moments.moment("weights being taken")
        take(engine, version, new)

    HFEngine.load_weights, HFEngine._take = loading, taking  # type: ignore[assignment,method-assign]


def watch_requests(tell: int) -> None:
    """Tells which training rollouts are asked for."""
    request = RequestSource.request

    def telling(source: RequestSource, index: int) -> EpisodeRequest:
        os.write(tell, f"{index}\n".encode())
        return request(source, index)

    RequestSource.request = telling  # type: ignore[assignment,method-assign]


def work(run: RunFolder, config: TrainConfig, draw: random.Random, tell: int, last: bool) -> None:
    """Trains: what a child does, and all but the last one die of."""
    by = "nothing" if last else draw.choice(["file", "file", "weights", "clock"])
    at, torn, after_s = draw.randint(1, 70), draw.randint(1, 400), draw.uniform(0.1, 2.5)
    killer = Killer(run.path, at if by == "file" else None, torn, tell)
    watch_weights(Moments(draw.randint(1, 9) if by == "weights" else None, tell))
    watch_requests(tell)
    if by == "clock":
        timer = Timer(after_s, killer.die, (f"after {after_s:.1f} s",))
        timer.daemon = True
        timer.start()
    with run.lock():
        train(config, RunFolder.open(run.path), Silent())
    os.write(tell, f"the end, after {killer.count} changes of files\n".encode())
    os._exit(0)


def main() -> None:
    folder, data = Path(sys.argv[1]), f"jsonl:{sys.argv[2]}"
    draw, kills = random.Random(int(sys.argv[3])), int(sys.argv[4])
    config = load_config(
        TrainConfig,
        "mini",
        [
            *(
                f"updates={sys.argv[5]}",
                "rollout.batch=4",
                "learner.minibatch=2",
                "checkpoint_every=2",
            ),
            *("rollout.max_new_tokens=24", "rollout.group=1", "rollout.turn_limit=2"),
            *("eval.random_feedback=false", "eval.also=null", "eval.every=4", "learner.lr=1e-3"),
            *(f"data.{split}={data}" for split in ("train", "valid", "test")),
            *sys.argv[6:],
        ],
    )
    run, kept = RunFolder.create(folder, dump_config(config)), Kept()
    for number in range(kills + 1):
        seed = draw.random()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            work(run, config, random.Random(seed), write, last=number == kills)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        asked = [int(line) for line in lines if line.isdigit()]
        where = next(line for line in lines if not line.isdigit())
        _, status = os.waitpid(child, 0)
        kept.look(run, config.rollout.batch, asked)
        batches, indices = len(kept.batches), len(kept.indices)
        print(f"{number + 1}: {where}; {batches} batches, {indices} rollouts", flush=True)
        if status == 0:
            assert number == kills, f"the end after {number} kills"
            return
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    raise AssertionError("no child came to the end")


if __name__ == "__main__":
    main()
