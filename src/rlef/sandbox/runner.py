"""The zygote of a jail: reads requests, forks one process per test, watches it, answers.

A script for a bare interpreter (``python -P -s -S -B``), started by ``jail.py``. ``namespaces.py``
sets the process apart, ``program.py`` is the part of the forked child. Expected outputs never come
here.

A frame on the control socket is the big-endian length of a JSON header, the header, and as many
bytes of payload as ``header["lengths"]`` says.
"""

import contextlib
import ctypes
import gc
import json
import os
import random
import resource
import select
import signal
import struct
import sys
import time
import types
from typing import Any

if __name__ == "__main__":  # hollow packages: the real ones would bring the trusted side along
    for _name in ("rlef", "rlef.sandbox"):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [os.path.dirname(__file__)]

from rlef.sandbox import namespaces, program

USUAL_MODULES = (
    "array bisect collections copy datetime decimal fractions functools heapq io itertools "
    "operator re string typing"
)
WINDOW_S = 0.25

FORK = ctypes.PyDLL(None).fork
"""fork() past the interpreter's hooks (0.6 ms of 1.0): safe in a process with one thread."""


def receive(control: int) -> tuple[dict[str, Any], list[bytes]]:
    """Reads one frame; ends the process when the other side is gone."""

    def read(count: int) -> bytes:
        parts = []
        while count:
            part = os.read(control, min(count, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    (length,) = struct.unpack(">I", read(4))
    header = json.loads(read(length))
    return header, [read(n) for n in header["lengths"]]


def send(control: int, header: dict[str, object], payloads: tuple[bytes, ...] = ()) -> None:
    """Writes one frame."""
    text = json.dumps({**header, "lengths": [len(p) for p in payloads]}).encode()
    program.write_all(control, b"".join((struct.pack(">I", len(text)), text, *payloads)))


def memory_file(content: bytes = b"") -> int:
    """Makes an anonymous file, positioned at its start."""
    fd = os.memfd_create("file")
    if content:
        program.write_all(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
    return fd


def watch(pid: int, pidfd: int, limits: dict[str, Any]) -> str:
    """Waits until the child ends by itself ("") or passed a limit ("cpu", "wall").

    A window counts as idle only when the child got next to no CPU in it: on a busy machine a
    program that wants to run is slow but never idle.
    """
    clock = (~pid << 3) | 2  # CPUCLOCK_SCHED of that process
    cpus = os.cpu_count() or 1
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    start = mark = time.monotonic()
    used = mark_used = idle = 0.0
    while True:
        step = max((limits["cpu_s"] - used) / cpus, 0.002)
        if poll.poll(min(WINDOW_S, step, limits["wall_s"]) * 1000):
            return ""
        used, now = time.clock_gettime(clock), time.monotonic()
        if used >= limits["cpu_s"]:
            return "cpu"
        if now - mark >= WINDOW_S:
            if used - mark_used < 0.02 * (now - mark):
                idle += now - mark
            mark, mark_used = now, used
        if idle > limits["idle_s"] or now - start > limits["wall_s"]:
            return "wall"


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


def run_test(control: int, base_bytes: int, bare: bool) -> None:
    """Reads one request, runs it in a new process, answers."""
    request, (source, given) = receive(control)
    files = (memory_file(given), memory_file(), memory_file(), memory_file())
    start = time.monotonic()
    pid = FORK()
    if pid == 0:
        try:
            if bare:
                namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            program.prepare(request, base_bytes, files)
            program.run(source, request["entry_point"], given)
        finally:
            os._exit(1)
    pidfd = os.pidfd_open(pid)
    killed = watch(pid, pidfd, request)
    if killed:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.monotonic() - start
    end_survivors(pid, bare)
    outputs = []
    for fd in files[1:]:
        size = os.lseek(fd, 0, os.SEEK_END)
        outputs.append(os.pread(fd, min(size, request["output_bytes"] + 1), 0))
    for fd in (*files, pidfd):
        os.close(fd)
    header = {
        "exit": os.waitstatus_to_exitcode(status),
        "killed": killed,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "memory_mb": usage.ru_maxrss / 1024,
    }
    send(control, header, tuple(outputs))


def address_space() -> int:
    """Bytes of virtual memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def serve(control: int, bare: bool) -> None:
    """The zygote's life: set up, say hello, run tests until the control socket closes."""
    for name in USUAL_MODULES.split():
        __import__(name)
    base_bytes = address_space() + (8 << 20)
    try:
        if bare:
            namespaces.call("prctl", namespaces.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        else:
            namespaces.isolate(control)
        namespaces.call("prctl", namespaces.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        namespaces.call("prctl", namespaces.PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, KeyError) as error:
        send(control, {"error": str(error)})
        os._exit(1)
    limits = {"CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "NOFILE": 64, "STACK": 64 << 20}
    for name, value in limits.items():
        program.lower_limit(getattr(resource, f"RLIMIT_{name}"), value, value)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process of a namespace is then immune
    program.warm_up()
    for name in ("rlef", "rlef.sandbox", namespaces.__name__, program.__name__):
        del sys.modules[name]
    random.seed(0)
    gc.collect()
    gc.freeze()
    send(control, {"error": None})
    while True:
        run_test(control, base_bytes, bare)


if __name__ == "__main__":
    serve(int(sys.argv[1]), bare=sys.argv[2:] == ["bare"])
