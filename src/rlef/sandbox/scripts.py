"""Programs of another interpreter than the jail's own: an executable, and a source for it."""

from collections.abc import Callable

from rlef.languages import Language
from rlef.sandbox.build import CompilerMissing
from rlef.sandbox.jail import Program, Run, StarvedError
from rlef.sandbox.types import Limits

_START = Limits(cpu_s=10.0, memory_mb=64)
_COMPILED = b"r"


def script(
    language: Language, source: bytes, binary: int, limits: Limits, address_mb: int
) -> Program:
    """Returns what a jail runs.

    Args:
        language: One with an interpreter.
        source: The program's text.
        binary: A descriptor of the interpreter.
        limits: Those of a test.
        address_mb: What the interpreter takes for itself, as ``addresses`` finds it.
    """
    memory_mb = str(limits.memory_mb)
    flags = (flag.replace("{memory_mb}", memory_mb) for flag in language.flags)
    return Program(
        kind="script",
        source=source,
        binary=binary,
        argv=(str(language.interpreter), *flags),
        address_bytes=address_mb << 20,
    )


def addresses(language: Language, binary: int, run: Callable[[Program, bytes, Limits], Run]) -> int:
    """Finds how many MiB of addresses an interpreter takes for itself, by running an empty program.

    Args:
        language: One with an interpreter.
        binary: A descriptor of the interpreter.
        run: Runs a program in a jail.

    Raises:
        CompilerMissing: It does not start.
        StarvedError: The machine gave it no time.
    """
    words = ""
    for address_mb in language.address_mb:
        done = run(script(language, b"", binary, _START, address_mb), b"", _START)
        if done.killed == "starved":
            raise StarvedError("the machine gave the interpreter no time to start")
        if done.exit == 0 and done.result == _COMPILED:
            return address_mb
        words = " ".join(done.stderr.decode("utf-8", "backslashreplace").split())[:200]
    raise CompilerMissing(
        f"language {language.name!r} needs {language.interpreter}, which is there but does not "
        f"start in a jail: {words or 'it says nothing'}"
    )
