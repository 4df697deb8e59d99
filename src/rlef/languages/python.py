"""Python 3, by the interpreter that runs rlef."""

import re

from rlef.languages.types import Language

_IMPORT = re.compile(r"(?:\b|_)(?:import|from)(?:\b|_)")
"""Also in ``__import__("numpy")`` and ``import_module("numpy")``."""
_NUMPY = re.compile(r"\bnumpy\b")


def _jail(source: str) -> str:
    if "numpy" not in source:
        return "python"
    lines = source.replace("\\\n", " ").split("\n")
    return "numpy" if any(map(_imports_numpy, lines)) else "python"


def _imports_numpy(line: str) -> bool:
    code = line.partition("#")[0]
    start = _IMPORT.search(code)
    return start is not None and _NUMPY.search(code, start.end()) is not None


LANGUAGE = Language(
    name="python",
    title="Python",
    suffixes=(".py",),
    tags=re.compile(r"(?:c?python|py|pypy)-?[\d.]*|.*\.py"),
    failing="raise NotImplementedError\n",
    source_name="solution.py",
    function_mode=True,
    jail=_jail,
)
