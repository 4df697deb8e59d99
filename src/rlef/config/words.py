"""Words of an error."""

import difflib
from collections.abc import Sequence


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """The allowed word that is nearest, in brackets; empty where none is near."""
    last = word.rpartition(".")[2]
    near = [
        *difflib.get_close_matches(word, allowed, n=1, cutoff=0.75),
        *(name for name in allowed if name.rpartition(".")[2] == last),
        *difflib.get_close_matches(word, allowed, n=1, cutoff=0.5),
    ]
    return f" (did you mean {near[0]}?)" if near else ""


def one_line(text: str) -> str:
    """The text with a space for every run of blanks and line ends."""
    return " ".join(text.split())
