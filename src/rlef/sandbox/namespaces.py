"""Namespaces of a jail: own users, processes, network, IPC, host name and a read-only file system.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.
"""

import _signal as signal  # type: ignore[import-not-found]  # signal costs each child 0.9 MB
import contextlib
import ctypes
import errno
import os
import struct
import sys
from typing import NamedTuple

NOBODY, CHILD = 65534, 65533
"""Users of the zygote and of the programs, if rlef runs as root."""
NEW_NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000
"""CLONE_NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS"""
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 430, 431, 432
JAIL_ROOT = "/proc"
"""Where the new root is mounted: a directory that every machine has and nothing is copied from."""
BOX = "/box"
"""The folder of a tool's files, in a jail for tools."""
LIBRARIES = ("", "/lib", "/lib64", "/local/lib", "/local/lib64")
"""Where below a visible path an interpreter may have its library."""
PACKAGES = "/packages"
"""Where the jail for numpy has it."""
CAP_KILL, CAP_SETGID, CAP_SETUID = 5, 6, 7
PR_SET_KEEPCAPS = 8

LIBC = ctypes.CDLL(None, use_errno=True)


class View(NamedTuple):
    """What a jail sees of the file system."""

    name: str  # python, numpy or tools (compilers, and a folder to write to)
    packages: list[str]  # folders that programs import packages from, or that tools lie in


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
    """Makes the new namespaces. Root also gets two other users, to change to them later.

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
                write_text(f"/proc/{pid}/{kind}", f"0 0 1\n{CHILD} {CHILD} 2\n")
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
        passing = errno.EAGAIN if os.WIFSIGNALED(status) else errno.EPERM
        raise OSError(passing, "the uid map cannot be written")


def bind(path: str, target: str) -> None:
    """Shows a file or folder of the machine at another place; a link is copied."""
    if not os.path.exists(path) or os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT))
    call("mount", path.encode(), target.encode(), None, MS_BIND | MS_REC, None)


def hide_packages(prefix: str) -> None:
    """Covers installed packages: they may hold our own problem generators."""
    for folder in (prefix + below for below in LIBRARIES):
        for entry in os.listdir(folder) if os.path.isdir(folder) else ():
            for packages in ("site-packages", "dist-packages"):
                hidden = f"{folder}/{entry}/{packages}"
                if entry.startswith("python") and os.path.isdir(hidden):
                    call("mount", b"none", hidden.encode(), b"tmpfs", 0, b"size=4k")


def visible(view: View) -> list[str]:
    """The paths of the machine that a jail shows: standard library, shared libraries, devices."""
    wanted = {"/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"}
    wanted |= {f"{prefix}/lib" for prefix in (sys.base_prefix, sys.base_exec_prefix)}
    wanted |= {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}
    if view.name == "tools":
        wanted |= {"/usr", "/bin", "/etc/alternatives", "/etc/ld.so.cache", *view.packages}
        wanted -= {"/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"}
    return sorted(wanted)


def mount_view(view: View) -> None:
    """Replaces the file system by a read-only one."""
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"none", JAIL_ROOT.encode(), b"tmpfs", 0, b"mode=755")
    os.mkdir(f"{JAIL_ROOT}/.old")
    for path in visible(view):
        bind(path, JAIL_ROOT + path)
        hide_packages(JAIL_ROOT + path)
    for path in view.packages if view.name == "numpy" else ():
        bind(path, f"{JAIL_ROOT}{PACKAGES}/{os.path.basename(path)}")
    if view.name == "tools":
        os.mkdir(JAIL_ROOT + BOX)
    os.chdir(JAIL_ROOT)
    call("syscall", SYS_PIVOT_ROOT[os.uname().machine], b".", b".old")
    os.chdir("/")
    call("umount2", b"/.old", MNT_DETACH)
    os.rmdir("/.old")
    read_only = struct.pack("4Q", 1, 0, 0, 0)  # attr_set = MOUNT_ATTR_RDONLY
    call("syscall", SYS_MOUNT_SETATTR, -100, b"/", 0x8000, read_only, len(read_only))
    if view.name == "tools":
        owner = NOBODY if os.getuid() == 0 else os.getuid()  # who may delete all that is in it
        options = f"size=256m,mode=1777,uid={owner}"
        call("mount", b"none", BOX.encode(), b"tmpfs", 0, options.encode())


def open_proc() -> int:
    """A /proc of this process namespace, mounted nowhere; -1 where that is not allowed."""
    try:
        context = LIBC.syscall(SYS_FSOPEN, b"proc", 1)
        call("syscall", SYS_FSCONFIG, context, 6, None, None, 0)  # FSCONFIG_CMD_CREATE
        proc = LIBC.syscall(SYS_FSMOUNT, context, 1, 0)
        os.close(context)
    except OSError:
        return -1
    return int(proc)


def drop_capabilities(*kept: int) -> None:
    """Keeps only these capabilities."""
    mask = sum(1 << number for number in kept)
    sets = struct.pack("6I", mask, mask, 0, 0, 0, 0)
    call("capset", struct.pack("2I", 0x20080522, 0), sets)


def guard(zygote: int, control: int) -> None:
    """Stays outside and ends with the zygote; ends it when the judge dies or says so."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(zygote, signal.SIGKILL))
    call("prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.close(control)
    os.waitpid(zygote, 0)  # nobody else reaps it
    os._exit(0)


def isolate(control: int, view: View) -> tuple[int, int]:
    """Enters the namespaces and returns as their first process.

    The calling process stays outside as a guard, which ends when the first process does. The
    zygote of root keeps three capabilities, over the users of its namespace only, to give programs
    a user of their own.

    Returns:
        The user for programs, or -1: as the zygote; and a descriptor of /proc, or -1.
    """
    enter_user_namespace()
    pid = os.fork()
    if pid:
        guard(pid, control)
    for path, text in (
        ("self/oom_score_adj", "1000"),  # the kernel shall kill a jail before the trainer
        ("sys/user/max_user_namespaces", "0"),
        ("sys/kernel/shmmni", "0"),
        ("sys/kernel/msgmni", "0"),
    ):
        with contextlib.suppress(OSError):  # not every kernel lets a namespace have these
            write_text(f"/proc/{path}", text)
    proc = open_proc()
    mount_view(view)
    if os.getuid() != 0:
        drop_capabilities()
        return -1, proc
    call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    drop_capabilities(CAP_KILL, CAP_SETGID, CAP_SETUID)
    return CHILD, proc
