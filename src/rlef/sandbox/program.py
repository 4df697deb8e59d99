"""A Python program in a forked child of a jail: compile, run, end as the interpreter would.

Runs in the jail's bare interpreter, see ``zygote.py``. Standard library only.
"""

import _sitebuiltins
import builtins
import contextlib
import fcntl
import json
import linecache
import marshal
import os
import resource
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from rlef.sandbox.ending import (
    exit_status,
    finish,
    flush_early,
    is_restless,
    kind_of,
    streams,
    write_all,
)

PROGRAM = "solution.py"
PRELUDE = "prelude.py"
CALL = "test"
RESULT_FD = 3
CODE_FD = 4
LINE_CHARS = 400
EXCEPTHOOK = sys.excepthook
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
PYTHON = "__python__"
SCALARS = frozenset({str, int, float, bool, types.NoneType, bytes, complex})
EXACT = SCALARS | {list, tuple, set, frozenset, dict}
BASES: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (complex, complex.__pos__),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (list, list.copy),
    (tuple, lambda value: (*tuple.__iter__(value),)),
    (set, set.copy),
    (frozenset, frozenset.copy),
    (dict, dict.copy),
)
"""What a subclass may be built on, and how to copy that by the built-in type's own method."""
BASES_OF = type.__dict__["__mro__"].__get__
# A program may replace the originals.
dumps, loads, represent = json.dumps, json.loads, repr
digits, allow_digits = sys.get_int_max_str_digits, sys.set_int_max_str_digits
COMPILE_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)


REHEARSALS = (
    (b"def f(n):\n    return [n for n in (1, n)]\nprint(f(int(input()))[0])\n", None, b"1\n"),
    (b"import sys\nfor line in sys.stdin:\n    print(*map(int, line.split()))\n", None, b"1 2\n"),
    (b"def f(n):\n    return n\n", "f", b"[1]"),
    (b"def f(n):\n    return [n for n in (1, n)]\nf(1)[2]\n", None, b""),
)
"""Programs, entry points and inputs."""


def warm_up() -> None:
    """Lives a child's life a few times in the zygote, whose children then find it all done.

    The interpreter has specialised its code, filled its caches and loaded what it needs by then; a
    child that does so itself copies the pages it writes to.
    """
    builtins.exit = builtins.quit = _sitebuiltins.Quitter("exit", "Ctrl-D")
    names = ("stdin", "stdout", "stderr", "argv")
    kept, main = [getattr(sys, name) for name in names], sys.modules["__main__"]
    nothing = os.open(os.devnull, os.O_RDWR)
    for _ in range(16):
        for source, entry_point, given in REHEARSALS:
            files = [os.memfd_create("rehearsal", os.MFD_ALLOW_SEALING) for _ in range(5)]
            write_all(files[0], given)
            os.lseek(files[0], 0, os.SEEK_SET)
            for target, fd in enumerate(files):
                os.dup2(fd, target)
                os.close(fd)
            for fd, name in enumerate(names[:3]):
                setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", closefd=False))
            run(b"", source, entry_point, "", True, lambda status: None)
        is_restless(b"class")
    linecache.clearcache()
    for name, value in zip(names, kept, strict=True):
        setattr(sys, name, value)
    sys.modules["__main__"] = main
    for target in range(5):
        os.dup2(nothing, target)
    os.close(nothing)


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
        traceback.clear_frames(error.__traceback__)  # what they hold must go first
        getattr(sys.modules.get("__main__"), "__dict__", {}).clear()
    try:
        text = format_error(error, source)
    except BaseException:
        text = f"{type(error).__name__}\n"
    short = (
        line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}…" for line in lines_of(text)
    )
    write_all(2, "\n".join((*short, "")).encode("utf-8", "backslashreplace"))


def lines_of(text: str) -> list[str]:
    """The lines of a traceback, without the ones in the middle of a very long one."""
    lines = text.splitlines()
    return lines if len(lines) <= 200 else [*lines[:100], "…", *lines[-99:]]


def uncaught(error: BaseException, source: bytes) -> int:
    """Reports an uncaught error, by the program's own hook if it set one. Returns the status."""
    hook = getattr(sys, "excepthook", EXCEPTHOOK)
    if isinstance(error, MemoryError):
        report_error(error, source)
        return 1
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if hook is EXCEPTHOOK:
        report_error(error, source)
        return 1
    try:
        hook(type(error), error, error.__traceback__)
    except SystemExit as ending:
        return exit_status(ending.code)
    except BaseException:
        report_error(error, source)
    return 1


def plain(value: object, kinds: set[str], depth: int = 0) -> object:
    """Copies a value that is made of built-in types, without running code of the program.

    Objects of their subclasses (named tuples, ``IntEnum``, ``Counter``) count as what they are
    built on, whatever they say of themselves, and scalars of numpy as what they hold.

    Args:
        value: What the program returned.
        kinds: Collects the names of the types in it that JSON does not have.
        depth: How deep the value lies in others.

    Raises:
        TypeError: It is made of something else, or nested too deeply.
    """
    kind = kind_of(value)
    if kind not in EXACT:
        value = base_value(value)
        kind = kind_of(value)
    if kind in SCALARS:
        if kind in (bytes, complex) or (kind is float and value - value != 0.0):  # type: ignore[operator]
            kinds.add(kind.__name__)
        return value
    if depth > 100:
        raise TypeError("the result is nested too deeply")
    if kind in (list, tuple, set, frozenset):
        if kind is not list:
            kinds.add(kind.__name__)
        items: Any = value
        return kind([plain(item, kinds, depth + 1) for item in items])
    if kind is dict:
        given: Any = value
        pairs = [
            (plain(key, kinds, depth + 1), plain(item, kinds, depth + 1))
            for key, item in given.items()
        ]
        names = [key for key, _ in pairs if kind_of(key) is str]
        if len(names) < len(pairs) or (depth == 0 and names == [PYTHON]):
            kinds.add("dict")  # JSON would change the keys, or read as the mark of a literal
        return dict(pairs)
    raise TypeError(f"the function returned a value of type {kind.__name__}, which is not plain")


def base_value(value: Any) -> object:
    """The value of a built-in type that an object of a subclass is built on, else the object."""
    parents = BASES_OF(kind_of(value))
    for base, copy in BASES:
        if base in parents:
            return copy(value)
    scalar = getattr(sys.modules.get("numpy"), "generic", None)
    return scalar.item(value) if scalar is not None and scalar in parents else value


def encoded(value: object) -> str:
    """A returned value as JSON; where JSON has no such value, a Python literal in an object.

    The literal is what ``repr`` makes of plain values. No code of the program takes part.
    """
    kinds: set[str] = set()
    copy = plain(value, kinds)
    most = digits()
    allow_digits(0)  # for this text only: the program's own conversions keep their limit
    try:
        return dumps({PYTHON: represent(copy)} if kinds else copy)
    finally:
        allow_digits(most)


def read_all(fd: int) -> bytes:
    """The content of a file; its position stays where it is."""
    size, parts = os.lseek(fd, 0, os.SEEK_END), []
    os.lseek(fd, 0, os.SEEK_SET)
    at = 0
    while at < size and (part := os.pread(fd, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def compile_all(prelude: bytes, source: bytes) -> list[types.CodeType]:
    """Compiles what is to be executed, one after the other.

    A prelude that sets the limit of digits means the program's own numbers as well.
    """
    most = digits()
    if b"set_int_max_str_digits" in prelude:
        allow_digits(0)
    try:
        code = [compile(source, PROGRAM, "exec", dont_inherit=True)]
    finally:
        allow_digits(most)
    return [compile(prelude, PRELUDE, "exec", dont_inherit=True), *code] if prelude else code


def compile_once(prelude: bytes, source: bytes, shared: bool) -> list[types.CodeType]:
    """Compiles the program, or takes what the first child of this program compiled.

    The file is sealed before any line of the program runs, so no child can change it.
    """
    if not shared:
        return compile_all(prelude, source)
    stored = read_all(CODE_FD)
    code: list[types.CodeType] = marshal.loads(stored) if stored else compile_all(prelude, source)
    if not stored:
        with contextlib.suppress(OSError, ValueError):  # too deep: the next child compiles again
            compiled = marshal.dumps(code)
            if len(compiled) < resource.getrlimit(resource.RLIMIT_FSIZE)[0]:
                write_all(CODE_FD, compiled)
                fcntl.fcntl(CODE_FD, fcntl.F_ADD_SEALS, SEALS)
    os.close(CODE_FD)
    return code


def called(entry_point: str, given: Any, names: dict[str, Any]) -> object:
    """Calls the program as a test says.

    Args:
        entry_point: Name of the function, or of a method of the class ``Solution``.
        given: The list of arguments, or an object with a ``call`` and perhaps ``setup``.
        names: The program's own namespace.

    Raises:
        NameError: There is no such function.
    """
    if type(given) is not dict:
        return found(entry_point, names)(*given)
    setup, call = compile_test(given.get("setup", ""), given["call"])
    exec(setup, names)
    if not mentions(call, entry_point):
        return eval(call, names)
    function = found(entry_point, names)
    if names.get(entry_point) is not function:  # a method: the program may mean another by the name
        names = {**names, entry_point: function}
    return eval(call, names)


def mentions(code: types.CodeType, name: str) -> bool:
    """Whether code, or a function or comprehension in it, uses a name from outside."""
    if name in code.co_names:
        return True
    inner = [one for one in code.co_consts if type(one) is types.CodeType]
    return bool([one for one in inner if mentions(one, name)])


def compile_test(setup: str, call: str) -> tuple[types.CodeType, types.CodeType]:
    """Compiles the code of a test, which may have numbers of any length."""
    most = digits()
    allow_digits(0)
    try:
        code = compile(setup, CALL, "exec", dont_inherit=True)
        return code, compile(call, CALL, "eval", dont_inherit=True)
    finally:
        allow_digits(most)


def found(entry_point: str, names: dict[str, Any]) -> Callable[..., object]:
    """The method of the program's ``Solution`` of that name, else what the program calls so.

    Raises:
        NameError: It defines neither.
    """
    solution = names.get("Solution")
    method = getattr(solution, entry_point, None)
    made_there = isinstance(solution, type) and not hasattr(type, entry_point)
    if (made_there and callable(method)) or (solution is not None and entry_point not in names):
        owner = solution() if isinstance(solution, type) else solution
        method = getattr(owner, entry_point, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
    if entry_point not in names:
        raise NameError(f"the program does not define {entry_point!r}")
    return names[entry_point]  # type: ignore[no-any-return]


def step_back(names: dict[str, Any], entry_point: str) -> None:
    """Lets a name that the prelude bound count as a built-in one: it is not what is asked for.

    A program sees it all the same, and whatever way it binds the name itself shows afterwards.
    """
    for name in (entry_point, "Solution"):
        if name in names:
            value = names.pop(name)
            if getattr(builtins, name, None) is not value:
                setattr(builtins, name, value)


def read_arguments(text: bytes) -> Any:
    """The input of a test, which may have numbers of any length."""
    most = digits()
    allow_digits(0)
    try:
        return loads(text)
    finally:
        allow_digits(most)


def run(
    prelude: bytes,
    source: bytes,
    entry_point: str | None,
    cookie: str,
    shared: bool,
    leave: Callable[[int], None],
) -> None:
    """Compiles and runs the program, calls the entry point if there is one, ends the process."""
    limit = sys.setrecursionlimit
    try:
        codes = compile_once(prelude, source, shared)
    except COMPILE_ERRORS as error:
        report_error(error, source)
        return leave(1)
    os.write(RESULT_FD, b"r")
    module = types.ModuleType("__main__" if entry_point is None else "solution")
    module.__dict__.update(__file__=PROGRAM, __builtins__=builtins)
    sys.modules["__main__"] = sys.modules[module.__name__] = module
    sys.argv = [PROGRAM]
    linecache.cache[PROGRAM] = (lambda: source.decode("utf-8", "replace"),)  # read if asked for
    given = b"" if entry_point is None else read_all(0)
    status, first = 0, streams()
    try:
        try:
            for code in codes:
                if code is codes[-1] and entry_point is not None:
                    step_back(module.__dict__, entry_point)
                exec(code, module.__dict__)
            if entry_point is not None:
                result = encoded(called(entry_point, read_arguments(given), module.__dict__))
                write_all(RESULT_FD, f"{cookie}{result}".encode())
        finally:
            sys.settrace(None)
            sys.setprofile(None)
            flush_early()
    except SystemExit as error:
        status = exit_status(error.code)
    except BaseException as error:
        status = uncaught(error, source)
    del module, codes, code
    limit(max(sys.getrecursionlimit(), 1000))  # the interpreter ends from far fewer frames
    try:
        finish(prelude + source, first if entry_point is None else None, leave, status)
    except BaseException as error:
        report_error(error, source)
        leave(1)
