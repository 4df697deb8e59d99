"""Watches a child from outside: its CPU time, how long it idles, what it has written.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only. ``native.c`` has the
same in C.
"""

import contextlib
import os
import select
import time
from typing import NamedTuple

from rlef.sandbox.structs import ENDED, KILLED_CPU, KILLED_WALL, STARVED, Request

WINDOW_S = 0.25
PATIENCE = 3.0
STARVED_SHARE = 0.9
"""Of the wall time: a program that spent less of it, used or idle, lacked a core."""


class Look(NamedTuple):
    """What the threads of a process did since the last look at them."""

    sum: float = 0.0  # seconds ready without a core: of all together
    longest: float = 0.0  # and of the one most delayed
    ready: bool = False  # one runs or stands ready now: its last wait may not be told yet
    awake: bool = False  # one such has not slept since the last look


def look_at(proc: int, pid: int, known: dict[str, tuple[float, int]]) -> tuple[Look, bool]:
    """Looks at the threads of a process, and whether their delays are told; updates ``known``."""
    found: dict[
        str, tuple[float, int]
    ] = {}  # how long it stood ready; how often it had slept, or -1
    told = ready = awake = False
    try:
        folder = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
    except OSError:
        return Look(), False
    for thread in os.listdir(folder):
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = read_small(folder, f"{thread}/status")
            run, wait, *_ = read_small(folder, f"{thread}/schedstat").split()
            told = told or int(run) > 0
            sleeps = int(status.partition(b"\nvoluntary_ctxt_switches:")[2].split()[0])
            found[thread] = 1e-9 * int(wait), -1
            if b"\nState:\tR" in status:
                found[thread] = 1e-9 * int(wait), sleeps
                ready = True
                awake = awake or known.get(thread, (0.0, -1))[1] == sleeps
    os.close(folder)
    waited = [max(0.0, s - known.get(name, (0.0, 0))[0]) for name, (s, _) in found.items()] or [0.0]
    known.clear()
    known.update(found)
    return Look(sum(waited), max(waited), ready, awake), told


def read_small(folder: int, name: str) -> bytes:
    """The start of a file."""
    fd = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def has_children(proc: int, pid: int) -> bool:
    """Whether a process has made others, which the filter forbids programs: it waits for them."""
    with contextlib.suppress(OSError):
        return proc >= 0 and read_small(proc, f"{pid}/task/{pid}/children") != b""
    return False


def is_full(request: Request) -> bool:
    """Whether more has been written than may be, to the file that is judged."""
    judged = request.files[request.judged]
    return bool(judged >= 0 and os.fstat(judged).st_size > request.output_bytes)


class Idle:
    """Time without a core or a reason to want one.

    Attributes:
        sure: Seconds.
        open: Seconds that may yet turn out to be a wait for a core, which is told when it ends.
    """

    def __init__(self) -> None:
        self.sure = self.open = 0.0

    def add(self, s: float, seen: Look) -> None:
        """Adds the time since the last look."""
        if s < 0.0 or not seen.ready:
            self.open = max(0.0, self.open + s)
            s = 0.0
        if not seen.awake:
            self.sure += self.open
            self.open = s


def watch(request: Request, pid: int, pidfd: int) -> int:
    """Waits until the child ends or passes a limit. Time that it waits for a core is not idle.

    Threads may also wait for each other's core: that would hide a program's idle time, so time in
    which no single thread waited counts too, with more patience.
    """
    clock = (~pid << 3) | 2  # CPUCLOCK_SCHED of that process
    cpus = os.cpu_count() or 1
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    start = now = mark = time.monotonic()
    used = mark_used = 0.0
    together, each = Idle(), Idle()
    known: dict[str, tuple[float, int]] = {}
    while True:
        left_s = min((request.cpu_s - used) / cpus, request.wall_s - (now - start))
        if poll.poll(1000 * min(max(left_s, 0.002), WINDOW_S)):
            return ENDED
        used, now = max(used, time.clock_gettime(clock)), time.monotonic()
        if used >= request.cpu_s or is_full(request):
            return KILLED_CPU
        over = now - start > request.wall_s
        if over or now - mark >= WINDOW_S:
            passed = min(now - mark, 2.0 * WINDOW_S)  # else the machine stood still
            rest = passed - (used - mark_used)
            seen, told = (Look(), False) if request.proc < 0 else look_at(request.proc, pid, known)
            if told:
                together.add(rest - seen.sum, seen)
                each.add(rest - seen.longest, seen)
            elif used - mark_used < 0.02 * (now - mark):
                together.add(passed, seen)
            mark, mark_used = now, used
        if together.sure > request.idle_s or each.sure > PATIENCE * request.idle_s:
            return KILLED_WALL
        if over:
            own = used + max(together.sure, each.sure)
            starved = own < STARVED_SHARE * request.wall_s and not has_children(request.proc, pid)
            return STARVED if starved else KILLED_WALL
