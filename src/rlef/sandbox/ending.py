"""The end of a Python program in a forked child of a jail, as the interpreter ends one.

Runs in the jail's bare interpreter, see ``program.py``. Standard library only.
"""

import _thread
import atexit
import contextlib
import ctypes
import gc
import io
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
# A program may replace the originals.
kind_of, distinct, apply, identity, has, get_objects = type, set, map, id, hasattr, gc.get_objects
stream_of = sys.__dict__.get
FINALIZED = (
    *(b"class", b"open", b"File", b"Wrapper", b"Buffered", b"type", b"yield", b"async"),
    *(b"exec", b"eval", b"__del__", b"__import__", b"weakref"),
)
"""Words of which a program has one if its objects do something when they die: of their own, of
files that write late, of generators that end."""
HIDING = (b"weakref", b"freeze")
"""Words of programs whose objects may do so, and are not seen to."""
ENDING = frozenset({types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType})
READABLE = frozenset({io.TextIOWrapper, io.FileIO})
QUIET = frozenset({io.StringIO, io.BytesIO, io.BufferedReader})
END = ctypes.pythonapi.Py_Exit
"""Ends the interpreter and the process, with status 120 if flushing fails."""


def write_all(fd: int, data: bytes) -> None:
    """Writes every byte."""
    while data:
        data = data[os.write(fd, data) :]


def exit_status(code: object) -> int:
    """Exit status of ``SystemExit(code)``, by the interpreter's rules."""
    if code is None:
        return 0
    if isinstance(code, int):
        number = int.__add__(code, 0)  # a subclass may have operators of its own
        return int.__and__(number, 0xFF) if -(2**63) <= number < 2**63 else 255
    stream = getattr(sys, "stderr", None)
    with contextlib.suppress(BaseException):
        if stream is None:
            write_all(2, f"{code}\n".encode("utf-8", "backslashreplace"))
        else:
            stream.write(f"{code}\n")
    return 1


def flush_early() -> None:
    """What the interpreter does when a program has ended, before hooks and threads."""
    for name in ("stderr", "stdout"):
        try:  # noqa: SIM105  # contextlib.suppress would cost each child some pages
            sys.__dict__[name].flush()
        except BaseException:
            pass


def flush() -> bool:
    """Flushes the standard streams. Returns whether that worked."""
    worked = True
    for name in ("stdout", "stderr"):
        stream = stream_of(name)
        if stream is None:
            continue
        try:
            closed = bool(stream.closed)
        except BaseException:  # it need not know whether it is
            closed = False
        try:
            if not closed:
                stream.flush()
        except BaseException:
            worked = False
    return worked


def streams() -> list[int]:
    """Which objects are the standard streams now; a reference would keep them from their end."""
    return [*apply(identity, apply(stream_of, STREAMS))]


def is_restless(source: bytes) -> bool:
    """Whether an object that is alive would do more than die, such as a file that writes late.

    To know takes a look at each object, so it is done only where a word of the source says that
    there may be one.
    """
    if not has_word(source, FINALIZED):
        return False
    if has_word(source, HIDING):
        return True
    try:
        objects = get_objects()
        kinds = distinct(apply(kind_of, objects)) - QUIET
        found = [kind for kind in kinds if kind in ENDING or has(kind, "__del__")]
        for item in objects if found else ():
            if kind_of(item) in found and not is_quiet(item):
                return True
    except BaseException:  # its classes have ways of their own, or there is no memory left
        return True
    return False


def has_word(source: bytes, words: tuple[bytes, ...]) -> bool:
    """Whether one of the words is in the source."""
    for word in words:  # noqa: SIM110  # any() may be another by now
        if word in source:
            return True
    return False


def is_quiet(item: Any) -> bool:
    """Whether an object of such a type has nothing to do: it only reads, or has no ``finally``."""
    try:
        if kind_of(item) is types.GeneratorType:
            return item.gi_frame is None or not item.gi_code.co_exceptiontable
        return kind_of(item) in READABLE and (item.closed or not item.writable())
    except ValueError:  # detached
        return True


def finish(
    source: bytes, first: list[int] | None, leave: Callable[[int], None], status: int
) -> None:
    """What the interpreter does at its end: waits for threads, runs hooks, flushes, finalizes.

    Where the standard streams are others by now or cannot be flushed, or an object may do something
    when it dies, the interpreter itself does it. That takes five times as long as a trivial test,
    as it frees all that there is; elsewhere nothing is freed.

    Args:
        source: The program's text.
        first: The standard streams at its start; ``None``: what is printed does not matter.
        leave: Ends the process.
        status: Its exit status; 120 if flushing fails.
    """
    if _thread._count() or threading._threading_atexits:  # type: ignore[attr-defined]
        threading._shutdown()  # type: ignore[attr-defined]  # 0.1 ms of a trivial test's 1.0
    atexit._run_exitfuncs()
    if first is not None and (streams() != first or is_restless(source) or not flush()):
        END(status)
    leave(status)
