"""Landlock: a process gives up the machine's files, as far as they are not named, and its network.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Sequence

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, on every machine the same."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
FILES_BY_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights that a version added: the first thirteen; REFER; TRUNCATE; IOCTL_DEV."""
NETWORK, NETWORK_ABI = 3, 4
"""TCP bind and connect."""
SCOPES, SCOPES_ABI = 3, 6
"""Abstract Unix sockets and signals reach only processes under the same rules."""
VERSION_FLAG, PATH_BENEATH = 1, 1
PR_SET_NO_NEW_PRIVS = 38

_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(name: str, number: int, *args: object) -> int:
    _LIBC.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = _LIBC.syscall(ctypes.c_long(number), *words)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return int(result)


def abi() -> int:
    """The kernel's version of Landlock.

    Raises:
        OSError: It has none, or it is switched off.
    """
    return _call("landlock_create_ruleset", CREATE_RULESET, None, 0, VERSION_FLAG)


def _handled(version: int) -> bytes:
    """``struct landlock_ruleset_attr``, as long as this version knows it."""
    files = sum(rights for since, rights in FILES_BY_ABI.items() if since <= version)
    fields = [files]
    if version >= NETWORK_ABI:
        fields.append(NETWORK)
    if version >= SCOPES_ABI:
        fields.append(SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def _rights(mode: int) -> int:
    """What stays allowed below a path."""
    if stat.S_ISDIR(mode):
        return EXECUTE | READ_FILE | READ_DIR
    return READ_FILE | (WRITE_FILE if stat.S_ISCHR(mode) else EXECUTE)


def _allow(ruleset: int, path: str) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", _rights(os.fstat(fd).st_mode), fd)
        _call("landlock_add_rule", ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def create_ruleset(read_paths: Sequence[str]) -> int:
    """Writes down the rules, for ``landlock_restrict_self`` in any later process.

    They refuse every use of a file that this kernel's Landlock knows of, TCP, and signals and
    abstract sockets to the outside. Not refused: what is open already; owners, modes, times and
    attributes of files; UDP and other sockets. A system call filter has to see to those.

    Args:
        read_paths: Files and folders that may be read and executed, with all that is below; a
            device, such as ``/dev/null``, may be read and written.

    Returns:
        A descriptor.

    Raises:
        OSError: There is no Landlock, or a path does not exist.
    """
    rules = _handled(abi())
    ruleset = _call("landlock_create_ruleset", CREATE_RULESET, rules, len(rules), 0)
    try:
        for path in read_paths:
            _allow(ruleset, path)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def restrict(read_paths: Sequence[str]) -> int:
    """Puts the calling thread, and all that it starts, for good, under :func:`create_ruleset`.

    Args:
        read_paths: See there.

    Returns:
        The version of Landlock.

    Raises:
        OSError: There is no Landlock, or a path does not exist.
    """
    version = abi()
    ruleset = create_ruleset(read_paths)
    try:
        if _LIBC.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) == -1:
            raise OSError(ctypes.get_errno(), "prctl: no_new_privs")
        _call("landlock_restrict_self", RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version
