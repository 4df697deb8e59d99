"""From an exception to one line and an exit status: 2 for wrong words, 1 for work that failed."""

import errno
import os

from rlef.text import printable

_PATHS = {
    errno.EACCES: "; allowed: a path that you may read and write",
    errno.EEXIST: "; allowed: a new path",
    errno.EISDIR: "; allowed: a file",
    errno.ELOOP: "; allowed: a path without a circle of links",
    errno.ENAMETOOLONG: "; allowed: a shorter name",
    errno.ENOENT: "",
    errno.ENOTDIR: "; allowed: a path through folders",
    errno.EPERM: "; allowed: a path that you may read and write",
    errno.EROFS: "; allowed: a place that can be written to",
}
"""What is wrong with a path that the user named, and what would not be."""
_MACHINE = {
    errno.EDQUOT: "; make room, then give the same command again",
    errno.EFBIG: "; raise the limit of file sizes (ulimit -f), then give the same command again",
    errno.EMFILE: "; raise the limit of open files (ulimit -n), then give the same command again",
    errno.ENFILE: "; close other programs, then give the same command again",
    errno.ENOSPC: "; make room, then give the same command again",
}
_NAMELESS = (ValueError, OSError, RuntimeError, ArithmeticError)
"""Errors whose text is enough."""


def explain(error: Exception) -> tuple[str, int]:
    """Returns one printable line for the user, and the exit status."""
    from rlef.config import ConfigError
    from rlef.engines.types import ModelError
    from rlef.environment import TemplateError
    from rlef.extras import MissingExtraError
    from rlef.problems import ProblemError
    from rlef.run import RunError

    if isinstance(error, OSError) and error.errno is not None:
        message, code = _of_system(error)
    elif isinstance(error, ModuleNotFoundError) and (hint := _missing_module(error)):
        message, code = hint, 2
    else:
        words = (ConfigError, MissingExtraError, ModelError, ProblemError, RunError)
        code = 2 if isinstance(error, (*words, TemplateError)) else 1
        message = str(error)
        if not isinstance(error, (*_NAMELESS, MissingExtraError)) or not message:
            message = f"{type(error).__name__}: {error} (RLEF_TRACEBACK=1 shows where)"
    return printable(" ".join(message.split())), code


def _missing_module(error: ModuleNotFoundError) -> str | None:
    from rlef.extras import extra_of, how_to_install

    extra = extra_of(error.name or "")
    return extra and f"this needs {error.name}; install with: {how_to_install(extra)}"


def _of_system(error: OSError) -> tuple[str, int]:
    number = error.errno or 0
    reason = error.strerror or str(error)
    reason = reason.removesuffix(".")
    if error.filename is None:
        return f"{reason}{_MACHINE.get(number, '')}", 1
    names = [error.filename] if error.filename2 is None else [error.filename, error.filename2]
    where = " to ".join(
        os.fsdecode(name) if isinstance(name, bytes | str) else f"file {name}" for name in names
    )
    hint = _PATHS.get(number, _MACHINE.get(number, ""))
    return f"{where}: {reason}{hint}", 2 if number in _PATHS else 1
