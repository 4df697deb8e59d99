"""The life of one forked child in a jail: limits, compile, run, end as the interpreter would.

Runs in the jail's bare interpreter, see ``runner.py``. Standard library only.
"""

import _sitebuiltins
import atexit
import builtins
import gc
import io
import json
import linecache
import math
import os
import resource
import signal
import sys
import threading
import traceback
import types
from typing import Any

PROGRAM = "solution.py"
RESULT_FD = 3
COMPILE_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)


def write_all(fd: int, data: bytes) -> None:
    """Writes every byte."""
    while data:
        data = data[os.write(fd, data) :]


def warm_up() -> None:
    """Does in the zygote what each child would have to do: compile, print a traceback."""
    builtins.exit = builtins.quit = _sitebuiltins.Quitter("exit", "Ctrl-D")
    source = b"def f(n):\n    return [n for n in (1, n)]\nf(1)[2]\n"
    try:
        exec(compile(source, PROGRAM, "exec"), {})
    except IndexError as error:
        format_error(error, source)


def lower_limit(kind: int, soft: int, hard: int) -> None:
    """Sets a limit of this process, or leaves it where the machine's own is lower already."""
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def prepare(limits: dict[str, Any], base_bytes: int, files: tuple[int, ...]) -> None:
    """Puts the test's files in place, closes all others, sets the limits of this test."""
    for target, fd in enumerate(files):
        os.dup2(fd, target)
    os.closerange(RESULT_FD + 1, 1 << 16)
    os.setsid()
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    memory = base_bytes + limits["memory_bytes"]
    cpu = math.ceil(limits["cpu_s"]) + 2
    lower_limit(resource.RLIMIT_AS, memory, memory + (16 << 20))
    lower_limit(resource.RLIMIT_CPU, cpu, cpu)
    lower_limit(resource.RLIMIT_FSIZE, limits["output_bytes"] + 1, limits["output_bytes"] + 1)
    lower_limit(resource.RLIMIT_NPROC, 64, 64)


def format_error(error: BaseException, source: bytes) -> str:
    """The traceback with only the program's own frames, at most the last 20."""
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[PROGRAM] = (len(source), None, lines, PROGRAM)
    report = traceback.TracebackException.from_exception(error, limit=-20)
    part: traceback.TracebackException | None = report
    while part is not None:
        part.stack[:] = [frame for frame in part.stack if frame.filename == PROGRAM]
        part = part.__cause__ or part.__context__
    return "".join(report.format())


def report_error(error: BaseException, source: bytes) -> None:
    """Prints an uncaught error as the interpreter would."""
    if isinstance(error, MemoryError):
        os.write(RESULT_FD, b"M")
        limit = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        text = format_error(error, source)
    except BaseException:
        text = f"{type(error).__name__}\n"
    write_all(2, text.encode("utf-8", "backslashreplace"))


def plain(value: object, depth: int = 0) -> object:
    """Checks that a value is made of exact JSON types: a subclass could lie about itself."""
    kind = type(value)
    if kind in (str, int, float, bool, types.NoneType):
        return value
    if depth > 100:
        raise TypeError("the result is nested too deeply")
    if kind is list or kind is tuple:
        return [plain(item, depth + 1) for item in value]  # type: ignore[attr-defined]
    if kind is dict:
        pairs: list[tuple[Any, Any]] = list(dict.items(value))  # type: ignore[arg-type]
        return {plain(key, depth + 1): plain(item, depth + 1) for key, item in pairs}
    raise TypeError(f"the function returned a value of type {kind.__name__}, which is not JSON")


def exit_status(code: object) -> int:
    """Exit status of ``SystemExit(code)``, by the interpreter's rules."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    write_all(2, f"{code}\n".encode("utf-8", "backslashreplace"))
    return 1


def flush() -> int:
    """Flushes the standard streams. Returns 120, as the interpreter does, if that fails."""
    status = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            status = 120
    return status


def finish(source: bytes) -> int:
    """What the interpreter does at its end: waits for threads, runs hooks, flushes, finalizes.

    Finalizing matters: a known fast-output idiom writes only when its buffer object dies. It costs
    a fifth of a trivial test, so it is left out where nothing but memory can be finalized.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    status = flush()
    main = sys.modules.pop("__main__", None)
    sys.modules.pop("solution", None)
    if b"class" in source or b"open" in source:
        for value in list(getattr(main, "__dict__", {}).values()):
            if type(value) in (io.TextIOWrapper, io.BufferedWriter) and not value.closed:
                value.flush()  # the collector might close the file below it first
        value = main = None
        gc.collect()
    return flush() or status


def run(source: bytes, entry_point: str | None, given: bytes) -> None:
    """Compiles and runs the program, calls the entry point if there is one, ends the process."""
    leave, dumps, loads = os._exit, json.dumps, json.loads
    try:
        code = compile(source, PROGRAM, "exec", dont_inherit=True)
    except COMPILE_ERRORS as error:
        report_error(error, source)
        leave(1)
    os.write(RESULT_FD, b"r")
    module = types.ModuleType("__main__" if entry_point is None else "solution")
    module.__dict__.update(__file__=PROGRAM, __builtins__=builtins)
    sys.modules["__main__"] = sys.modules[module.__name__] = module
    sys.argv = [PROGRAM]
    status = 0
    try:
        exec(code, module.__dict__)
        if entry_point is not None:
            if entry_point not in module.__dict__:
                raise NameError(f"the program does not define {entry_point!r}")
            result = dumps(plain(module.__dict__[entry_point](*loads(given))))
            write_all(RESULT_FD, b"J" + result.encode())
    except SystemExit as error:
        status = exit_status(error.code)
    except BaseException as error:
        report_error(error, source)
        status = 1
    del module, code
    try:
        status = finish(source) or status
    except BaseException as error:
        report_error(error, source)
        status = 1
    leave(status)
