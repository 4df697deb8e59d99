"""The process of the judge, as its caller sees it; ``server.py`` is the other end."""

import contextlib
import importlib.util
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from rlef.sandbox.types import Isolation, JudgeJob, JudgeReport
from rlef.sandbox.wire import ReportMessage, Sender, unpack_report

_log = logging.getLogger("rlef.sandbox")
_MALLOC = {"ARENA_MAX": 1, "MMAP_THRESHOLD_": 1 << 26, "TRIM_THRESHOLD_": 1 << 27}
"""The judge keeps the memory of large texts: asking for it anew takes longer than the copies."""


class _Waiting(NamedTuple):
    """A job that the judge has."""

    job: JudgeJob
    future: Future[JudgeReport]
    lost: Callable[[], None]


class JudgeProcess:
    """One process of the judge, and a thread that takes its answers."""

    def __init__(self, workers: int, unsafe: bool) -> None:
        ours, theirs = socket.socketpair()
        words = (theirs.fileno(), workers, numpy_folders(), unsafe)
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
            f"from rlef.sandbox.server import main; main(*{words!r})"
        )
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env=os.environ | {f"MALLOC_{name}": str(n) for name, n in _MALLOC.items()},
            )
            undo.pop_all()
        self.dead = False
        self.isolation: Future[Isolation | None] = Future()
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._sender = Sender()
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0
        self._state = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="rlef-judge", daemon=True)
        self._reader.start()

    def send(
        self,
        job: JudgeJob,
        tests_key: object,
        future: Future[JudgeReport],
        lost: Callable[[], None],
    ) -> bool:
        """Hands a job over. Returns whether that was possible; ``lost`` is called if it dies."""
        with self._state:
            if self.dead:
                return False
            self._count += 1
            number = self._count
            self._waiting[number] = _Waiting(job, future, lost)
        try:
            with self._sending:
                self._connection.send(self._sender.pack(number, job, tests_key))
        except OSError:
            self.dead = True
            return self._take(number) is None
        except BaseException:  # half a message may be there: this judge would misread the next
            self.dead = True
            self._take(number)
            self.process.kill()
            raise
        return True

    def _read(self) -> None:
        while True:
            try:
                number, answer = self._connection.recv()
            except Exception:  # the judge is dead, whatever its last bytes were
                break
            waiting = self._take(number)
            if isinstance(answer, ReportMessage):
                if waiting is not None:
                    settle(waiting.future, unpack_report(answer, waiting.job.tests))
            elif number == 0:
                settle(self.isolation, answer)
            elif waiting is not None:
                settle(waiting.future, answer)
            if isinstance(answer, Isolation) and answer.warning:
                _warn(answer.warning)
        with self._state:
            self.dead = True
            left = list(self._waiting.values())
            self._waiting.clear()
        if not self.isolation.done():
            self.isolation.set_result(None)
        self.process.kill()
        self.process.wait()
        self._connection.close()
        for waiting in left:
            waiting.lost()

    def _take(self, number: int) -> "_Waiting | None":
        with self._state:
            return self._waiting.pop(number, None)

    def close(self) -> None:
        """Ends the process and waits for it."""
        self.process.kill()
        if threading.current_thread() is not self._reader:
            self._reader.join()


def settle(future: Future[Any], answer: object) -> None:
    """Gives a future its result, or its error, unless an interrupted caller gave it up."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


@cache
def _warn(words: str) -> None:
    """Says it once in the life of this process."""
    _log.warning("%s", words)


def numpy_folders() -> tuple[str, ...]:
    """Folders of numpy and of the libraries that it brings along, if it is installed."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return ()
    package = Path(found.origin).parent
    return tuple(str(p) for p in (package, package.with_name("numpy.libs")) if p.is_dir())
