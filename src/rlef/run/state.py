"""Whether a run goes on, is finished, or was stopped; found without touching it."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from rlef.run.folder import RunFolder, this_machine

State = Literal["running", "finished", "stopped", "empty"]
Locks = frozenset[tuple[str, str]]
_FRESH_S = 30.0
"""A run on another machine, whose lock is not seen here, changes at least so often: its log gets a
line every ten seconds."""


def run_state(run: RunFolder, locks: Locks | None = None) -> State:
    """What a run is at.

    Args:
        run: The run; whether its files can be read is not looked at.
        locks: As ``held_locks`` says; ``None``: look.
    """
    if is_running(run, held_locks() if locks is None else locks):
        return "running"
    if run.summary_path.is_file():
        return "finished"
    has_begun = (
        run.metrics_path.is_file() or run.has_training_rollouts() or bool(run.rollout_names())
    )
    return "stopped" if has_begun else "empty"


def is_running(run: RunFolder, locks: Locks) -> bool:
    """Whether a process writes to a run: here by its lock, elsewhere by what changes."""
    try:
        with run.lock_path.open("rb") as file:
            process, _, machine = file.read(400).decode("utf-8", "replace").strip().partition(" ")
            inode = str(os.fstat(file.fileno()).st_ino)
    except OSError:
        return False
    if (process, inode) in locks:
        return True
    changed = last_change(run) if machine != this_machine() else None
    return changed is not None and abs(time.time() - changed) < _FRESH_S


def held_locks() -> Locks:
    """Process and inode of every lock on a file that this machine's kernel tells of.

    Taking a run's lock to find out would, for a moment, keep a training from beginning.
    """
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return frozenset()
    words = [line.split() for line in lines]
    return frozenset((each[4], each[5].rpartition(":")[2]) for each in words if len(each) > 5)


def marks(run: RunFolder) -> list[tuple[int, float]]:
    """Sizes, and times in seconds since 1970, of what tells whether a run has changed."""
    training = run.training_path
    paths = [run.config_path, run.metrics_path, run.summary_path, run.log_path]
    paths += [training, training / "pending.bin", run.rollouts_path]
    with suppress(OSError), os.scandir(run.rollouts_path) as entries:
        paths += [Path(entry.path) for entry in entries if entry.name.endswith(".jsonl")]
    found = []
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_size, status.st_mtime))
    return found


def last_change(run: RunFolder) -> float | None:
    """When a file of a run was last written to, in seconds since 1970."""
    return max((at for _, at in marks(run)), default=None)
