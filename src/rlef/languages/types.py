"""What is known of a language."""

import re
from collections.abc import Callable
from dataclasses import dataclass


def _plain_jail(source: str) -> str:
    return "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How programs of a language are made, run, and found in answers."""

    name: str
    """As ``Problem.language`` and fences have it."""
    title: str
    """As prompts and messages have it."""
    suffixes: tuple[str, ...]
    """How names of its files end, in lower case."""
    tags: re.Pattern[str]
    """All that models write behind a fence for it, in lower case."""
    failing: str
    """A program that compiles and does nothing but fail."""
    compiler: str | None = None
    """Name of the compiler's command."""
    interpreter: str | None = None
    """Name of the command that runs the source, which is at descriptor 4. It must write ``r`` to
    descriptor 3 once the source compiles. Neither this nor a compiler: the jail runs it itself."""
    address_mb: tuple[int, ...] = ()
    """Addresses in MiB that an interpreter takes for itself, by version: the first with which it
    starts holds."""
    needs: tuple[str, ...] = ()
    """Other commands that the compiler calls."""
    root_flags: tuple[str, ...] = ()
    """With these the command prints the folder that its compiler, ``bin/`` and its name, and all
    that this needs lie in; empty: the compiler is the command, and lies below ``/usr``."""
    source_name: str = "solution"
    """File name of the source, as messages show it."""
    flags: tuple[str, ...] = ()
    """Arguments of the compiler, without source and output; of the interpreter, with
    ``{memory_mb}`` for the memory limit."""
    static_flags: tuple[str, ...] = ()
    """Arguments more where the machine has static libraries: such programs start faster."""
    function_mode: bool = False
    """Whether ``mode="function"`` works."""
    memory_signs: tuple[bytes, ...] = ()
    """What the end of stderr holds when an allocation failed."""
    first_error: re.Pattern[str] | None = None
    """Finds the first error in what the compiler says; ``None``: it says only one."""
    replaced: tuple[tuple[re.Pattern[str], str], ...] = ()
    """What is replaced in messages on programs that failed, such as numbers that differ by run."""
    main: re.Pattern[str] | None = None
    """What every whole program has; ``None``: programs are parsed as Python."""
    parts: tuple[re.Pattern[str], ...] = ()
    """What most of them have, such as includes, or words that read the input."""
    jail: Callable[[str], str] = _plain_jail
    """The kind of jail that a source needs: ``python`` or ``numpy``."""

    @property
    def runs_in_jail(self) -> bool:
        """Whether the jail's own interpreter runs it."""
        return self.compiler is None and self.interpreter is None
