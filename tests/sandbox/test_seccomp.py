"""The filters, decided by an interpreter of our own, then by the kernel."""

import errno
import importlib.util
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlef.sandbox import seccomp

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PROFILES = ("program", "program-exec", "tools")
ALLOW = 0
PID = 4711
NUMBERS = {  # name: x86_64, aarch64
    "read": (0, 63),
    "write": (1, 64),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "rt_sigaction": (13, 134),
    "ioctl": (16, 29),
    "shmget": (29, 194),
    "socket": (41, 198),
    "connect": (42, 203),
    "sendto": (44, 206),
    "bind": (49, 200),
    "listen": (50, 201),
    "socketpair": (53, 199),
    "setsockopt": (54, 208),
    "clone": (56, 220),
    "execve": (59, 221),
    "exit": (60, 93),
    "wait4": (61, 260),
    "kill": (62, 129),
    "semget": (64, 190),
    "msgget": (68, 186),
    "fcntl": (72, 25),
    "ftruncate": (77, 46),
    "fchmod": (91, 52),
    "ptrace": (101, 117),
    "setuid": (105, 146),
    "setresuid": (117, 147),
    "rt_sigqueueinfo": (129, 138),
    "personality": (135, 92),
    "setpriority": (141, 140),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "setrlimit": (160, 164),
    "chroot": (161, 51),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "mount": (165, 40),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "quotactl": (179, 60),
    "setxattr": (188, 5),
    "tkill": (200, 130),
    "futex": (202, 98),
    "sched_setaffinity": (203, 122),
    "sched_getaffinity": (204, 123),
    "getdents64": (217, 61),
    "clock_settime": (227, 112),
    "clock_gettime": (228, 113),
    "exit_group": (231, 94),
    "tgkill": (234, 131),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "inotify_add_watch": (254, 27),
    "openat": (257, 56),
    "newfstatat": (262, 79),
    "unshare": (272, 97),
    "set_robust_list": (273, 99),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "rt_tgsigqueueinfo": (297, 240),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "prlimit64": (302, 261),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "finit_module": (313, 273),
    "getrandom": (318, 278),
    "memfd_create": (319, 279),
    "bpf": (321, 280),
    "execveat": (322, 281),
    "userfaultfd": (323, 282),
    "membarrier": (324, 283),
    "statx": (332, 291),
    "rseq": (334, 293),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "memfd_secret": (447, 447),
}
NEVER_IN_A_TOOL = """socket connect bind listen ptrace process_vm_readv process_vm_writev mount
fsopen mount_setattr unshare setns bpf perf_event_open userfaultfd io_uring_setup keyctl add_key
kexec_load init_module finit_module pidfd_open pidfd_getfd pidfd_send_signal inotify_add_watch
fanotify_init reboot swapon quotactl acct chroot pivot_root settimeofday clock_settime setuid
memfd_create memfd_secret shmget semget msgget open_by_handle_at rt_sigqueueinfo"""
NEVER_IN_A_PROGRAM = f"""{NEVER_IN_A_TOOL} setrlimit sched_setaffinity setpriority fchmod setxattr
setresuid personality"""
ALWAYS = """read write fstat lseek mmap rt_sigaction sendto exit wait4 ftruncate futex openat
sched_getaffinity getdents64 clock_gettime exit_group newfstatat set_robust_list epoll_pwait
eventfd2 getrandom membarrier statx rseq close_range"""


def number(name: str, machine: str) -> int:
    return NUMBERS[name][list(MACHINES).index(machine)]


def decide(
    program: bytes, architecture: int, call: int, arguments: tuple[int, ...] = ()
) -> tuple[int, int]:
    """Runs a filter as the kernel would. Returns the errno, 0 for allowed, and the steps taken."""
    code = list(struct.iter_unpack("=HBBI", program))
    data = struct.pack("=IIQ6Q", call, architecture, 0, *(*arguments, *[0] * 6)[:6])
    accumulator = at = 0
    for steps in range(1, len(code) + 1):
        operation, yes, no, k = code[at]
        at += 1
        if operation == 0x20:  # load a word
            assert k % 4 == 0
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            at += k
        elif operation in (0x15, 0x35, 0x45):
            tests = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}
            at += yes if tests[operation] else no
        else:
            assert operation == 0x06
            if k == 0x7FFF0000:
                return ALLOW, steps
            assert k >> 16 == 5
            return k & 0xFFFF, steps
    raise AssertionError("the filter does not end")


class Filter:
    def __init__(self, profile: str, machine: str) -> None:
        self.machine = machine
        self.code = seccomp.with_pid(seccomp.build(profile, machine), PID)

    def __call__(self, call: str | int, *arguments: int) -> int:
        wanted = number(call, self.machine) if isinstance(call, str) else call
        return decide(self.code, MACHINES[self.machine], wanted, arguments)[0]


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.fixture
def program(machine: str) -> Filter:
    return Filter("program", machine)


@pytest.fixture
def tools(machine: str) -> Filter:
    return Filter("tools", machine)


def test_our_numbers_are_those_of_the_module(machine: str) -> None:
    known = seccomp.numbers(machine)
    assert {name: known[name] for name in NUMBERS} == {
        name: number(name, machine) for name in NUMBERS
    }
    assert len(set(known.values())) == len(known)


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_numbers_are_those_of_the_kernel_headers(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    names = {"fstatat": "newfstatat", "sync_file_range2": "sync_file_range", "umount": "umount2"}
    known = seccomp.numbers(machine)
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\n", Path(header).read_text())
    assert len(found) > 250
    for name, value in found:
        only_32_bit = machine == "aarch64" and 403 <= int(value) < 424
        if only_32_bit or name in ("syscalls", "arch_specific_syscall"):
            continue
        assert known[names.get(name, name)] == int(value), name


def test_every_name_in_the_rules_exists() -> None:
    known = seccomp.numbers("x86_64").keys() | seccomp.numbers("aarch64").keys()
    rules = (
        seccomp._PROGRAM_MAY,
        seccomp._TOOLS_MAY_NOT,
        *seccomp._PROGRAM_CHECKS,
        *seccomp._TOOLS_CHECKS,
    )
    for names in rules:
        assert set(names.split()) <= known
        assert len(set(names.split())) == len(names.split())


@pytest.mark.parametrize("profile", PROFILES)
def test_filters_are_well_formed(profile: str, machine: str) -> None:
    code = list(struct.iter_unpack("=HBBI", seccomp.build(profile, machine)))
    assert len(code) < 256  # native.c takes 1024
    for place, (operation, yes, no, k) in enumerate(code):
        if operation & 7 == 5:
            jumps = (k,) if operation == 5 else (yes, no)
            assert all(place + 1 + jump < len(code) for jump in jumps)
    assert code[-1][0] & 7 == 6


@pytest.mark.parametrize("profile", PROFILES)
def test_numbers_are_found_in_few_steps(profile: str, machine: str) -> None:
    code = seccomp.build(profile, machine)
    steps = [decide(code, MACHINES[machine], call)[1] for call in range(600)]
    assert max(steps) < 20
    assert sum(steps) < 600 * 12


def test_long_jumps() -> None:
    """More rules than a jump reaches; each number must still end at its own place."""
    asm = seccomp._Assembler()
    places = {n: (asm.allow, asm.refuse, asm.missing)[n % 3] for n in range(1000)}
    code = asm.program(1, seccomp._ranges(places, asm.no_terminal))
    for call in range(1000):
        wanted = (ALLOW, errno.EPERM, errno.ENOSYS)[call % 3]
        assert decide(code, 1, call)[0] == wanted
    assert decide(code, 1, 1000)[0] == errno.ENOTTY
    assert decide(code, 2, 0)[0] == errno.ENOSYS


@pytest.mark.parametrize("profile", PROFILES)
def test_other_architectures_and_x32_do_not_exist(profile: str, machine: str) -> None:
    code = seccomp.build(profile, machine)
    others = [0x40000003, 0x40000028, 0xC00000F3, *(set(MACHINES.values()) - {MACHINES[machine]})]
    for call in (*range(600), 0x40000000, 0x40000027, 0x7FFFFFFF, 0xFFFFFFFF):
        for other in others:
            assert decide(code, other, call)[0] == errno.ENOSYS
        if call > 470:
            assert decide(code, MACHINES[machine], call)[0] == errno.ENOSYS


def test_what_every_program_needs(machine: str) -> None:
    for profile in PROFILES:
        decision = Filter(profile, machine)
        assert {name for name in ALWAYS.split() if decision(name) != ALLOW} == set()


def test_what_no_program_and_no_tool_may(machine: str) -> None:
    for profile, names in (
        ("program", NEVER_IN_A_PROGRAM + " execve execveat"),
        ("program-exec", NEVER_IN_A_PROGRAM),
        ("tools", NEVER_IN_A_TOOL),
    ):
        decision = Filter(profile, machine)
        wrong = {name for name in names.split() if decision(name) != errno.EPERM}
        assert wrong == set()


def test_only_two_profiles_execute(machine: str) -> None:
    allowed = [profile for profile in PROFILES if Filter(profile, machine)("execve") == ALLOW]
    assert allowed == ["program-exec", "tools"]
    assert Filter("program-exec", machine)("execveat") == ALLOW


@settings(max_examples=300, deadline=None)
@given(
    machine=st.sampled_from(sorted(MACHINES)),
    profile=st.sampled_from(["program", "program-exec"]),
    call=st.integers(0, 600) | st.integers(0, 2**32 - 1),
    arguments=st.tuples(*[st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, PID, 2**32])] * 6),
)
def test_nothing_is_allowed_that_is_not_named(
    machine: str, profile: str, call: int, arguments: tuple[int, ...]
) -> None:
    names = {value: name for name, value in seccomp.numbers(machine).items()}
    named = {*seccomp._PROGRAM_MAY.split(), *" ".join(seccomp._PROGRAM_CHECKS).split()}
    if profile == "program-exec":
        named |= {"execve", "execveat"}
    decision = Filter(profile, machine)(call, *arguments)
    if call not in names or names[call] == "clone3":
        assert decision == errno.ENOSYS
    elif names[call] not in named:
        assert decision == errno.EPERM
    elif names[call] in seccomp._PROGRAM_MAY.split():
        assert decision == ALLOW


def test_clone(program: Filter, tools: Filter) -> None:
    glibc, musl = 0x3D0F00, 0x7D0F00
    fork, vfork = 0x1200011, 0x4111
    assert program("clone", glibc) == program("clone", musl) == ALLOW
    assert program("clone", fork) == program("clone", vfork) == errno.EPERM
    assert program("clone", glibc << 32) == errno.EPERM
    assert tools("clone", fork) == tools("clone", vfork) == tools("clone", glibc) == ALLOW
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert program("clone", glibc | bit) == tools("clone", fork | bit) == errno.EPERM
    assert program("clone3") == tools("clone3") == errno.ENOSYS


def test_signals_reach_the_own_process_only(program: Filter, tools: Filter) -> None:
    for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        assert program(name, PID, PID, 9) == ALLOW
        for other in (0, 1, PID + 1, 2**32 - 1, 2**64 - 1, 2**32 - PID):
            assert program(name, other, 9, 9) == errno.EPERM
    assert tools("kill", 1, 9) == ALLOW


def test_limits_are_read_only(program: Filter, tools: Filter) -> None:
    for pid in (0, PID):
        assert program("prlimit64", pid, 3, 0, 0x7000) == ALLOW
        assert program("prlimit64", pid, 3, 0x7000, 0) == errno.EPERM
        assert program("prlimit64", pid, 3, 1 << 32, 0) == errno.EPERM
        assert tools("prlimit64", pid, 3, 0x7000, 0) == ALLOW
    assert program("prlimit64", 1, 3, 0, 0x7000) == errno.EPERM
    assert tools("prlimit64", 1, 3, 0x7000, 0) == errno.EPERM


def test_ioctl_asks_only(program: Filter, tools: Filter) -> None:
    for request in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A):
        assert program("ioctl", 0, request) == tools("ioctl", 0, request) == ALLOW
    for request in (0x5400, 0x5402, 0x5412, 0x541C, 0x5452, 0x8901, 0x8902, 0, 2**32 - 1):
        assert program("ioctl", 0, request) == tools("ioctl", 0, request) == errno.ENOTTY


def test_fcntl_and_prctl(program: Filter) -> None:
    for command in (0, 1, 2, 3, 4, 9, 1030, 1033, 1034):
        assert program("fcntl", 3, command) == ALLOW
    for command in (5, 6, 7, 8, 10, 15, 36, 37, 38, 1024, 1025, 1026, 1031, 5000):
        assert program("fcntl", 3, command) == errno.EPERM
    for option in (15, 16, 3, 0x53564D41):
        assert program("prctl", option) == ALLOW
    for option in (0, 1, 4, 8, 22, 24, 35, 36, 38, 53, 0x59616D61, 0x53564D42):
        assert program("prctl", option) == errno.EPERM


def test_sockets_come_in_connected_pairs(program: Filter, tools: Filter) -> None:
    flags = 0x80800  # close on exec, non-blocking
    for decision in (program, tools):
        assert decision("socketpair", 1, 1) == decision("socketpair", 1, 5 | flags) == ALLOW
        assert decision("socketpair", 1, 2) == decision("socketpair", 1, 3) == errno.EPERM
        assert decision("socketpair", 2, 1) == decision("socketpair", 40, 1) == errno.EPERM
        assert decision("setsockopt", 3, 1, 7) == ALLOW
        assert decision("setsockopt", 3, 1, 26) == errno.EPERM  # SO_ATTACH_FILTER


def test_tools_may_ask_who_they_are(tools: Filter) -> None:
    assert tools("personality", 0xFFFFFFFF) == ALLOW
    assert tools("personality", 0x40000) == tools("personality", 0) == errno.EPERM
    nobody = 2**32 - 1
    assert tools("setresuid", nobody, 1000, nobody) == ALLOW  # posix_spawn in make
    assert tools("setresuid", 0, 0, nobody) == tools("setresuid", nobody, 0, 0) == errno.EPERM


def test_the_pid_is_put_in(machine: str) -> None:
    for profile in PROFILES:
        template = seccomp.build(profile, machine)
        holes = [k for *_, k in struct.iter_unpack("=HBBI", template)]
        assert seccomp.PID_PLACEHOLDER in holes
        filled = seccomp.with_pid(template, PID)
        values = [k for *_, k in struct.iter_unpack("=HBBI", filled)]
        assert values == [PID if k == seccomp.PID_PLACEHOLDER else k for k in holes]


def test_ranges_are_minimal() -> None:
    ranges = seccomp._ranges({0: 1, 1: 1, 2: 2, 9: 1, 2**32 - 1: 1}, 2)
    assert ranges == [(0, 1), (2, 2), (9, 1), (10, 2), (2**32 - 1, 1)]
    assert all(a[1] != b[1] for a, b in pairwise(ranges))


def test_unknown_machines_and_profiles() -> None:
    with pytest.raises(OSError, match="riscv64"):
        seccomp.build("program", "riscv64")
    with pytest.raises(ValueError, match="nothing"):
        seccomp.build("nothing")


# From here on the kernel decides.

PREAMBLE = """
import ctypes, errno, importlib.util, os, sys
spec = importlib.util.spec_from_file_location("filters", {path!r})
filters = importlib.util.module_from_spec(spec)
spec.loader.exec_module(filters)
libc = ctypes.CDLL(None, use_errno=True)
def refused(call, *arguments, code=errno.EPERM):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == code, error
    else:
        raise AssertionError(f"{{call}} is allowed")
def raw(number, *arguments):
    if libc.syscall(ctypes.c_long(number), *arguments) == -1:
        raise OSError(ctypes.get_errno(), "")
filters.install(filters.build({profile!r}))
"""
live = pytest.mark.skipif(not seccomp.is_available(), reason="this kernel has no seccomp filters")


def under(source: str, profile: str = "program") -> None:
    script = PREAMBLE.format(path=seccomp.__file__, profile=profile) + source + "\nprint('end')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout[-4:]) == (0, "end\n"), done.stderr


@live
def test_live_refusals() -> None:
    under(
        """
import resource, socket, subprocess
refused(os.fork)
refused(subprocess.run, ["/bin/true"])
refused(os.execv, "/bin/true", ["true"])
refused(os.posix_spawn, "/bin/true", ["true"], {})
refused(socket.socket)
refused(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
refused(os.kill, 1, 0)
refused(os.kill, os.getppid(), 0)
refused(os.kill, 0, 0)
refused(os.kill, -1, 0)
refused(os.memfd_create, "x")
refused(os.pidfd_open, os.getpid())
refused(os.nice, 1)
refused(os.sched_setaffinity, 0, {0})
refused(os.setsid)
refused(os.chmod, "/", 0o755)
refused(raw, filters.numbers()["ptrace"], 0, 0, 0, 0)
refused(raw, filters.numbers()["bpf"], 0, 0, 0)
refused(raw, filters.numbers()["clone3"], 0, 0, code=errno.ENOSYS)
refused(raw, 4000, code=errno.ENOSYS)
resource.getrlimit(resource.RLIMIT_STACK)
try:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ValueError:
    pass
else:
    raise AssertionError
"""
    )


@live
@pytest.mark.skipif(seccomp.MACHINE != "x86_64", reason="x32 is x86_64's")
def test_live_x32() -> None:
    under("refused(raw, 0x40000000 | 39, code=errno.ENOSYS)")


@live
def test_live_ordinary_program() -> None:
    under(
        """
import asyncio, concurrent.futures, decimal, mmap, random, select, signal, socket, threading, time
os.kill(os.getpid(), 0)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.raise_signal(signal.SIGALRM)
signal.pthread_kill(threading.get_ident(), signal.SIGALRM)
signal.setitimer(signal.ITIMER_REAL, 0.01)
time.sleep(0.02)
threading.stack_size(16 << 20)
done = []
threads = [threading.Thread(target=done.append, args=(i,)) for i in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(done) == 3
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    assert list(pool.map(abs, [-1])) == [1]
async def main():
    return await asyncio.gather(asyncio.sleep(0.001, 1), asyncio.to_thread(abs, -2))
assert asyncio.run(main()) == [1, 2]
assert str(decimal.Decimal(2).sqrt()).startswith("1.414")
random.SystemRandom().random(), os.urandom(4), time.localtime(), os.times(), os.uname()
mmap.mmap(-1, 4096).close()
a, b = socket.socketpair()
a.setblocking(False)
a.send(b"x")
assert b.recv(1) == b"x"
read, write = os.pipe()
os.set_inheritable(read, True)
assert select.select([read], [write], [], 0)[1] == [write]
assert not os.isatty(read) and os.listdir("/") and os.stat("/") and os.sched_getaffinity(0)
open(os.devnull, "w").write("x")
"""
    )


@live
@pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="numpy is not installed")
def test_live_numpy() -> None:
    under("import numpy as n\na = n.random.rand(99, 99)\nn.linalg.svd(a @ a)\nn.fft.fft(a)")


@live
def test_live_profiles_that_execute() -> None:
    under("refused(os.fork)\nos.execv('/bin/echo', ['echo', 'end'])", "program-exec")
    under(
        """
import socket, subprocess
subprocess.run(["/bin/sh", "-c", "echo $(echo x) | cat"], check=True, stdout=-1)
if os.fork() == 0:
    os._exit(0)
assert os.wait()[1] == 0
refused(socket.socket)
refused(raw, filters.numbers()["ptrace"], 0, 0, 0, 0)
refused(raw, filters.numbers()["unshare"], 0x10000000)
""",
        "tools",
    )


@live
def test_live_a_bad_filter_is_an_error_and_asking_installs_nothing() -> None:
    under("refused(filters.install, b'12345678', code=errno.EINVAL)", "tools")
    under("refused(filters.install, filters.build('program'))")  # no second one on top
    assert seccomp.is_available()
    subprocess.run(["/bin/true"], check=True)
