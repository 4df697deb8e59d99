"""System call filters: classic BPF programs that the kernel runs at every call of a process.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.

A program under test may make only the calls that are named here; a tool (a compiler) may make all
but those named here. What is refused fails with an ordinary error, so that a program that tries
goes on to a traceback. The kernel walks a filter for every number there is when it is installed, so
a number is found by binary search over ranges.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable, Mapping

MACHINE = os.uname().machine
PID_PLACEHOLDER = 0x7FABCDEF
"""Stands in a program for the process that will run under it; see :func:`with_pid`."""

# Names in the order of their numbers; a number says where to go on counting.
_SINCE_LINUX_5 = """
424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen
fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule
landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node cachestat
fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat
removexattrat open_tree_attr file_getattr file_setattr listns
"""
_X86_64 = """
0 read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction
rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select sched_yield
mremap msync mincore madvise shmget shmat shmctl dup dup2 pause nanosleep getitimer alarm
setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind
listen getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit wait4
kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync
truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink
readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times
ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid
setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid
getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime
mknod uselib personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam
sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_rr_get_interval mlock munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl
prctl arch_prctl adjtimex setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff
reboot sethostname setdomainname iopl ioperm create_module init_module delete_module
get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security
gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr
flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity
sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit io_cancel
get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages
getdents64 set_tid_address restart_syscall semtimedop fadvise64 timer_create timer_settime
timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres
clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind set_mempolicy
get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load
waitid add_key request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch
inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat
renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list
get_robust_list splice tee sync_file_range vmsplice move_pages utimensat epoll_pwait signalfd
timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2
epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg
fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs
sendmmsg setns getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr
sched_getattr renameat2 seccomp getrandom memfd_create kexec_file_load bpf execveat userfaultfd
membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx
io_pgetevents rseq
"""
_AARCH64 = """
0 io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr
lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getcwd
lookup_dcookie eventfd2 epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1
inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat mkdirat unlinkat
symlinkat linkat renameat umount2 mount pivot_root nfsservctl statfs fstatfs truncate ftruncate
fallocate faccessat chdir fchdir chroot fchmod fchmodat fchownat fchown openat close vhangup pipe2
quotactl getdents64 lseek read write readv writev pread64 pwrite64 preadv pwritev sendfile
pselect6 ppoll signalfd4 vmsplice splice tee readlinkat newfstatat fstat sync fsync fdatasync
sync_file_range timerfd_create timerfd_settime timerfd_gettime utimensat acct capget capset
personality exit exit_group waitid set_tid_address unshare futex set_robust_list get_robust_list
nanosleep getitimer setitimer kexec_load init_module delete_module timer_create timer_gettime
timer_getoverrun timer_settime timer_delete clock_settime clock_gettime clock_getres
clock_nanosleep syslog ptrace sched_setparam sched_setscheduler sched_getscheduler sched_getparam
sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max sched_get_priority_min
sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack rt_sigsuspend rt_sigaction
rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn setpriority getpriority
reboot setregid setgid setreuid setuid setresuid getresuid setresgid getresgid setfsuid setfsgid
times setpgid getpgid getsid setsid getgroups setgroups uname sethostname setdomainname getrlimit
setrlimit getrusage umask prctl getcpu gettimeofday settimeofday adjtimex getpid getppid getuid
geteuid getgid getegid gettid sysinfo mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
mq_getsetattr msgget msgctl msgrcv msgsnd semget semctl semtimedop semop shmget shmctl shmat shmdt
socket socketpair bind listen accept connect getsockname getpeername sendto recvfrom setsockopt
getsockopt shutdown sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl clone
execve mmap fadvise64 swapon swapoff mprotect msync mlock munlock mlockall munlockall mincore
madvise remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages move_pages
rt_tgsigqueueinfo perf_event_open accept4 recvmmsg 260 wait4 prlimit64 fanotify_init fanotify_mark
name_to_handle_at open_by_handle_at clock_adjtime syncfs setns sendmmsg process_vm_readv
process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom
memfd_create bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2
pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq kexec_file_load
"""
_ARCHITECTURES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

_PROGRAM_MAY = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
open openat openat2 creat dup dup2 dup3 pipe pipe2 fsync fdatasync ftruncate
sendfile copy_file_range
stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir umask
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr getxattrat listxattrat
truncate rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat
brk mmap munmap mprotect mremap msync madvise mseal
futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list set_tid_address rseq
membarrier arch_prctl exit exit_group wait4 waitid restart_syscall
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack
signalfd signalfd4 pause alarm getitimer setitimer
timer_create timer_settime timer_gettime timer_getoverrun timer_delete
timerfd_create timerfd_settime timerfd_gettime
time gettimeofday clock_gettime clock_getres nanosleep clock_nanosleep times
poll ppoll select pselect6 eventfd eventfd2
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
sendto recvfrom sendmsg recvmsg shutdown getsockopt getsockname getpeername
getpid getppid gettid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid
getgroups capget getrlimit getrusage getpriority getrandom getcpu sysinfo uname
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_getattr
sched_get_priority_max sched_get_priority_min sched_rr_get_interval
"""
"""What changes paths is for the read-only file system, or Landlock, to refuse. Landlock does not
know owners, modes, times and attributes, so their changes are missing here."""
_EXECUTE = "execve execveat"
_TOOLS_MAY_NOT = """
socket connect accept accept4 bind listen recvmmsg sendmmsg
ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp
pidfd_open pidfd_getfd pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo
mount umount2 mount_setattr move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick
statmount listmount pivot_root chroot unshare setns listns name_to_handle_at open_by_handle_at
bpf perf_event_open userfaultfd seccomp io_uring_setup io_uring_enter io_uring_register
io_setup io_submit add_key request_key keyctl vmsplice remap_file_pages
kexec_load kexec_file_load init_module finit_module delete_module create_module query_module
get_kernel_syms inotify_init inotify_init1 inotify_add_watch fanotify_init fanotify_mark
reboot swapon swapoff quotactl quotactl_fd acct settimeofday clock_settime clock_adjtime adjtimex
syslog vhangup sethostname setdomainname iopl ioperm modify_ldt uselib nfsservctl lookup_dcookie
_sysctl sysfs afs_syscall tuxcall security getpmsg putpmsg vserver epoll_ctl_old epoll_wait_old
setuid setgid setreuid setregid setfsuid setfsgid setgroups capset
memfd_create memfd_secret shmget shmat shmctl shmdt msgget msgsnd msgrcv msgctl
semget semop semtimedop semctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
mq_getsetattr
setpriority ioprio_set sched_setparam sched_setscheduler sched_setaffinity sched_setattr
mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages
"""
_NOT_IMPLEMENTED = "clone3"
"""Its flags lie in memory, out of a filter's reach; the C library then takes ``clone``."""

_CLONE_THREAD = 0x10000
_CLONE_NEW = 0x7E020000
"""Every flag of ``clone`` for a new namespace."""
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 1, 5
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS2"""
_PRCTLS = (2, 3, 7, 15, 16, 21, 23, 27, 30, 37, 39, 40, 42, 52, 0x53564D41)
"""PR_SET_NAME and PR_SET_VMA; the rest only reads: PDEATHSIG, DUMPABLE, KEEPCAPS, NAME, SECCOMP,
CAPBSET, SECUREBITS, TIMERSLACK, CHILD_SUBREAPER, NO_NEW_PRIVS, TID_ADDRESS, THP_DISABLE,
SPECULATION_CTRL."""
_FCNTLS = (*range(5), 9, 1030, 1032, 1033, 1034)
"""DUPFD to SETFL, GETOWN, DUPFD_CLOEXEC, GETPIPE_SZ, ADD_SEALS, GET_SEALS: none signals another
process or watches a file. Nor are there locks: they would outlive a test with its files, and
programs in other jails would see those on the library."""
_SOCKET_OPTIONS = (7, 8, 20, 21)
"""Buffer sizes and timeouts; others would load programs into the kernel."""
_UNCHANGED = 0xFFFFFFFF
"""-1 as a user, or as a personality: none is set."""

_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in ``struct seccomp_data``."""
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_FAR = 255
"""A conditional jump skips at most so many instructions."""


class _Assembler:
    """Collects instructions from the last to the first: all jumps go forward, to what is there.

    A place is the count of instructions from it to the end.
    """

    def __init__(self) -> None:
        self._reversed: list[bytes] = []
        self.allow = self._emit(_RETURN, _ALLOW)
        self.refuse = self._emit(_RETURN, _REFUSE | errno.EPERM)
        self.missing = self._emit(_RETURN, _REFUSE | errno.ENOSYS)
        self.no_terminal = self._emit(_RETURN, _REFUSE | errno.ENOTTY)

    def _emit(self, code: int, k: int, yes: int = 0, no: int = 0) -> int:
        self._reversed.append(struct.pack("=HBBI", code, yes, no, k))
        return len(self._reversed)

    def _skip(self, place: int) -> int:
        return len(self._reversed) - place

    def _near(self, place: int) -> int:
        """The place, or that of a long jump to it."""
        if self._skip(place) < _FAR:  # the other side may put one long jump in between
            return place
        return self._emit(_JUMP, self._skip(place))

    def test(self, code: int, k: int, yes: int, no: int) -> int:
        """Goes on at one of two places."""
        yes, no = self._near(yes), self._near(no)
        return self._emit(code, k, self._skip(yes), self._skip(no))

    def argument(self, index: int, high: bool = False) -> int:
        """Loads half of an argument. Where the kernel takes an int, the low half is all of it."""
        return self._emit(_LOAD, 16 + 8 * index + 4 * high)

    def mask(self, k: int) -> int:
        """Keeps some bits of what is loaded."""
        return self._emit(_AND, k)

    def search(self, ranges: list[tuple[int, int]]) -> int:
        """Goes on at the place of the range that what is loaded falls into."""
        if len(ranges) == 1:
            return ranges[0][1]
        middle = len(ranges) // 2
        above, below = self.search(ranges[middle:]), self.search(ranges[:middle])
        return self.test(_IF_AT_LEAST, ranges[middle][0], above, below)

    def program(self, architecture: int, ranges: list[tuple[int, int]]) -> bytes:
        """The whole: another architecture's calls do not exist, the others are looked up."""
        self.search(ranges)
        start = self._emit(_LOAD, _NUMBER)
        self.test(_IF_EQUAL, architecture, start, self.missing)
        self._emit(_LOAD, _ARCHITECTURE)
        return b"".join(reversed(self._reversed))


def _ranges(places: Mapping[int, int], default: int) -> list[tuple[int, int]]:
    """Starts of ranges of numbers with the same place, from 0 up."""
    found = [(0, places.get(0, default))]
    for edge in sorted({*places, *(number + 1 for number in places)} - {1 << 32}):
        place = places.get(edge, default)
        if place != found[-1][1]:
            found.append((edge, place))
    return found


def _one_of(index: int, values: Iterable[int]) -> Callable[[_Assembler], int]:
    """Allows a call if the argument is one of these."""

    def check(asm: _Assembler) -> int:
        asm.search(_ranges(dict.fromkeys(values, asm.allow), asm.refuse))
        return asm.argument(index)

    return check


def _ioctl(asm: _Assembler) -> int:
    asm.search(_ranges(dict.fromkeys(_IOCTLS, asm.allow), asm.no_terminal))
    return asm.argument(1)


def _own_process(asm: _Assembler) -> int:
    asm.test(_IF_EQUAL, PID_PLACEHOLDER, asm.allow, asm.refuse)
    return asm.argument(0)


def _new_thread(asm: _Assembler) -> int:
    inside = asm.test(_IF_ANY_BIT, _CLONE_NEW, asm.refuse, asm.allow)
    asm.test(_IF_ANY_BIT, _CLONE_THREAD, inside, asm.refuse)
    return asm.argument(0)


def _new_process(asm: _Assembler) -> int:
    asm.test(_IF_ANY_BIT, _CLONE_NEW, asm.refuse, asm.allow)
    return asm.argument(0)


def _own_limits(asm: _Assembler, read: int) -> int:
    """Own limits only; ``read`` is where to go on with them."""
    other = asm.test(_IF_EQUAL, PID_PLACEHOLDER, read, asm.refuse)
    asm.test(_IF_EQUAL, 0, read, other)
    return asm.argument(0)


def _read_limits(asm: _Assembler) -> int:
    """Without new limits: a null pointer, in both halves."""
    asm.test(_IF_EQUAL, 0, asm.allow, asm.refuse)
    high = asm.argument(2, high=True)
    asm.test(_IF_EQUAL, 0, high, asm.refuse)
    return _own_limits(asm, asm.argument(2))


def _set_limits(asm: _Assembler) -> int:
    return _own_limits(asm, asm.allow)


def _socket_pair(asm: _Assembler) -> int:
    """Connected pairs only: a datagram socket could send to any path."""
    kinds = dict.fromkeys((_SOCK_STREAM, _SOCK_SEQPACKET), asm.allow)
    asm.search(_ranges(kinds, asm.refuse))
    asm.mask(0xF)
    kind = asm.argument(1)
    asm.test(_IF_EQUAL, _AF_UNIX, kind, asm.refuse)
    return asm.argument(0)


def _real_user(asm: _Assembler) -> int:
    """Becomes the real user at most: ``posix_spawn`` as ``make`` calls it for ``g++ -flto``."""
    asm.test(_IF_EQUAL, _UNCHANGED, asm.allow, asm.refuse)
    saved = asm.argument(2)
    asm.test(_IF_EQUAL, _UNCHANGED, saved, asm.refuse)
    return asm.argument(0)


_Checks = dict[str, Callable[[_Assembler], int]]
_CHECKS: _Checks = {
    "ioctl": _ioctl,
    "socketpair": _socket_pair,
    "setsockopt": _one_of(2, _SOCKET_OPTIONS),
}
_PROGRAM_CHECKS: _Checks = _CHECKS | {
    "clone": _new_thread,
    "fcntl": _one_of(1, _FCNTLS),
    "prctl": _one_of(0, _PRCTLS),
    "prlimit64": _read_limits,
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo": _own_process,
}
_TOOLS_CHECKS: _Checks = _CHECKS | {
    "clone": _new_process,
    "personality": _one_of(0, (_UNCHANGED,)),
    "prlimit64": _set_limits,
    "setresuid setresgid": _real_user,
}


def numbers(machine: str = MACHINE) -> dict[str, int]:
    """Numbers of a machine's system calls.

    Raises:
        OSError: There is no table of that machine.
    """
    if machine not in _ARCHITECTURES:
        raise OSError(f"no system call filter for the machine {machine!r}")
    table: dict[str, int] = {}
    number = 0
    for word in f"{_ARCHITECTURES[machine][1]} {_SINCE_LINUX_5}".split():
        if word.isdigit():
            number = int(word)
        else:
            table[word] = number
            number += 1
    return table


def build(profile: str, machine: str = MACHINE) -> bytes:
    """Builds the filter of a profile.

    Args:
        profile: ``program``: a Python program under test, and what runs in its process;
            ``program-exec``: the same, but the process may still become another program;
            ``tools``: compilers, which start processes of their own.
        machine: As ``uname -m`` names it.

    Returns:
        An array of ``struct sock_filter``, with :data:`PID_PLACEHOLDER` in it.

    Raises:
        OSError: Such machines are not known.
        ValueError: There is no such profile.
    """
    if profile not in ("program", "program-exec", "tools"):
        raise ValueError(f"unknown profile {profile!r}")
    known = numbers(machine)
    asm = _Assembler()
    tools = profile == "tools"
    places = dict.fromkeys(known.values(), asm.allow if tools else asm.refuse)
    plain = _TOOLS_MAY_NOT if tools else _PROGRAM_MAY
    if profile == "program-exec":
        plain += _EXECUTE
    for names, place in (
        (plain, asm.refuse if tools else asm.allow),
        (_NOT_IMPLEMENTED, asm.missing),
    ):
        places.update({known[name]: place for name in names.split() if name in known})
    for names, check in (_TOOLS_CHECKS if tools else _PROGRAM_CHECKS).items():
        place = check(asm)
        places.update({known[name]: place for name in names.split() if name in known})
    return asm.program(_ARCHITECTURES[machine][0], _ranges(places, asm.missing))


def with_pid(program: bytes, pid: int) -> bytes:
    """The program for one process."""
    return b"".join(
        struct.pack("=HBBI", code, yes, no, pid if k == PID_PLACEHOLDER else k)
        for code, yes, no, k in struct.iter_unpack("=HBBI", program)
    )


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(program: bytes) -> None:
    """Puts the calling process, for good, under a filter; more threads than this one stay outside.

    Args:
        program: As :func:`build` gives it.

    Raises:
        OSError: The kernel does not take it.
    """
    code = with_pid(program, os.getpid())
    argument = _Program(len(code) // 8, code)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(argument))


def is_available() -> bool:
    """Whether this machine has filters: the kernel then reads the program, here from nowhere."""
    try:
        _prctl(_PR_SET_SECCOMP, _MODE_FILTER)
    except OSError as error:
        return error.errno == errno.EFAULT and MACHINE in _ARCHITECTURES
    return False


def _prctl(option: int, first: int, second: int = 0) -> None:
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *words) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")
