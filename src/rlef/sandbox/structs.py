"""What the zygote and ``native.c`` hand each other, and what the judge learns of a test.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.
"""

import ctypes
from typing import Any

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
