"""Files that a run is made of: whether one is still what it was, as ``inputs.jsonl`` notes it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from rlef.run.files import Record, RunError
from rlef.run.folder import RunFolder


def noted(path: Path, setting: str) -> Record:
    """What is noted of a file.

    Args:
        path: The file; it is read as a whole.
        setting: That names it.

    Raises:
        OSError: It cannot be read.
    """
    stat = path.stat()
    return {
        "path": str(path),
        "setting": setting,
        "sha256": _sha256(path),
        "bytes": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
    }


def looks_unchanged(path: Path, note: Mapping[str, object]) -> bool:
    """Whether a file has the size and the time that were noted, which takes no reading.

    Raises:
        OSError: It is not there.
    """
    stat = path.stat()
    return (note.get("bytes"), note.get("modified_ns")) == (stat.st_size, stat.st_mtime_ns)


def is_unchanged(path: Path, note: Mapping[str, object]) -> bool:
    """Whether a file is what was noted; it is read only where its time is another.

    Raises:
        OSError: It cannot be read.
    """
    if looks_unchanged(path, note):
        return True
    return note.get("bytes") == path.stat().st_size and note.get("sha256") == _sha256(path)


def refuse_changed(run: RunFolder, files: Mapping[str, Path | None], allowed: str) -> None:
    """Makes sure that files hold what those held that a run began with.

    Args:
        run: The run; what it has no note of may be anything.
        files: By the settings that name them; ``None``: they are where they were then.
        allowed: What the error says is.

    Raises:
        RunError: One is another, or not there. One line.
        RunDamagedError: What was noted cannot be read.
    """
    for note in run.read_inputs():
        setting = str(note.get("setting"))
        if setting not in files:
            continue
        path = files[setting] or Path(str(note.get("path")))
        if path.is_file() and is_unchanged(path, note):
            continue
        what = "is not what it was" if path.is_file() else "is gone, which was there"
        raise RunError(f"{path} ({setting}) {what} when {run.path} began; allowed: {allowed}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
