"""Names of checkers, so that a wrong one is told with file and line; they are in the sandbox."""

import re

TEXT = ("case-blind", "sorted-tokens", "set", "compat:lcb", "compat:code_contests", "compat:apps")
"""For printed text only."""
BOTH = ("tokens", "lines", "exact", "unordered-lines")
FUNCTION = ("compat:lcb-call", "compat:apps-call")
"""For values of functions only."""
TESTLIB = "testlib"
"""A program of its own compares what is printed."""
_TOLERANCE = r"\s*(abs|rel)\s*=\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?\s*"
_FLOAT = re.compile(rf"float(\(({_TOLERANCE}(,{_TOLERANCE})*)?\))?")
_FLOAT_WORDS = "float, float(abs=1e-6,rel=1e-6)"


def wrong_checker(name: str, mode: str) -> str | None:
    """Says what is wrong with a checker in a mode, and what is allowed; ``None``: nothing."""
    allowed = (*BOTH, *FUNCTION) if mode == "function" else (*BOTH, *TEXT, TESTLIB)
    if name in allowed or _FLOAT.fullmatch(name):
        return None
    return f"is {name!r}; allowed with mode {mode}: {_FLOAT_WORDS}, {', '.join(allowed)}"
