"""A ledger whose process is killed at each moment at which it changes a file.

Called by ``test_ledger.py``: FOLDER IN_ORDER. Prints how many moments there are.
"""

import os
import signal
import sys
from ast import literal_eval
from itertools import count, islice
from pathlib import Path

from some_rollouts import make_rollout, same

from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1]))
from killer import Killer

SIZE, BATCHES = 3, 4


def is_old(rollout: Rollout) -> bool:
    return rollout.seed % 4 == 0


def play(folder: Path, in_order: bool, tell: int) -> None:
    """Goes on until the last batch; tells what has been promised."""
    ledger = Ledger(folder)
    asked = ledger.unseen()
    while ledger.batches < BATCHES:
        indices = list(islice(asked, 2))[::-1]  # the later one comes first
        ledger.add([(index, make_rollout(index)) for index in indices])
        os.write(tell, f"added {indices}\n".encode())
        taken = ledger.take(SIZE, in_order=in_order, too_old=is_old)
        if taken is not None:
            os.write(tell, f"taken {taken.number} {taken.indices}\n".encode())


def check(folder: Path, told: str) -> None:
    """What was promised is there, each once, and as it was."""
    ledger = Ledger(folder)
    batches = [ledger.batch(number) for number in range(ledger.batches)]
    for line in told.splitlines():
        word, *rest = line.split(maxsplit=1)
        if word == "added":
            assert all(ledger.has(index) for index in literal_eval(rest[0])), told
        else:
            number, indices = rest[0].split(maxsplit=1)
            assert batches[int(number)].indices == literal_eval(indices), told
    there = [index for batch in batches for index in batch.indices] + list(ledger.pending)
    assert len(set(there)) == len(there), there
    for batch in batches:
        assert len(batch.rollouts) == SIZE
        for index, rollout in zip(batch.indices, batch.rollouts, strict=True):
            assert same(rollout, make_rollout(index)) and not is_old(rollout)


def main() -> None:
    place, in_order = Path(sys.argv[1]), sys.argv[2] == "in_order"
    for at in count(1):
        folder = place / str(at) / "train"
        told = b""
        for kill_at in (at, None):  # what one process left another goes on with
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                Killer(place, kill_at, torn=1 + 13 * at)
                play(folder, in_order, write)
                os._exit(0)
            os.close(write)
            with os.fdopen(read, "rb") as pipe:
                told += pipe.read()
            _, status = os.waitpid(child, 0)
            assert status == 0 or (kill_at and os.WTERMSIG(status) == signal.SIGKILL), status
            check(folder, told.decode())
            if kill_at and status == 0:
                print(at - 1)
                return


if __name__ == "__main__":
    main()
