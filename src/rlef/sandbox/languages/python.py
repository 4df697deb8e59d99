"""Python 3, by the interpreter that runs rlef."""

import re

from rlef.sandbox.languages.types import Language

_NUMPY = re.compile(r"^[^#\n]*\b(?:import|from)\b[^#\n]*\bnumpy\b", re.MULTILINE)


def _jail(source: str) -> str:
    return "numpy" if _NUMPY.search(source) else "python"


LANGUAGE = Language(name="python", source_name="solution.py", function_mode=True, jail=_jail)
