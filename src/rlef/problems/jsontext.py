"""JSON without what other readers would understand in another way."""

import json
import math
from typing import Any


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON: of a field that stands twice one value would be lost without a word.

    Raises:
        ValueError: One does.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} stands twice in an object")
    return found


def strict_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is none, or has a NaN, an infinity, a number beyond the largest double or a
            field that stands twice.
    """
    return json.loads(
        text, object_pairs_hook=unique_fields, parse_constant=_refuse, parse_float=_finite
    )


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large for a double")
    return value
