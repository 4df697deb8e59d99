"""From a fork of the zygote to a program: files, limits, user, system call filter.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only. ``native.c`` has the
same in C.
"""

import _signal as signal  # type: ignore[import-not-found]  # signal costs each child 0.9 MB
import contextlib
import ctypes
import fcntl
import os
import resource

from rlef.sandbox import landlock, seccomp
from rlef.sandbox.namespaces import (
    LIBC,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    call,
    drop_capabilities,
)
from rlef.sandbox.structs import FILES, NO_LIMIT, Request

SYS_EXECVEAT = {"x86_64": 322, "aarch64": 281}
AT_EMPTY_PATH = 0x1000


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
