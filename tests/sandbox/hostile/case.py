"""What a hostile or odd program is, and what several of them share."""

import platform
from dataclasses import dataclass

from rlef.sandbox import Limits

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=64)
LOOP = Limits(cpu_s=0.2, memory_mb=128, output_kb=64)
"""For programs that never stop computing."""
SLEEP = Limits(cpu_s=0.5, memory_mb=128, output_kb=64, idle_s=0.5)
"""For programs that wait for ever."""
MEMORY = Limits(cpu_s=3.0, memory_mb=64, output_kb=64)
"""For programs that take memory: time enough to touch all they can get."""
EASY = Limits(cpu_s=5.0, memory_mb=512, output_kb=256)
"""For programs that must pass, also on a busy machine."""

AC, WA, RE, TLE, MLE, OLE, CE = (
    ("AC",),
    ("WA",),
    ("RE",),
    ("TLE",),
    ("MLE",),
    ("OLE",),
    ("CE",),
)
NO_MEMORY = ("MLE", "RE")
"""Where the system call, not the allocator, says that memory is out: an OSError."""

SECRET = "needle-7c3e91d2b5f04a68"
"""The expected output of programs that look for it. It never reaches a jail."""
MARK = "'nee' + 'dle-'"
"""How programs write the start of the secret without holding it."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One program, what it tries, and how that must end."""

    name: str
    attack: str
    source: str
    expectation: str
    verdicts: tuple[str, ...]
    given: str = ""
    wanted: str = "ok"
    mode: str = "stdin"
    entry_point: str | None = None
    limits: Limits = QUICK
    checker: str = "tokens"
    language: str = "python"
    says: str = ""
    """What the message or stderr must hold: the program ended for the right reason."""
    first: str = ""
    """A program that runs before, in every jail, and leaves something behind."""
    first_given: str = ""
    machine: str = ""
    """The only machine that it is for."""
    tests: int = 1
    """On how many equal tests it runs; each must end as said."""


def _table(text: str) -> dict[str, int]:
    """``name=number`` words as a table."""
    return {name: int(value) for name, _, value in (word.partition("=") for word in text.split())}


SYSCALLS = {
    "x86_64": _table("""
        shmget=29 sendfile=40 socket=41 fork=57 vfork=58 clone=56 execve=59 semget=64
        msgget=68 syslog=103 ptrace=101 setuid=105 setgid=106 setgroups=116 setresuid=117
        rt_sigqueueinfo=129 mknod=133 personality=135 sched_setparam=142
        sched_setscheduler=144 mlockall=151 vhangup=153 modify_ldt=154 pivot_root=155
        chroot=161 acct=163 settimeofday=164 mount=165 umount2=166 swapon=167 reboot=169
        sethostname=170 iopl=172 ioperm=173 init_module=175 quotactl=179
        sched_setaffinity=203 clock_settime=227 tgkill=234 mbind=237 mq_open=240
        kexec_load=246 add_key=248 request_key=249 keyctl=250 ioprio_set=251
        inotify_init1=294 migrate_pages=256 unshare=272 vmsplice=278 move_pages=279
        perf_event_open=298 fanotify_init=300 name_to_handle_at=303 open_by_handle_at=304
        setns=308 process_vm_readv=310 process_vm_writev=311 kcmp=312 finit_module=313
        sched_setattr=314 seccomp=317 memfd_create=319 bpf=321 execveat=322 userfaultfd=323
        capset=126 splice=275 tkill=200
    """),
    "aarch64": _table("""
        shmget=194 sendfile=71 socket=198 clone=220 execve=221 semget=190 msgget=186
        syslog=116 ptrace=117 setuid=146 setgid=144 setgroups=159 setresuid=147
        rt_sigqueueinfo=138 personality=92 sched_setparam=118 sched_setscheduler=119
        mlockall=230 vhangup=58 pivot_root=41 chroot=51 acct=89 settimeofday=170 mount=40
        umount2=39 swapon=224 reboot=142 sethostname=161 init_module=105 quotactl=60
        sched_setaffinity=122 clock_settime=112 tgkill=131 mbind=235 mq_open=180
        kexec_load=104 add_key=217 request_key=218 keyctl=219 ioprio_set=30
        inotify_init1=26 migrate_pages=238 unshare=97 vmsplice=75 move_pages=239
        perf_event_open=241 fanotify_init=262 name_to_handle_at=264 open_by_handle_at=265
        setns=268 process_vm_readv=270 process_vm_writev=271 kcmp=272 finit_module=273
        sched_setattr=274 seccomp=277 memfd_create=279 bpf=280 execveat=281
        userfaultfd=282 capset=91 splice=76 tkill=130
    """),
}
NEWER = _table("""
    pidfd_send_signal=424 io_uring_setup=425 io_uring_enter=426 io_uring_register=427
    open_tree=428 move_mount=429 fsopen=430 fsmount=432 pidfd_open=434 clone3=435
    pidfd_getfd=438 process_madvise=440 mount_setattr=442 quotactl_fd=443 memfd_secret=447
""")
"""The same on all machines."""

CALL = """\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    arguments = [ctypes.c_long(a) if type(a) is int else a for a in arguments]
    if (result := libc.syscall(*arguments)) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""


def number(name: str) -> int:
    """Number of a system call on this machine; one that no machine has, if it is not known."""
    return {**NEWER, **SYSCALLS.get(platform.machine(), {})}.get(name, 9999)


def syscall(name: str, arguments: str = "") -> str:
    """A program that makes one system call, past all of Python's own checks."""
    return f"{CALL}call({number(name)}, {arguments})\nprint('broke out')\n"
