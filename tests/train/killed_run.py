"""Trains in child processes, each killed at some moment, until one comes to the end.

Called by ``test_killed.py``: RUN_FOLDER DATA SEED KILLS. Prints the events of the last child.
"""

import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import rlef.run
from rlef.config import dump_config, load_config
from rlef.run import RunFolder
from rlef.train.loop import train
from rlef.train.recipe import TrainConfig


class Silent:
    def message(self, text: str) -> None:
        pass

    def update(self, metrics: Mapping[str, object]) -> None:
        pass


class Killer:
    """Counts what the process does to files of the run, and kills it at one of these moments."""

    def __init__(self, folder: Path, at: int | None, torn: int) -> None:
        self.folder, self.at, self.torn, self.count = str(folder), at, torn, 0
        sys.addaudithook(self.audit)
        self.fsync, rlef.run.os.fsync = os.fsync, self.sync  # type: ignore[attr-defined]

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        changes = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if event in changes and self.folder in str(args[0]):
            self.moment(None)

    def sync(self, descriptor: int) -> None:
        self.moment(descriptor)
        self.fsync(descriptor)

    def moment(self, descriptor: int | None) -> None:
        self.count += 1
        if self.count != self.at:
            return
        if descriptor is not None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if path.endswith(".jsonl"):  # what is not synced yet may be half on disk
                os.truncate(path, max(0, os.path.getsize(path) - self.torn))
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, data = Path(sys.argv[1]), f"jsonl:{sys.argv[2]}"
    draw, kills = random.Random(int(sys.argv[3])), int(sys.argv[4])
    config = load_config(
        TrainConfig,
        "mini",
        [
            *("updates=4", "rollout.batch=4", "learner.minibatch=2", "checkpoint_every=2"),
            *("rollout.max_new_tokens=24", "rollout.group=1", "rollout.turn_limit=2"),
            *("eval.random_feedback=false", "eval.every=2", "learner.lr=1e-3"),
            *(f"data.{split}={data}" for split in ("train", "valid", "test")),
        ],
    )
    run = RunFolder.create(folder, dump_config(config))
    for number in range(kills + 1):
        at = draw.randint(5, 150) if number < kills else None
        torn = draw.randint(1, 400)
        child = os.fork()
        if child == 0:
            killer = Killer(folder, at, torn)
            with run.lock():
                train(config, RunFolder.open(folder), Silent())
            print(number, killer.count, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    raise AssertionError("no child came to the end")


if __name__ == "__main__":
    main()
