"""The lines of ``metrics.jsonl``, read as they come."""

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from rlef.run.files import Record
from rlef.view.errors import ViewError

_TAIL = 65536
"""Bytes: some dozens of lines, among them the one that a run rewrites last."""


class MetricLines:
    """The lines of a run's metrics.

    Args:
        path: The file.
        allowed: Whether it may be read, for one that is a link.
    """

    def __init__(self, path: Path, allowed: Callable[[Path], bool]) -> None:
        self._path, self._allowed = path, allowed
        self._lock = threading.Lock()
        self._lines: list[Record] = []
        self._end = self._inode = 0
        self._tail = b""  # what stands before the end: a file that was rewritten may get the inode

    def all(self) -> list[Record]:
        """All whole lines, in order; none where there is no file.

        Raises:
            ViewError: One is damaged.
        """
        with self._lock:
            try:
                if self._path.is_symlink() and not self._allowed(self._path):
                    return []
                status = self._path.stat()
                if status.st_ino != self._inode or status.st_size < self._end:
                    self._forget()  # a run that goes on has dropped some
                self._inode = status.st_ino
                if not stat.S_ISREG(status.st_mode):
                    raise ViewError(409, f"{self._path} is no file")
                with self._path.open("rb") as file:
                    file.seek(self._end - len(self._tail))
                    if file.read(len(self._tail)) != self._tail:
                        self._forget()
                        file.seek(0)
                    data = file.read()
            except FileNotFoundError:
                self._forget()
                return []
            except OSError as error:
                raise ViewError(409, f"{self._path} cannot be read ({error.strerror})") from None
            whole = data[: data.rfind(b"\n") + 1]
            new = [self._line(line, i) for i, line in enumerate(whole.split(b"\n")[:-1])]
            self._lines = [*self._lines, *new]
            self._end += len(whole)
            self._tail = (self._tail + whole)[-_TAIL:]
            return self._lines

    def _forget(self) -> None:
        self._lines, self._end, self._tail = [], 0, b""

    def _line(self, line: bytes, number: int) -> Record:
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError) as error:
            where = f"{self._path}:{len(self._lines) + number + 1}"
            raise ViewError(409, f"{where} is damaged: {error}") from None
        return record
