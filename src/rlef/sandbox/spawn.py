"""Takes tests, starts one child for each: ``native.c`` through ctypes, or the same in Python.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.
"""

import _signal as signal  # type: ignore[import-not-found]  # signal costs each child 0.9 MB
import contextlib
import ctypes
import fcntl
import os
import struct
import sys
import time
from _socket import MSG_PEEK, SCM_RIGHTS, SOL_SOCKET, socket
from typing import Any

from rlef.sandbox.child import become_program
from rlef.sandbox.structs import (
    ANSWER,
    CODE_FILE,
    COOKIE_CHARS,
    ENDED,
    SLOT_FILES,
    VERSION,
    Outcome,
    Request,
)
from rlef.sandbox.watch import watch

HUGE_PAGE = 2 << 20


class Spawner:
    """Runs children by the compiled hot path where it is there, else in Python.

    Attributes:
        name: ``"C"`` or ``"Python"``.
    """

    def __init__(self, path: str | None) -> None:
        self._outcome = Outcome()
        self._cookie = ctypes.create_string_buffer(COOKIE_CHARS + 1)
        self._library = ctypes.PyDLL(None)
        self.name = "Python"
        if path is not None:
            with contextlib.suppress(OSError, AttributeError):  # built for another machine
                self._native = ctypes.PyDLL(path)
                self.name = "C" if self._native.rlef_version() == VERSION else "Python"

    def use_huge_pages(self) -> None:
        """Moves the interpreter's code to huge pages, where the machine has them."""
        if self.name != "C" or not machine_has_huge_pages():
            return
        move = self._native.rlef_use_huge_pages
        for start, end in read_only_parts(os.path.realpath(sys.executable), "libpython"):
            start, end = -(-start // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE
            if start < end:
                move(ctypes.c_void_p(start), ctypes.c_void_p(end))
        self._native.rlef_use_huge_arenas(self._library.PyObject_SetArenaAllocator)

    def serve(self, control: socket, files: Any, request: Request) -> str | None:
        """Runs the loaded program on the tests that come.

        Args:
            control: Gets the answers.
            files: An array of descriptors, ``SLOT_FILES`` for each slot.
            request: The program.

        Returns:
            ``None`` when a message waits that is no test. In the child, which goes on here if
            nothing is executed: the cookie of its result.

        Raises:
            OSError: No process can be made.
        """
        slots = len(files) // SLOT_FILES
        if self.name == "C":
            code = self._native.rlef_serve(
                control.fileno(), slots, files, ctypes.byref(request), self._cookie
            )
            if code < 0:
                raise OSError("no process can be made")
            return None if code else self._cookie.value.decode()
        while True:
            if control.recv(1, MSG_PEEK)[:1] not in (b"T", b""):
                return None
            message = control.recv(2)
            if not message:
                os._exit(0)
            slot = message[1]
            cookie = os.urandom(COOKIE_CHARS // 2).hex()
            outcome = self.run(request, files[SLOT_FILES * slot : SLOT_FILES * (slot + 1)])
            if outcome is None:
                return cookie
            send_answer(control, request, outcome, cookie)

    def run(self, request: Request, files: list[int]) -> Outcome | None:
        """Runs one child.

        Args:
            request: The program.
            files: Those of a slot.

        Returns:
            ``None`` in the child, which goes on here if nothing is executed; the outcome in the
            zygote, valid until the next call.

        Raises:
            OSError: No process can be made.
        """
        empty(files)
        request.files[:SLOT_FILES] = files
        if self.name == "Python":
            return self._run(request)
        code = self._native.rlef_run(ctypes.byref(request), ctypes.byref(self._outcome))
        if code < 0:
            raise OSError("no process can be made")
        return self._outcome if code else None

    def _run(self, request: Request) -> Outcome | None:
        start = time.monotonic()
        pid = self._library.fork()  # past the interpreter's hooks: 0.6 ms of 1.0
        if pid < 0:
            raise OSError("no process can be made")
        if pid == 0:
            try:
                become_program(request)
            except BaseException:
                os._exit(126)
            return None
        pidfd = os.pidfd_open(pid)
        killed = watch(request, pid, pidfd)
        if killed != ENDED:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        os.close(pidfd)
        wall_s = time.monotonic() - start
        end_survivors(pid, bool(request.bare))
        cpu_s = usage.ru_utime + usage.ru_stime
        self._outcome = Outcome(status, killed, cpu_s, wall_s, usage.ru_maxrss)
        return self._outcome


def machine_has_huge_pages() -> bool:
    """Whether a process may ask for huge pages."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            return "[never]" not in file.read()
    except OSError:
        return False


def read_only_parts(*names: str) -> list[tuple[int, int]]:
    """Where code and constants of the files with such a name in their path lie in memory.

    Pieces of a file that touch, and that nothing can be written to, are one part.
    """
    parts: list[tuple[int, int]] = []
    with open("/proc/self/maps") as file:
        for line in file:
            addresses, access, _, _, _, *path = line.split(maxsplit=5)
            start, end = (int(address, 16) for address in addresses.split("-"))
            if access not in ("r--p", "r-xp") or not any(name in "".join(path) for name in names):
                continue
            if parts and parts[-1][1] == start:
                start = parts.pop()[0]
            parts.append((start, end))
    return parts


def empty(files: list[int]) -> None:
    """Makes the files of a slot as new: at their start, no flags, what programs write is empty."""
    for i, fd in enumerate(files):
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        if i > 0:
            os.ftruncate(fd, 0)


def send_answer(
    control: socket, request: Request, outcome: Outcome, cookie: str, fds: tuple[int, ...] = ()
) -> None:
    """Tells the judge of a run; compiled code that a child did not seal is not offered again."""
    code = request.files[CODE_FILE]
    if code >= 0 and not fcntl.fcntl(code, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
        os.close(code)
        request.files[CODE_FILE] = -1
    sizes = (os.fstat(fd).st_size for fd in request.files[1:SLOT_FILES])
    answer = struct.pack(
        ANSWER,
        outcome.status,
        outcome.killed,
        outcome.cpu_s,
        outcome.wall_s,
        outcome.memory_kb,
        *sizes,
        cookie.encode(),
    )
    packed = struct.pack(f"{len(fds)}i", *fds)
    control.sendmsg([answer], [(SOL_SOCKET, SCM_RIGHTS, packed)] if fds else [])


def end_survivors(group: int, bare: bool) -> None:
    """Kills and reaps whatever the program left running."""
    while True:
        victims = [-1]
        if bare:  # -1 would reach the whole machine: only our own children and their group
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                victims = [-group, *map(int, file.read().split())]
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
