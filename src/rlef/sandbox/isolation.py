"""Which walls this machine can put around programs, strongest first."""

import os
from dataclasses import replace
from pathlib import Path

from rlef.sandbox import seccomp
from rlef.sandbox.jail import IsolationError, Jail, JailError, JailSettings
from rlef.sandbox.namespaces import View, visible
from rlef.sandbox.types import Isolation

_ATTEMPTS = 3
UNSAFE_VARIABLE = "RLEF_UNSAFE_NO_ISOLATION"


def choose_isolation(
    packages: tuple[str, ...] = (), unsafe: bool = False
) -> tuple[JailSettings, Isolation]:
    """Finds the strongest walls that a jail on this machine can have, by starting one.

    Namespaces with a system call filter; one of the two alone, with a warning; nothing only if
    ``unsafe``.

    A jail that dies on the way says nothing about the machine: weaker walls are no answer to that.

    Raises:
        IsolationError: Neither namespaces nor a system call filter are to be had.
        JailError: Jails die.
    """
    best = JailSettings(seccomp=seccomp.is_available(), packages=packages, native=hot_path())
    try:
        warning = "" if best.seccomp else "no seccomp: programs may make every system call"
        return best, _try(best, warning)
    except IsolationError as error:
        reason = str(error)
    if not best.seccomp and not unsafe:
        raise IsolationError(
            f"this machine allows neither namespaces ({reason}) nor seccomp: programs would have "
            f"your files and your network; set {UNSAFE_VARIABLE}=1 to run them so all the same"
        )
    open_jail = replace(best, isolation="none")
    if not best.seccomp:
        return open_jail, _try(
            open_jail, "UNSAFE: programs run as this user, with its files and its network"
        )
    locked = replace(best, isolation="landlock", readable=_readable(packages))
    try:
        return locked, _try(
            locked, f"no namespaces ({reason}): a system call filter and Landlock instead"
        )
    except IsolationError as error:
        return open_jail, _try(
            open_jail,
            f"no namespaces ({reason}), no Landlock ({error}): programs can use your files",
        )


def hot_path() -> str | None:
    """Path of the compiled hot path, if the package was built with a compiler."""
    path = Path(__file__).with_name("_native.so")
    return str(path) if path.is_file() else None


def _try(settings: JailSettings, warning: str) -> Isolation:
    """Starts a jail and closes it again."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            jail = Jail(settings)
            break
        except JailError:
            if left == 0:
                raise
    jail.close()
    if settings.native is not None and jail.hello["hot_path"] != "C":
        stale = "the compiled hot path is not of this version; install rlef again: it is faster"
        warning = f"{warning}; {stale}" if warning else stale
    return Isolation(
        kind=settings.isolation,
        seccomp=settings.seccomp,
        hot_path=jail.hello["hot_path"],
        warning=warning,
    )


def _readable(packages: tuple[str, ...]) -> tuple[str, ...]:
    """What a program needs to read where no file system of its own hides the rest."""
    wanted = [*visible(View("python", [])), *packages]
    return tuple(path for path in wanted if os.path.exists(path))
