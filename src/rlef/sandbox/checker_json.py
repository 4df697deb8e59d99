"""Comparison of the JSON values that functions return."""

import json
import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeGuard

from rlef.sandbox.checker_numbers import Tolerance
from rlef.sandbox.checker_text import shared_start, show, show_pair, uneven_words
from rlef.sandbox.values import LONG, LongInteger, read_integer

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_WHOLE = 60
_PATH = 80


@dataclass(frozen=True)
class _Nothing:
    """Stands where one side has no value."""


_SCALARS = frozenset({int, float, str, bool, type(None), LongInteger})
_NUMBERS = frozenset({int, float})

_Path = tuple["_Path", int | str] | None
_Pair = tuple[_Path, object, object]


def compare_json(
    expected: bytes, actual: bytes, tolerance: Tolerance | None, any_order: bool
) -> str | None:
    """Compares two JSON texts by value: 2 is 2.0, to the last digit, but true is not 1.

    Args:
        expected: The expected text.
        actual: The text of the result.
        tolerance: How far two numbers may be apart unless both are integers; ``None`` means equal.
        any_order: Whether the order of the outermost list is free.
    """
    try:
        want = _parse(expected)
    except ValueError as error:
        return f"the expected value {show(expected.strip())} is not JSON: {error}"
    try:
        got = _parse(actual)
    except ValueError as error:
        return f"expected {show(expected.strip())}, got {show(actual)}, which is not JSON: {error}"
    if _dumped(want) == _dumped(got):
        return None
    if any_order and isinstance(want, list) and isinstance(got, list):
        return _uneven(want, got)
    found = _difference(want, got, tolerance)
    return _words(found, expected.strip(), actual.strip()) if found else None


def _parse(text: bytes) -> object:
    """The value; ValueError also for NaN, infinities, a key that stands twice, and deep nesting."""
    has_long = b"0" * LONG in text.translate(_DIGITS_TO_ZERO)
    try:
        return json.loads(
            text.decode("utf-8", "surrogatepass"),
            parse_int=read_integer if has_long else None,
            parse_float=_finite,
            parse_constant=_refuse,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("broken UTF-8") from None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large for a double")
    return value


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _dumped(value: object) -> str | object:
    """A text that is equal only for values that are the same, else something equal to nothing."""
    try:
        return json.dumps(value)
    except (TypeError, RecursionError):  # a long integer, or deep nesting
        return object()


def _difference(want: object, got: object, tolerance: Tolerance | None) -> _Pair | None:
    waiting: list[_Pair] = [(None, want, got)]
    while waiting:
        pair = waiting.pop()
        inner = _inner_pairs(*pair)
        if inner is not None:
            waiting += reversed(inner)
        elif not _same(pair[1], pair[2], tolerance):
            return pair
    return None


def _inner_pairs(path: _Path, want: object, got: object) -> list[_Pair] | None:
    """What two lists or two objects hold, but for scalars that are the same."""
    if isinstance(want, list) and isinstance(got, list):
        return [
            ((path, i), a, b)
            for i, (a, b) in enumerate(zip_longest(want, got, fillvalue=_Nothing()))
            if type(a) not in _SCALARS or type(a) is not type(b) or a != b
        ]
    if isinstance(want, dict) and isinstance(got, dict):
        nothing = _Nothing()
        return [((path, key), want.get(key, nothing), got.get(key, nothing)) for key in want | got]
    return None


def _same(want: object, got: object, tolerance: Tolerance | None) -> bool:
    if is_number(want) and is_number(got):
        return want == got or (tolerance is not None and tolerance.close_values(want, got))
    return type(want) is type(got) and want == got


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number; booleans are none."""
    return type(value) in _NUMBERS


def _uneven(want: list[object], got: list[object]) -> str | None:
    try:
        expected, actual = _keys(want), _keys(got)
    except RecursionError:
        return "the result is nested too deeply to be compared in any order"
    wanted, found = Counter(expected), Counter(actual)
    if dict.__eq__(wanted, found):
        return None
    missing = next((i for i, key in enumerate(expected) if found[key] < wanted[key]), None)
    extra = next((i for i, key in enumerate(actual) if wanted[key] < found[key]), None)
    return uneven_words(
        "item",
        None if missing is None else _counted(want[missing], expected[missing], wanted, found),
        None if extra is None else _counted(got[extra], actual[extra], wanted, found),
    )


def _counted(
    item: object, key: Hashable, wanted: Counter[Hashable], found: Counter[Hashable]
) -> tuple[bytes, int, int]:
    return _text(item), wanted[key], found[key]


def _keys(items: list[object]) -> list[Hashable]:
    if set(map(type, items)) <= _SCALARS:
        return list(map(_scalar_key, items))
    return list(map(_key, items))


def _key(value: object) -> Hashable:
    """Equal for values that are the same by ``_same``, and only for those."""
    if isinstance(value, list):
        return list, tuple(_keys(value))
    if isinstance(value, dict):
        return dict, frozenset((name, _key(item)) for name, item in value.items())
    return _scalar_key(value)


def _scalar_key(value: object) -> Hashable:
    """Of numbers their text: its hash is salted, and a program may choose numbers of one hash."""
    if isinstance(value, float) and not value.is_integer():
        return float, value.hex()
    if is_number(value):
        return float, hex(int(value))
    assert isinstance(value, Hashable)
    return type(value), value


def _words(found: _Pair, expected: bytes, actual: bytes) -> str:
    """Both results if they are short, else the first place where they differ."""
    path, wanted, given = found
    if path is None or max(len(expected), len(actual)) <= _WHOLE:
        want, got = show_pair(expected, actual, shared_start(expected, actual))
        return f"expected {want}, got {got}"
    one, other = _text(wanted), _text(given)
    want, got = show_pair(one, other, shared_start(one, other))
    want = "nothing" if isinstance(wanted, _Nothing) else want
    got = "nothing" if isinstance(given, _Nothing) else got
    return f"at {_path_words(path)}: expected {want}, got {got}"


def _text(value: object) -> bytes:
    if isinstance(value, _Nothing):
        return b""
    try:
        text = json.dumps(value, ensure_ascii=False, default=lambda item: item.text)
    except RecursionError:
        text = "a value that is nested too deeply to be shown"
    text = value.text if isinstance(value, LongInteger) else text
    return text.encode("utf-8", "backslashreplace")


def _path_words(path: _Path) -> str:
    pieces: list[str] = []
    while path is not None and sum(map(len, pieces)) <= _PATH:
        path, step = path
        pieces.append(f"[{step[:_PATH]!r}]" if isinstance(step, str) else f"[{step}]")
    words = "".join(reversed(pieces))
    return words if path is None and len(words) <= _PATH else "…" + words[-_PATH:]
