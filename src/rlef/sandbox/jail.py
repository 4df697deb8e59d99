"""The trusted end of one jail: starts it, loads programs, runs them on tests, kills it."""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlef.sandbox.types import Limits

_ZYGOTE = str(Path(__file__).with_name("zygote.py"))
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PATH": "/usr/bin:/bin",
    "LD_BIND_NOW": "1",  # else every child looks the same functions up again
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "ONLINE_JUDGE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_START_S = 60.0
_END_S = 5.0
_PATIENCE_S = 60.0
"""Seconds past a test's own wall limit until a silent jail counts as dead."""
_FILE_BYTES = 64 << 20
"""What is not judged, such as stderr, may be so long; only its start and its end are kept."""
_ENDING_BYTES = 4096
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_ANSWER = "=iiddQ3Q16s"  # as in structs.py
_KILLED = ("", "cpu", "wall", "starved")
_MAX_ANSWER_BYTES = 1 << 16


class JailError(Exception):
    """The jail died or broke the protocol: says nothing about the program."""


class StarvedError(JailError):
    """The jail is sound, but the machine gave what ran in it no time, or may have killed it."""


class IsolationError(Exception):
    """The machine does not offer what a jail needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JailSettings:
    """What a jail is made of; see ``zygote.py``."""

    view: str = "python"
    isolation: str = "namespaces"
    """``namespaces``, ``landlock`` (files only) or ``none``."""
    seccomp: bool = True
    packages: tuple[str, ...] = ()
    """Folders of installed packages; in a view for tools: those that the tools lie in."""
    readable: tuple[str, ...] = ()
    native: str | None = None
    """Path of the compiled hot path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a jail runs: a Python source, or an executable with files beside it."""

    kind: str
    """``python``, ``binary``, ``script``: a binary that runs ``source``, or ``tool``, which has a
    folder to write to."""
    source: bytes = b""
    prelude: bytes = b""
    """Python code that runs first, in the same namespace."""
    entry_point: str | None = None
    binary: int | None = None
    """Descriptor of an executable file, which stays the caller's; ``None``: ``argv[0]``."""
    argv: tuple[str, ...] = ()
    address_bytes: int = 0
    """Virtual memory that it may have beyond the limit."""
    libraries: str | None = None
    """A folder more with shared libraries: ones beside a tool are found by ``/proc``."""
    files: tuple[tuple[str, bytes], ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a jail saw of one run of a program."""

    exit: int
    """Exit status, or minus the number of the signal that ended the process."""
    killed: str
    """The limit that the jail enforced: "", "cpu", "wall" (idle or absolute) or "starved" (the
    machine gave it no core)."""
    cpu_s: float
    wall_s: float
    memory_mb: float
    stdout: bytes
    stderr: bytes
    result: bytes = b""
    """"" if it did not compile, else "r", then "M" after a memory error or a cookie and JSON."""
    cookie: bytes = b""
    outputs: tuple[bytes, ...] = ()
    """Files that a tool wrote, each capped like stdout."""

    @property
    def returned(self) -> bytes:
        """JSON of what the entry point returned; empty if it did not return."""
        mark = b"r" + self.cookie
        return self.result[len(mark) :] if self.cookie and self.result.startswith(mark) else b""


class _Slot:
    """The files of one test at a time: the judge writes ``stdin``, the program the others."""

    def __init__(self) -> None:
        self.stdin, *self.written = (os.memfd_create("file", os.MFD_CLOEXEC) for _ in range(4))
        self._read_only = os.open(f"/proc/self/fd/{self.stdin}", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def for_program(self) -> list[int]:
        """What the program gets as standard input, output, error and result."""
        return [self._read_only, *self.written]

    def close(self) -> None:
        """Frees the files."""
        for fd in (self.stdin, *self.for_program):
            os.close(fd)


class Jail:
    """One zygote process, which runs one test at a time. Not for use by two threads at once.

    Start it in a thread that outlives it: the kernel ends the jail when that thread ends.

    Raises:
        IsolationError: The machine refuses what the settings ask for.
        JailError: It cannot be started.
    """

    def __init__(self, settings: JailSettings) -> None:
        self._limits = Limits()
        self._slots: list[_Slot] = []
        self._started = 0
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = dict(_ENVIRONMENT)
        if "LD_LIBRARY_PATH" in os.environ:  # some interpreters find their own library by it
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        switches = ["-P", "-s", "-S", "-B", "-X", "utf8"]  # not -I: it would ignore the hash seed
        words = json.dumps({name: getattr(settings, name) for name in settings.__slots__})
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *switches, _ZYGOTE, str(theirs.fileno()), words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                self._socket.close()
                raise JailError(str(error)) from error
        self._socket.settimeout(_START_S)
        try:
            self.hello: dict[str, Any] = json.loads(self._receive()[0])
        except JailError as error:
            self.close()
            raise JailError("a jail ended while it set itself up") from error
        if self.hello["error"] is not None:
            self.close()
            raise (JailError if self.hello["passing"] else IsolationError)(self.hello["error"])

    def load(self, program: Program, limits: Limits, *, tests: int = 1, ahead: int = 1) -> None:
        """Makes a program the one that the next tests run.

        Args:
            program: The program.
            limits: Limits of each test.
            tests: How many are to come; with more than one the compiled program is kept.
            ahead: How many are started before the first one is finished, at most.

        Raises:
            JailError: The jail is dead.
        """
        self._limits = limits
        output_bytes = limits.output_kb * 1024
        wall_s = 10.0 * limits.cpu_s + 10.0 if limits.wall_s is None else limits.wall_s
        idle_s = limits.cpu_s + 2.0 if limits.wall_s is None else limits.wall_s
        self._drop_slots()
        header = {
            "kind": program.kind,
            "slots": min(tests, ahead),
            "several": tests > 1,
            "prelude": bool(program.prelude),
            "entry_point": program.entry_point,
            "cpu_s": limits.cpu_s,
            "idle_s": idle_s if limits.idle_s is None else limits.idle_s,
            "wall_s": wall_s,
            "memory_bytes": (limits.memory_mb << 20) + program.address_bytes,
            "output_bytes": output_bytes,
            "file_bytes": output_bytes
            if program.kind == "tool"
            else max(output_bytes, _FILE_BYTES),
            "binary": program.binary is not None,
            "argv": program.argv,
            "libraries": program.libraries,
            "files": [name for name, _ in program.files],
            "outputs": program.outputs,
        }
        self._socket.settimeout(wall_s + _PATIENCE_S)
        contents = [program.source] if program.kind in ("python", "script") else []
        contents += [program.prelude] if program.prelude else []
        contents += [content for _, content in program.files]
        made: list[int] = []
        try:
            for _ in range(min(tests, ahead)):
                self._slots.append(_Slot())
            made += map(_memory_file, contents)
            given = [fd for slot in self._slots for fd in slot.for_program]
            given += [] if program.binary is None else [program.binary]
            self._send(b"P" + json.dumps(header).encode(), given + made)
        except OSError as error:
            raise JailError(str(error)) from error
        finally:
            for fd in made:
                os.close(fd)

    def start(self, given: bytes) -> int:
        """Runs the loaded program once, with ``given`` as its standard input.

        Returns:
            What ``finish`` wants.

        Raises:
            JailError: The jail is dead.
        """
        number = self._started % len(self._slots)
        self._started += 1
        stdin = self._slots[number].stdin
        try:
            os.ftruncate(stdin, 0)
            os.lseek(stdin, 0, os.SEEK_SET)
            write_all(stdin, given)
        except OSError as error:
            raise JailError(str(error)) from error
        self._send(b"T" + bytes([number]), ())
        return number

    def finish(self, number: int) -> Run:
        """Waits for the oldest run that was started.

        Raises:
            JailError: The jail died, was killed or did not answer in time.
        """
        cap = self._limits.output_kb * 1024 + 1
        try:
            answer, fds = self._receive()
            try:
                outputs = tuple(_content(fd, os.fstat(fd).st_size, cap) for fd in fds)
            finally:
                for fd in fds:
                    os.close(fd)
            status, killed, cpu_s, wall_s, memory_kb, *sizes, cookie = struct.unpack(
                _ANSWER, answer
            )
            files = zip(self._slots[number].written, sizes, strict=True)
            stdout, stderr, result = (_content(fd, size, cap) for fd, size in files)
            if sizes[1] > cap:
                stderr = _both_ends(self._slots[number].written[1], sizes[1], cap - 1)
            return Run(
                exit=os.waitstatus_to_exitcode(status),
                killed=_KILLED[killed],
                cpu_s=cpu_s,
                wall_s=wall_s,
                memory_mb=memory_kb / 1024,
                stdout=stdout,
                stderr=stderr,
                result=result,
                cookie=cookie.rstrip(b"\0"),
                outputs=outputs,
            )
        except (OSError, IndexError, ValueError, struct.error) as error:
            raise JailError(f"{type(error).__name__}: {error}") from error

    def run(self, program: Program, given: bytes, limits: Limits) -> Run:
        """Loads a program and runs it once.

        Raises:
            JailError: The jail died, was killed or did not answer in time.
        """
        self.load(program, limits)
        return self.finish(self.start(given))

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._socket, [data], fds)
        except OSError as error:
            raise JailError(f"the jail died: {error}") from error

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, _MAX_ANSWER_BYTES, 8)
        except OSError as error:
            raise JailError(f"no answer from the jail: {error}") from error
        if not data:
            raise JailError("the jail died")
        return data, fds

    def kill(self) -> None:
        """Ends the jail and everything in it; a run in another thread then raises."""
        self._process.terminate()

    def close(self) -> None:
        """Ends the jail and frees what it held. Only for the thread that runs it, or after that."""
        self._socket.close()
        self._drop_slots()
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _drop_slots(self) -> None:
        for slot in self._slots:
            slot.close()
        self._slots = []
        self._started = 0


def _memory_file(content: bytes) -> int:
    """An anonymous file that cannot be changed and stands at its start."""
    fd = os.memfd_create("file", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_all(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def write_all(fd: int, content: bytes) -> None:
    """Writes every byte."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def _content(fd: int, size: int, cap: int) -> bytes:
    return os.pread(fd, min(size, cap), 0) if size else b""


def _both_ends(fd: int, size: int, cap: int) -> bytes:
    """Start and end of a file: how a program failed stands at the end."""
    end = min(_ENDING_BYTES, cap // 2)
    return os.pread(fd, cap - end, 0) + os.pread(fd, end, size - end)
