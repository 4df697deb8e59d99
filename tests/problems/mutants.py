"""Broken versions of reference solutions, and the data sets' own way to judge a program."""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KINDS = ("none", "off-by-one", "other-sequence", "negated", "float", "first-item", "raises")


def mutant(program: str, entry_point: str, kind: str) -> str:
    """The program with its function replaced by one that changes what the true one returns."""
    return f"""{program}

_true_one = {entry_point}

def _changed(value):
    kind = {kind!r}
    if kind == "none":
        return None
    if kind == "raises":
        raise ValueError("broken")
    if kind == "off-by-one":
        return value + 1 if type(value) in (int, float) else value
    if kind == "float":
        return float(value) if type(value) is int else value
    if kind == "negated":
        return not value if type(value) is bool else value
    if kind == "other-sequence":
        return list(value) if type(value) is tuple else tuple(value) if type(value) is list else value
    return value[:1] if type(value) in (str, list, tuple) else value

def {entry_point}(*args, **kwargs):
    return _changed(_true_one(*args, **kwargs))
"""


def outcomes(scripts: Sequence[str], timeout_s: float = 20.0) -> list[bool]:
    """Whether each script ends with status 0 in a plain interpreter, as the data sets judge."""

    def run(script: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "script.py")
            path.write_text(script)
            try:
                done = subprocess.run(
                    [sys.executable, "-I", str(path)],
                    capture_output=True,
                    timeout=timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return False
        return done.returncode == 0

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, scripts))


def many_in_one(scripts: Sequence[str]) -> str:
    """A script that runs many scripts, each in a child of its own, and prints 1 or 0 for each."""
    return f"""
import os, sys, signal
results = []
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
    results.append("1" if os.waitpid(child, 0)[1] == 0 else "0")
print("".join(results))
"""


def parses(text: str) -> bool:
    """Whether a text is Python."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
