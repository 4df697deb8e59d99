"""Whether a run goes on, is finished, or was stopped; found without touching it."""

from pathlib import Path
from typing import Literal

from rlef.run.folder import RunFolder

State = Literal["running", "finished", "stopped", "empty"]
Locks = frozenset[tuple[str, str]]


def run_state(run: RunFolder, locks: Locks | None = None) -> State:
    """What a run is at. One that runs on another machine counts as stopped.

    Args:
        run: The run; whether its files can be read is not looked at.
        locks: As ``held_locks`` says; ``None``: look.
    """
    if is_locked(run.path, held_locks() if locks is None else locks):
        return "running"
    if run.summary_path.is_file():
        return "finished"
    return "empty" if run.is_untouched() else "stopped"


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


def is_locked(folder: Path, locks: Locks) -> bool:
    """Whether one of the locks is that of a run's folder."""
    path = folder / ".lock"
    try:
        with path.open("rb") as file:
            process = file.read(20).decode("ascii", "replace").strip()
        return (process, str(path.stat().st_ino)) in locks
    except OSError:
        return False
