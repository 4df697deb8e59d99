"""Processes below this one: what they hold, and busy loops that keep the cores occupied."""

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PAGES_PER_MB = (1 << 20) / os.sysconf("SC_PAGE_SIZE")
_SETTLED_S = 1.0
"""The longest wait for processes on their way out."""
_BUSY = (
    "import os\nparent = os.getppid()\nprint(flush=True)\n"
    "while os.getppid() == parent:\n    for _ in range(1000000): pass"
)
"""A loop that says when it begins, and that ends with the process that started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What the processes below this one hold."""

    rss_mb: float
    """Sum over the processes, without this one."""
    descriptors: int
    """Sum over the processes that let themselves be looked at, with this one."""
    processes: int
    """Without this one; the dead that their parent did not reap count."""


def descendants(root: int) -> set[int]:
    """Process ids of the children of ``root``, of their children, and so on."""
    children = defaultdict(list)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            stat = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
            # pid (name, which may hold anything) state parent ...
            children[int(stat.rpartition(")")[2].split()[1])].append(int(entry))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        new = [pid for pid in children[waiting.pop()] if pid not in found]
        found.update(new)
        waiting += new
    return found


def footprint(without: Collection[int] = ()) -> Footprint:
    """What all processes below this one hold at this moment.

    Args:
        without: Processes that do not count.
    """
    pids = descendants(os.getpid()).difference(without)
    pages, descriptors = 0, len(os.listdir("/proc/self/fd"))
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        with contextlib.suppress(OSError):
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return Footprint(rss_mb=pages / _PAGES_PER_MB, descriptors=descriptors, processes=len(pids))


def settled_footprint(without: Collection[int] = ()) -> Footprint:
    """As ``footprint``, once two in a row agree on the numbers of processes and descriptors.

    Reaps dead orphans, as init would where ``orphans_stay_ours`` had not made them ours.
    """
    end = time.monotonic() + _SETTLED_S
    _reap_orphans(without)
    last = footprint(without)
    while time.monotonic() < end:
        time.sleep(0.05)
        _reap_orphans(without)
        now = footprint(without)
        if (now.processes, now.descriptors) == (last.processes, last.descriptors):
            return now
        last = now
    return last


def _reap_orphans(without: Collection[int]) -> None:
    for pid in descendants(os.getpid()).difference(without):
        with contextlib.suppress(ChildProcessError):  # not a child, but further down
            os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def orphans_stay_ours() -> Iterator[None]:
    """Inside, a process below this one whose parent dies becomes ours and stays in sight."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Inside, ``count`` processes use all the CPU time that they get."""
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-I", "-S", "-c", _BUSY]
            loops.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for loop in loops:
            assert loop.stdout is not None
            loop.stdout.readline()
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()
            assert loop.stdout is not None
            loop.stdout.close()


def cpu_seconds(pid: int) -> float:
    """CPU time of a living process, without that of its children."""
    return time.clock_gettime(~pid << 3 | 2)  # CPUCLOCK_SCHED of a process, see clock_getcpuclockid
