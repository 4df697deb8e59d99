"""What the judge knows of a language."""

from collections.abc import Callable
from dataclasses import dataclass


def _plain_jail(source: str) -> str:
    return "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How programs of a language are made and run."""

    name: str
    compiler: str | None = None
    """Name of the compiler's command; ``None``: the jail's own interpreter runs the source."""
    source_name: str = "solution"
    """File name of the source, as messages show it."""
    flags: tuple[str, ...] = ()
    """Arguments of the compiler, without source and output."""
    static_flags: tuple[str, ...] = ()
    """Arguments more where the machine has static libraries: such programs start faster."""
    function_mode: bool = False
    """Whether ``mode="function"`` works."""
    memory_signs: tuple[bytes, ...] = ()
    """What the end of stderr holds when an allocation failed."""
    jail: Callable[[str], str] = _plain_jail
    """The kind of jail that a source needs: ``python`` or ``numpy``."""
