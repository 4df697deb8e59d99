"""Compiled programs: made once per source in a jail for tools, kept on disk."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rlef.languages import LANGUAGES, Language
from rlef.sandbox.jail import Jail, JailError, Program, Run, StarvedError, write_all
from rlef.sandbox.types import Limits
from rlef.sandbox.verdicts import as_bytes

COMPILE_LIMITS = Limits(cpu_s=20.0, memory_mb=2048, output_kb=64 * 1024, wall_s=200.0)
"""CPU time of each process of the compiler; their wall time is the machine's affair."""
_OUTPUT = "out.bin"
_MESSAGE_BYTES = 4096
_DIGEST_BYTES = 32
_KEPT_BINARIES = 500
_TRIES = 3
_ONLY_DYNAMIC: set[str] = set()
"""Languages for which this machine was found to have no static libraries."""


class CompileError(Exception):
    """The program does not compile; the message is the compiler's."""


class CompilerMissing(Exception):
    """The machine lacks the compiler of a language."""


def cache_folder() -> Path | None:
    """Where binaries are kept: ``$XDG_CACHE_HOME/rlef/binaries``, else ``~/.cache``.

    ``None`` for a user who has no home: nothing is kept then.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(base) / "rlef" / "binaries"


class Compiler(NamedTuple):
    """A compiler of this machine."""

    path: str
    version: str
    """A line that names it."""
    root: str = ""
    """Folder that it and all that it needs lie in; empty: below ``/usr``."""

    @property
    def jail(self) -> str:
        """The kind of jail that it runs in."""
        return f"tools:{self.root}" if self.root else "tools"


@cache
def compiler(language: Language) -> Compiler:
    """Finds the compiler of a language.

    Raises:
        CompilerMissing: It is not installed, or what it needs is not.
    """
    assert language.compiler is not None
    missing = [name for name in (language.compiler, *language.needs) if shutil.which(name) is None]
    if missing:
        raise CompilerMissing(
            f"language {language.name!r} needs {missing[0]}, which is not installed"
        )
    path, root = str(shutil.which(language.compiler)), ""
    if language.root_flags:
        root = _output_of(path, *language.root_flags)
        path = f"{root}/bin/{language.compiler}"
        if not (root and os.access(path, os.X_OK)):
            raise CompilerMissing(
                f"language {language.name!r} needs {language.compiler}, which is there but does "
                f"not say where it lies: {language.compiler} {' '.join(language.root_flags)}"
            )
    path = os.path.realpath(path)
    return Compiler(path, _output_of(path, "--version"), "" if root == "/usr" else root)


def interpreter(language: Language) -> str:
    """Path of the interpreter of a language.

    Raises:
        CompilerMissing: It is not installed, or is a script that calls another.
    """
    path = shutil.which(language.interpreter or "")
    if path is None:
        raise CompilerMissing(
            f"language {language.name!r} needs {language.interpreter}, which is not installed"
        )
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            raise CompilerMissing(
                f"language {language.name!r} needs {language.interpreter} itself; {path} is a "
                f"script that calls it: put the folder of the program first in PATH"
            )
    return path


def can_run(language: Language) -> bool:
    """Whether this machine has what programs of a language need."""
    try:
        if language.interpreter is not None:
            return bool(interpreter(language))
        return language.compiler is None or bool(compiler(language))
    except CompilerMissing:
        return False


def languages_here() -> frozenset[str]:
    """The languages whose compilers are installed."""
    return frozenset(name for name, language in LANGUAGES.items() if can_run(language))


def _output_of(*command: str) -> str:
    """The first line that a command prints; empty if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.partition("\n")[0]


def build(
    language: Language, source: str, headers: dict[str, bytes], jail: Callable[[], Jail]
) -> int:
    """Compiles a program, or finds the binary of an equal one.

    Args:
        language: A compiled language.
        source: The program's text.
        headers: Files beside the source, by name.
        jail: Gives the jail of its compiler, if one is needed.

    Returns:
        A descriptor of the binary, an anonymous file; the caller closes it.

    Raises:
        CompileError: The program does not compile.
        CompilerMissing: There is no compiler.
        JailError: The jail died, or the compiler got too little of the machine.
    """
    tool = compiler(language)
    static_first = bool(language.static_flags) and language.name not in _ONLY_DYNAMIC
    for static in (True, False) if static_first else (False,):
        flags = language.flags + (language.static_flags if static else ())
        text = as_bytes(source)
        key = hashlib.sha256(repr((tool.version, flags, text, sorted(headers.items()))).encode())
        folder = cache_folder()
        stored = None if folder is None else folder / key.hexdigest()
        kept = None if stored is None else _kept(stored)
        if kept is not None:
            return _executable(kept)
        try:
            binary = _compile(language, tool, flags, text, headers, jail())
        except CompileError as error:
            if static and "cannot find -l" in str(error):
                continue  # this machine has no static libraries
            raise
        if static_first and not static:
            _ONLY_DYNAMIC.add(language.name)
        if stored is not None:
            _store(stored, binary)
        return _executable(binary)
    raise JailError("no way to link on this machine")


def _compile(
    language: Language,
    tool: Compiler,
    flags: tuple[str, ...],
    text: bytes,
    headers: dict[str, bytes],
    jail: Jail,
) -> bytes:
    program = Program(
        kind="tool",
        argv=(tool.path, *flags, "-o", _OUTPUT, language.source_name),
        libraries=f"{tool.root}/lib" if tool.root else None,
        files=((language.source_name, text), *headers.items()),
        outputs=(_OUTPUT,),
    )
    for _ in range(_TRIES):
        run = jail.run(program, b"", COMPILE_LIMITS)
        if not _may_be_the_machines(run):
            break
    if run.killed in ("wall", "starved"):
        # The driver waits for the compiler proper: so says nothing.
        raise StarvedError("the machine gave the compiler too little time")
    if run.killed:
        raise CompileError(f"compiling took longer than {COMPILE_LIMITS.cpu_s:g} s of CPU time")
    if run.exit != 0 or not run.outputs:
        words = run.stderr.decode("utf-8", "backslashreplace").strip()
        raise CompileError(words[:_MESSAGE_BYTES] or f"the compiler ended with {run.exit}")
    if len(run.outputs[0]) > COMPILE_LIMITS.output_kb * 1024:
        raise CompileError(f"the program is larger than {COMPILE_LIMITS.output_kb >> 10} MB")
    return run.outputs[0]


def _may_be_the_machines(run: Run) -> bool:
    """Whether the kernel may have killed it, or the compiler proper, for want of memory.

    A source can make a compiler say so too, and then does each time.
    """
    told = run.exit > 0 and any(words in run.stderr for words in (b"Killed signal", b"SIGKILL"))
    was_killed = run.exit == -signal.SIGKILL or told
    return was_killed and not run.killed and run.cpu_s <= COMPILE_LIMITS.cpu_s


def _kept(path: Path) -> bytes | None:
    """The binary in a file that ``_store`` wrote; ``None`` if there is none, or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, binary = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return binary if hashlib.sha256(binary).digest() == digest else None


def _store(path: Path, binary: bytes) -> None:
    """Keeps a binary, whole or not at all; a full or read-only disk only costs time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(binary).digest() + binary)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
    _forget_oldest(path.parent)


def _forget_oldest(folder: Path) -> None:
    """Removes the binaries that were made first when there are too many."""
    with contextlib.suppress(OSError):
        files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in files[: max(0, len(files) - _KEPT_BINARIES)]:
            file.unlink(missing_ok=True)


def _executable(binary: bytes) -> int:
    fd = os.memfd_create("program", os.MFD_CLOEXEC)
    os.fchmod(fd, 0o555)
    write_all(fd, binary)
    return fd
