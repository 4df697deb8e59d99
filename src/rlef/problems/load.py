"""From a specification such as ``"codecontests:data.jsonl"`` to a list of problems."""

import difflib
from pathlib import Path

from rlef.problems.codecontests import load_codecontests
from rlef.problems.errors import ProblemError
from rlef.problems.jsonl import load_jsonl
from rlef.problems.types import Problem

FILE_SPLITS = ("train", "valid", "validation", "test")
MINI_SPLITS = ("train", "valid", "test")
SCHEMES = ("codecontests:PATH[:SPLIT]", "jsonl:PATH", "mini:train|valid|test")


def load_problems(spec: str) -> list[Problem]:
    """Loads the problems that a specification names.

    Example:
        ``load_problems("codecontests:data/valid.jsonl")``

    Args:
        spec: ``codecontests:PATH[:SPLIT]`` (see ``load_codecontests``), ``jsonl:PATH`` (see
            ``rlef.problems.jsonl``) or ``mini:SPLIT``, the generated problems that come with rlef.
            What follows the last colon of a PATH is a split only if it is called like one.

    Raises:
        ProblemError: The specification or the data are wrong; one line says where and what.
    """
    scheme, _, rest = spec.partition(":")
    if scheme == "codecontests" and rest:
        path, _, split = rest.rpartition(":")
        if path and split in FILE_SPLITS:
            return load_codecontests(Path(path), split)
        return load_codecontests(Path(rest))
    if scheme == "jsonl" and rest:
        return load_jsonl(Path(rest))
    if scheme == "mini" and rest in MINI_SPLITS:
        from rlef.problems.mini import load_split  # generates: only for those who ask

        return load_split(rest)
    if scheme == "mini":
        raise ProblemError(f"unknown split {rest!r} in {spec!r}; allowed: {', '.join(MINI_SPLITS)}")
    if scheme in ("codecontests", "jsonl"):
        raise ProblemError(f"no path in {spec!r}; allowed: {', '.join(SCHEMES)}")
    near = difflib.get_close_matches(scheme, [name.partition(":")[0] for name in SCHEMES], n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ProblemError(
        f"unknown data set {scheme!r} in {spec!r}{hint}; allowed: {', '.join(SCHEMES)}"
    )
