"""Remote calls that end: by their result, by what the actor raised, or as lost."""

import re
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    RayActorError,
    RayError,
    RaySystemError,
    RayTaskError,
)

_CAUSE = re.compile(r"(?:because|Worker exit detail:|Details?:) ?(.{3,160}?)(?:\.|\n|$)", re.S)


class Lost(RuntimeError):
    """An actor is gone or hangs. One line: why."""


class Hangs(Lost):
    """An actor does not answer in time."""


def result(call: Any, timeout_s: float, what: str) -> Any:
    """Waits for a call's result.

    Args:
        call: What ``method.remote`` returned; several in a list give a list.
        timeout_s: Longer is a hang.
        what: What the actor was to do, for the error.

    Raises:
        Lost: The actor died or hangs.
        Exception: What it raised.
    """
    try:
        return ray.get(call, timeout=timeout_s)
    except GetTimeoutError:
        raise Hangs(f"{what} took more than {timeout_s:g} s (cluster.timeout_s)") from None
    except RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise RuntimeError(f"{what}: {_first_line(error)}") from None
    except (RayActorError, ObjectLostError, RaySystemError) as error:
        raise Lost(reason(error)) from None
    except RayError as error:
        raise Lost(f"{what}: {_first_line(error)}") from None


def reason(error: Exception) -> str:
    """Returns in a few words why an actor is gone."""
    text = str(error)
    for words, meaning in (
        ("node has died", "its machine is gone"),
        ("node was terminated", "its machine is gone"),
        ("out of memory", "its machine had no memory left"),
        ("OOM", "its process died"),
        ("worker process has died", "its process died"),
        ("connection error", "its process died"),
        ("killed by", "its process was killed"),
        ("unavailable", "it cannot be reached"),
    ):
        if words in text:
            return meaning
    found = _CAUSE.search(text)
    return " ".join(found[1].split()) if found else _first_line(error)


def ended(calls: Sequence[Any], timeout_s: float) -> list[Any]:
    """Returns the calls that have ended, waiting for the first up to ``timeout_s``."""
    if not calls:
        return []
    some, others = ray.wait(list(calls), num_returns=1, timeout=timeout_s, fetch_local=False)
    if some and others:
        more, _ = ray.wait(others, num_returns=len(others), timeout=0, fetch_local=False)
        some += more
    return list(some)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
