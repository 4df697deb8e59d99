"""Ends a process at one of the moments that it counts."""

import os
import signal
import sys
from pathlib import Path

GROWING = (".jsonl", ".bin")
"""Files whose end may be half on disk when their writer is killed."""


class Moments:
    """Counts moments, and ends the process at one of them.

    Args:
        at: Its number from 1; ``None``: never.
        tell: File descriptor that is told what it was.
    """

    def __init__(self, at: int | None, tell: int | None = None) -> None:
        self.at, self.tell, self.count = at, tell, 0

    def moment(self, what: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.die(what)

    def die(self, what: str) -> None:
        if self.tell is not None:
            os.write(self.tell, f"{what}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


class Killer(Moments):
    """Its moments are those at which the process changes files of a folder.

    Args:
        folder: Whose files.
        at: See ``Moments``.
        torn: Bytes that a file that grows lacks then, if it was to be synced.
        tell: See ``Moments``.
    """

    def __init__(self, folder: Path, at: int | None, torn: int, tell: int | None = None) -> None:
        super().__init__(at, tell)
        self.folder, self.torn = str(folder), torn
        sys.addaudithook(self.audit)
        self.fsync, os.fsync = os.fsync, self.sync  # type: ignore[assignment]

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        changes = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if event in changes and self.folder in str(args[0]):
            self.moment(f"{event.removeprefix('os.')} {self.name(args[0])}")

    def sync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self.count + 1 == self.at and path.endswith(GROWING):
            os.truncate(path, max(0, os.path.getsize(path) - self.torn))
        self.moment(f"sync {self.name(path)}")
        self.fsync(descriptor)

    def name(self, path: object) -> str:
        return str(path).replace(f"{self.folder}/", "")
