"""Takes tests, starts one child for each: ``native.c`` through ctypes, or the same in Python.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.
"""

import _signal as signal  # type: ignore[import-not-found]  # signal costs each child 0.9 MB
import contextlib
import ctypes
import fcntl
import os
import resource
import select
import struct
import sys
import time
from _socket import MSG_PEEK, SCM_RIGHTS, SOL_SOCKET, socket
from typing import Any, NamedTuple

from rlef.sandbox import landlock, seccomp
from rlef.sandbox.namespaces import (
    LIBC,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    call,
    drop_capabilities,
)

VERSION = 3
"""Of ``native.c``: one that was compiled from another is not used."""
FILES = 5
SLOT_FILES = 4
"""Standard input, output, error and result of a test; several tests have a slot of their own."""
CODE_FILE = 4
COOKIE_CHARS = 16
NO_LIMIT = 2**64 - 1
FIRST_FREE = 16
"""The zygote's own descriptors stand at or above this number, out of a child's way."""
ENDED, KILLED_CPU, KILLED_WALL, STARVED = 0, 1, 2, 3
WINDOW_S = 0.25
PATIENCE = 3.0
STARVED_SHARE = 0.9
"""Of the wall time: a program that spent less of it, used or idle, lacked a core."""
HUGE_PAGE = 2 << 20
SYS_EXECVEAT = {"x86_64": 322, "aarch64": 281}
AT_EMPTY_PATH = 0x1000


class Request(ctypes.Structure):
    """``struct request`` of ``native.c``, where the fields are explained."""

    _fields_ = [
        ("files", ctypes.c_int32 * FILES),
        ("binary", ctypes.c_int32),
        ("proc", ctypes.c_int32),
        ("ruleset", ctypes.c_int32),
        ("uid", ctypes.c_int32),
        ("bare", ctypes.c_int32),
        ("processes", ctypes.c_int32),
        ("filter_length", ctypes.c_uint32),
        ("pid_placeholder", ctypes.c_uint32),
        ("judged", ctypes.c_uint32),
        ("cpu_s", ctypes.c_double),
        ("idle_s", ctypes.c_double),
        ("wall_s", ctypes.c_double),
        ("memory_bytes", ctypes.c_uint64),
        ("stack_bytes", ctypes.c_uint64),
        ("output_bytes", ctypes.c_uint64),
        ("file_bytes", ctypes.c_uint64),
        ("filter", ctypes.c_void_p),
        ("argv", ctypes.POINTER(ctypes.c_char_p)),
        ("envp", ctypes.POINTER(ctypes.c_char_p)),
        ("folder", ctypes.c_char_p),
    ]


class Outcome(ctypes.Structure):
    """``struct outcome`` of ``native.c``."""

    _fields_ = [
        ("status", ctypes.c_int32),
        ("killed", ctypes.c_int32),
        ("cpu_s", ctypes.c_double),
        ("wall_s", ctypes.c_double),
        ("memory_kb", ctypes.c_uint64),
    ]


ANSWER = "=iiddQ3Q16s"
"""``struct answer`` of ``native.c``: wait status, limit that was passed, CPU and wall seconds,
memory in kB, bytes in stdout, stderr and result, cookie."""


def strings(items: list[bytes]) -> Any:
    """A NULL-terminated array of C strings."""
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)


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


def limit(kind: int, value: int) -> None:
    """Sets a limit of this process, or leaves it where the machine's own is lower already."""
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        value = min(value, ceiling)
    value = resource.RLIM_INFINITY if value == NO_LIMIT else value
    resource.setrlimit(kind, (value, value))


def become_program(request: Request) -> None:
    """Everything between fork and the first byte of the program."""
    keep = FILES
    for target, fd in enumerate(request.files):
        if fd >= 0:
            os.dup2(fd, target)
        else:
            with contextlib.suppress(OSError):
                os.close(target)
    if request.binary >= 0:
        os.dup2(request.binary, keep)
        fcntl.fcntl(keep, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        keep += 1
    if request.ruleset >= 0:
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        call("syscall", landlock.RESTRICT_SELF, request.ruleset, 0)
    os.closerange(keep, 1 << 16)
    os.setsid()
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if request.folder is not None:
        os.chdir(request.folder)
    set_limits(request)
    if request.uid >= 0:
        os.setresgid(request.uid, request.uid, request.uid)
        os.setresuid(request.uid, request.uid, request.uid)
    drop_capabilities()
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if request.bare:
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if request.argv:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if request.filter_length:
        seccomp.install(ctypes.string_at(request.filter, 8 * request.filter_length))
    if request.argv:
        execute(request, keep - 1)


def set_limits(request: Request) -> None:
    """The limits of one run of a program."""
    limit(resource.RLIMIT_AS, request.memory_bytes)
    limit(resource.RLIMIT_CPU, int(request.cpu_s) + 3)
    limit(resource.RLIMIT_FSIZE, request.file_bytes + 1)
    limit(resource.RLIMIT_STACK, request.stack_bytes)
    limit(resource.RLIMIT_NPROC, request.processes)


def execute(request: Request, binary: int) -> None:
    """Becomes another program; on failure says so and ends."""
    if request.binary >= 0:
        number = SYS_EXECVEAT[os.uname().machine]
        LIBC.syscall(number, binary, b"", request.argv, request.envp, AT_EMPTY_PATH)
    else:
        LIBC.execve(request.argv[0], request.argv, request.envp)
    os.write(2, b"the program cannot be executed\n")
    os._exit(126)


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
