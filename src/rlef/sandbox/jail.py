"""The trusted end of one jail: starts it, sends one test at a time, kills it."""

import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlef.sandbox.types import Limits

_RUNNER = str(Path(__file__).with_name("runner.py"))
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
_START_S = 60.0
_PATIENCE_S = 60.0
"""Seconds past a test's own wall limit until a silent jail counts as dead."""
_MAX_HEADER_BYTES = 1 << 16
_log = logging.getLogger("rlef.sandbox")
_warned = threading.Event()


class JailError(Exception):
    """The jail died or broke the protocol: says nothing about the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a jail saw of one run of a program."""

    exit: int
    """Exit status, or minus the number of the signal that ended the process."""
    killed: str
    """The limit that the jail enforced: "cpu", "wall" (idle or absolute), or ""."""
    cpu_s: float
    wall_s: float
    memory_mb: float
    stdout: bytes
    stderr: bytes
    result: bytes
    """"" if it did not compile, else "r", then "M" after a memory error or "J" and a JSON value."""


class Jail:
    """One zygote process, which runs one test at a time. Not for use by two threads at once.

    Start it in a thread that outlives it: the kernel ends the jail when that thread ends.

    Raises:
        JailError: It cannot be started.
    """

    def __init__(self) -> None:
        problem = self._start()
        if problem is not None:
            if not _warned.is_set():
                _warned.set()
                _log.warning(
                    "no namespaces (%s): programs share this user's network and files", problem
                )
            problem = self._start("bare")
        if problem is not None:
            raise JailError(problem)

    def _start(self, *flags: str) -> str | None:
        """Starts the process; returns what kept it from setting itself up, if anything."""
        self._socket, theirs = socket.socketpair()
        environment = dict(_ENVIRONMENT)
        if "LD_LIBRARY_PATH" in os.environ:  # some interpreters find their own library by it
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        switches = ["-P", "-s", "-S", "-B", "-X", "utf8"]  # not -I: it would ignore the hash seed
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *switches, _RUNNER, str(theirs.fileno()), *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
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
            hello, _ = self._receive(0)
        except JailError:
            self.close()
            return "the process ended while it set itself up"
        if hello["error"] is not None:
            self.close()
        problem: str | None = hello["error"]
        return problem

    @property
    def pid(self) -> int:
        """Process id of the outermost process of the jail."""
        return self._process.pid

    def run(self, source: bytes, given: bytes, entry_point: str | None, limits: Limits) -> Run:
        """Runs a program once.

        Args:
            source: The program's text.
            given: Standard input; with an entry point the JSON of its argument list.
            entry_point: Name of the function to call, or ``None`` to just run the program.
            limits: Limits of this run.

        Raises:
            JailError: The jail died, was killed or did not answer in time.
        """
        cpu_s, output_bytes = limits.cpu_s, limits.output_kb * 1024
        wall_s = limits.wall_s
        request = {
            "entry_point": entry_point,
            "cpu_s": cpu_s,
            "idle_s": cpu_s + 2.0 if wall_s is None else wall_s,
            "wall_s": 10.0 * cpu_s + 10.0 if wall_s is None else wall_s,
            "memory_bytes": limits.memory_mb << 20,
            "output_bytes": output_bytes,
            "lengths": [len(source), len(given)],
        }
        header = json.dumps(request).encode()
        self._socket.settimeout(request["wall_s"] + _PATIENCE_S)  # type: ignore[operator]
        try:
            self._socket.sendall(b"".join((struct.pack(">I", len(header)), header, source, given)))
            reply, payloads = self._receive(output_bytes + 1)
            stdout, stderr, result = payloads
            return Run(
                exit=int(reply["exit"]),
                killed=str(reply["killed"]),
                cpu_s=float(reply["cpu_s"]),
                wall_s=float(reply["wall_s"]),
                memory_mb=float(reply["memory_mb"]),
                stdout=stdout,
                stderr=stderr,
                result=result,
            )
        except (OSError, ValueError, KeyError) as error:
            raise JailError(f"{type(error).__name__}: {error}") from error

    def _receive(self, max_bytes: int) -> tuple[dict[str, Any], list[bytes]]:
        """Reads one frame (see ``runner.py``) whose payloads have at most ``max_bytes`` each."""
        (length,) = struct.unpack(">I", self._read(4))
        if length > _MAX_HEADER_BYTES:
            raise JailError("the jail sent an overlong header")
        header: dict[str, Any] = json.loads(self._read(length))
        if any(not 0 <= size <= max_bytes for size in header["lengths"]):
            raise JailError("the jail sent an overlong payload")
        return header, [self._read(size) for size in header["lengths"]]

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                part = self._socket.recv(min(count - len(data), 1 << 20))
            except OSError as error:
                raise JailError(f"no answer from the jail: {error}") from error
            if not part:
                raise JailError("the jail died")
            data += part
        return bytes(data)

    def kill(self) -> None:
        """Ends the jail and everything in it; a ``run`` in another thread then raises."""
        self._process.kill()

    def close(self) -> None:
        """Ends the jail and frees what it held. Only for the thread that runs it, or after that."""
        self._process.kill()
        self._process.wait()
        self._socket.close()
