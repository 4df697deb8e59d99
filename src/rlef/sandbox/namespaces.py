"""Namespaces of a jail: own users, processes, network, IPC, host name and a read-only file system.

Runs in the jail's bare interpreter, see ``runner.py``. Standard library only.
"""

import contextlib
import ctypes
import os
import signal
import struct
import sys

NOBODY = 65534
NEW_NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000
"""CLONE_NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS"""
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
JAIL_ROOT = "/proc"
"""Where the new root is mounted: a directory that every machine has and nothing is copied from."""

LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: object) -> None:
    """Calls a C library function that returns -1 on failure."""
    if getattr(LIBC, name)(*args) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def write_text(path: str, text: str) -> None:
    """Writes a kernel file in one write, as these files want it."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def enter_user_namespace() -> None:
    """Makes the new namespaces. Root also gets the uid nobody mapped, to change to it later.

    A process may map only its own uid, so for root a helper outside writes the maps.
    """
    uid, gid, pid = os.getuid(), os.getgid(), os.getpid()
    if uid != 0:
        call("unshare", NEW_NAMESPACES)
        write_text("/proc/self/setgroups", "deny")
        write_text("/proc/self/uid_map", f"{uid} {uid} 1")
        write_text("/proc/self/gid_map", f"{gid} {gid} 1")
        return
    wait, ready = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.close(ready)
            os.read(wait, 1)
            for kind in ("uid_map", "gid_map"):
                write_text(f"/proc/{pid}/{kind}", f"0 0 1\n{NOBODY} {NOBODY} 1\n")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(wait)
    try:
        call("unshare", NEW_NAMESPACES)
    finally:
        os.close(ready)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        raise OSError("the uid map cannot be written")


def mount_view() -> None:
    """Replaces the file system by a read-only one: standard library, shared libraries, devices.

    Installed packages are covered: they may hold our own problem generators.
    """
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"none", JAIL_ROOT.encode(), b"tmpfs", 0, b"mode=755")
    os.mkdir(f"{JAIL_ROOT}/.old")
    wanted = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"]
    wanted += [f"{prefix}/lib" for prefix in {sys.base_prefix, sys.base_exec_prefix}]
    for path in sorted(set(wanted) | {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}):
        target = JAIL_ROOT + path
        if not os.path.exists(path) or os.path.lexists(target):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(path):
            os.symlink(os.readlink(path), target)
            continue
        if os.path.isdir(path):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT))
        call("mount", path.encode(), target.encode(), None, MS_BIND | MS_REC, None)
        for entry in os.listdir(target) if os.path.isdir(target) else ():
            for packages in ("site-packages", "dist-packages"):
                hidden = f"{target}/{entry}/{packages}"
                if entry.startswith("python") and os.path.isdir(hidden):
                    call("mount", b"none", hidden.encode(), b"tmpfs", 0, b"size=4k")
    os.chdir(JAIL_ROOT)
    call("syscall", SYS_PIVOT_ROOT[os.uname().machine], b".", b".old")
    os.chdir("/")
    call("umount2", b"/.old", MNT_DETACH)
    os.rmdir("/.old")
    read_only = struct.pack("4Q", 1, 0, 0, 0)  # attr_set = MOUNT_ATTR_RDONLY
    call("syscall", SYS_MOUNT_SETATTR, -100, b"/", 0x8000, read_only, len(read_only))


def isolate(control: int) -> None:
    """Enters the namespaces and returns as their first process, without any capability.

    The calling process stays outside as a guard, which ends when the first process does.
    """
    enter_user_namespace()
    pid = os.fork()
    if pid:
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.close(control)
        os.waitpid(pid, 0)
        os._exit(0)
    for path, text in (
        ("self/oom_score_adj", "1000"),  # the kernel shall kill a jail before the trainer
        ("sys/user/max_user_namespaces", "0"),
        ("sys/kernel/shmmni", "0"),
        ("sys/kernel/msgmni", "0"),
    ):
        with contextlib.suppress(OSError):  # not every kernel lets a namespace have these
            write_text(f"/proc/{path}", text)
    mount_view()
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    nothing = struct.pack("6I", *[0] * 6)
    call("capset", struct.pack("2I", 0x20080522, 0), nothing)
