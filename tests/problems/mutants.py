"""Broken versions of reference solutions, and many scripts in one process."""

from collections.abc import Sequence

KINDS = ("none", "off-by-one", "other-sequence", "negated", "float", "first-item", "raises")


def mutant(program: str, entry_point: str, kind: str) -> str:
    """The program with its function replaced by one that changes what the true one returns."""
    return f"""{program}

_true_one = {entry_point}

def _changed(value):
    kind, what = {kind!r}, type(value)
    if kind == "none":
        return None
    if kind == "raises":
        raise ValueError("broken")
    if kind == "off-by-one":
        return value + 1 if what in (int, float) else value
    if kind == "float":
        return float(value) if what is int else value
    if kind == "negated":
        return not value if what is bool else value
    if kind == "other-sequence":
        return list(value) if what is tuple else tuple(value) if what is list else value
    return value[:1] if what in (str, list, tuple) else value

def {entry_point}(*args, **kwargs):
    return _changed(_true_one(*args, **kwargs))
"""


def script_of_scripts(scripts: Sequence[str]) -> str:
    """A script that runs each in a child of its own and prints 1 for a clean end, else 0."""
    return f"""
import os, signal
for script in {list(scripts)!r}:
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        try:
            exec(script, {{"__name__": "__main__"}})
        except BaseException:
            os._exit(1)
        os._exit(0)
    print("1" if os.waitpid(child, 0)[1] == 0 else "0", end="", flush=True)
"""
