"""Whether the files of a training's batches are whole, by their ends alone."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rlef.run.training import batch_path

_BATCH = re.compile(r"batch-(\d{6,9})\.parquet")
_MAGIC = b"PAR1"
_ENDS = 12
"""Bytes of a Parquet file that are not data: a mark, the footer's length, the mark again."""
_EVERY_S = 10.0


class BatchFile(NamedTuple):
    """A batch's file, and what tells whether it is still the same."""

    number: int
    size: int
    mtime_ns: int


def batch_files(folder: Path, allowed: Callable[[Path], bool]) -> tuple[BatchFile, ...]:
    """The files of a training's batches, in order.

    Args:
        folder: ``RunFolder.training_path``.
        allowed: Whether a file may be read, for one that is a link.
    """
    return tuple(sorted(_found(folder, allowed)))


def _found(folder: Path, allowed: Callable[[Path], bool]) -> Iterator[BatchFile]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                match = _BATCH.fullmatch(entry.name)
                if match and (not entry.is_symlink() or allowed(Path(entry.path))):
                    status = entry.stat()
                    yield BatchFile(int(match[1]), status.st_size, status.st_mtime_ns)
    except OSError:  # no folder yet, or a file that was just renamed: the next call sees it
        return


def first_gap(folder: Path, files: tuple[BatchFile, ...]) -> str | None:
    """One line on the first batch that is missing among its followers, if any."""
    for number, file in enumerate(files):
        if file.number != number:
            return f"{batch_path(folder, number)} is missing"
    return None


class BatchCheck:
    """Looks for batches that are missing, empty or cut short, as a full disk or a copy leaves them.

    No file is read but for its first and last bytes, and these once; so damage inside is not seen.

    Args:
        folder: ``RunFolder.training_path``.
        allowed: Whether a file may be read, for one that is a link.
    """

    def __init__(self, folder: Path, allowed: Callable[[Path], bool]) -> None:
        self._folder, self._allowed = folder, allowed
        self._lock = threading.Lock()
        self._whole: set[BatchFile] = set()
        self._seen: int | None = None
        self._looked = 0.0
        self._found: str | None = None

    def damage(self) -> str | None:
        """One line on the first file that is not whole, if any."""
        with self._lock:
            try:
                seen = self._folder.stat().st_mtime_ns
            except OSError:
                return None
            if seen != self._seen or time.monotonic() - self._looked > _EVERY_S:
                self._found = self._look()
                self._seen, self._looked = seen, time.monotonic()
            return self._found

    def _look(self) -> str | None:
        files = batch_files(self._folder, self._allowed)
        self._whole &= set(files)
        for file in files:
            if file not in self._whole:
                what = _fault(batch_path(self._folder, file.number), file.size)
                if what is not None:
                    return what
                self._whole.add(file)
        return first_gap(self._folder, files)


def _fault(path: Path, size: int) -> str | None:
    if size == 0:
        return f"{path} is damaged (it is empty)"
    try:
        with path.open("rb") as file:
            first = file.read(4)
            file.seek(max(0, size - 8))
            last = file.read(8)
    except OSError as error:
        return f"{path} is damaged ({error.strerror})"
    footer = int.from_bytes(last[:4], "little")
    is_whole = first == last[4:] == _MAGIC and size >= _ENDS + footer
    return None if is_whole else f"{path} is damaged (it is cut short, or no Parquet file)"
