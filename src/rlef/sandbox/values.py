"""Plain Python values as text: what a function returned, read without running anything.

The text may come from a program that lies, so reading takes linear time and memory, makes no other
types than the built-in ones, and knows nothing but what ``repr`` writes of those.
"""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

LONG = 600
"""Digits that ``int`` reads under any limit that Python allows (640 at least)."""

PYTHON = "__python__"
CHECK = "__check__"

_REAL = r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)"
_ESCAPE = r"\\(?:[\\'\"nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
_TOKEN = re.compile(
    rf"""[ \n]*(?:
      (?P<complex>\((?:-?{_REAL})[+-]{_REAL}j\)|-?{_REAL}j)
    | (?P<float>-?(?:\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|inf|nan))
    | (?P<int>-?\d+)
    | (?P<text>b?(?:'(?:[^'\\\n]|{_ESCAPE})*'|"(?:[^"\\\n]|{_ESCAPE})*"))
    | (?P<name>None|True|False)
    | (?P<empty>(?:frozen)?set\(\))
    | (?P<open>frozenset\(\{{|[\[({{])
    | (?P<close>[\])}}])
    | (?P<mark>[,:])
    )""",
    re.VERBOSE,
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "frozenset({": "}"}
_NAMES = {"None": None, "True": True, "False": False}
_DEPTH = 150
_MANY = 1000
"""Items of a set or dict above which equal hashes are counted: many would take quadratic time."""


@dataclass(frozen=True, repr=False)
class LongInteger:
    """An integer kept as text, since its conversion would take quadratic time."""

    text: str

    def __repr__(self) -> str:
        return self.text


def read_integer(text: str) -> int | LongInteger:
    """An integer of any length, in linear time."""
    return int(text) if len(text) <= LONG else LongInteger(text)


def read_result(text: bytes) -> object:
    """The value that a jail sent: JSON, or a Python literal in an object.

    Raises:
        ValueError: It is neither.
    """
    integer = read_integer if len(text) > LONG else None
    try:
        value = json.loads(text.decode("utf-8", "surrogatepass"), parse_int=integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count(b"[") + text.count(b"{") > _DEPTH and _is_deep(value):
        raise ValueError("nested too deeply")
    literal = marked(value, PYTHON)
    return value if literal is None else read_literal(literal)


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEPTH + 1):
        boxes = [one.values() if isinstance(one, dict) else one for one in level if _is_box(one)]
        level = [item for box in boxes for item in box]  # type: ignore[attr-defined]
    return bool(level)


def _is_box(value: object) -> bool:
    return isinstance(value, list | dict)


def marked(value: object, mark: str) -> str | None:
    """The text under a mark, if the value is an object with that mark."""
    if type(value) is dict and type(value.get(mark)) is str:
        return value[mark]  # type: ignore[no-any-return]
    return None


def read_literal(text: str) -> object:
    """The plain value that a literal stands for, as ``repr`` writes it.

    Integers of very many digits become ``LongInteger``.

    Raises:
        ValueError: It is none.
    """
    try:
        return _Reader(text).value()
    except (TypeError, SyntaxError) as error:  # a list as a key; an escape beyond Unicode
        raise ValueError(str(error)) from None


class _Reader:
    """Reads one literal, from left to right, without recursion."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._waiting: list[tuple[str, list[object], bool]] = []
        """Containers not yet closed: how they open, their items and marks, whether one is due."""

    def value(self) -> object:
        """The value of the whole text."""
        result: list[object] = []
        while not (result and not self._waiting):
            kind, token = self._next()
            if kind == "open":
                if len(self._waiting) >= _DEPTH:
                    raise ValueError("nested too deeply")
                self._need_place()
                self._waiting.append((token, [], True))
            elif kind == "mark":
                self._mark(token)
            elif kind == "close":
                self._put(self._closed(token), result)
            else:
                self._need_place()
                self._put(_scalar(kind, token), result)
        if self._text[self._at :].strip(" \n"):
            raise ValueError(f"something follows the value at character {self._at + 1}")
        return result[0]

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"no plain value at character {self._at + 1}")
        self._at = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _need_place(self) -> None:
        if self._waiting and not self._waiting[-1][2]:
            raise ValueError(f"a comma is missing before character {self._at}")

    def _put(self, value: object, result: list[object]) -> None:
        if not self._waiting:
            result.append(value)
            return
        opening, items, _ = self._waiting.pop()
        items.append(value)
        self._waiting.append((opening, items, False))

    def _mark(self, token: str) -> None:
        if not self._waiting or self._waiting[-1][2]:
            raise ValueError(f"{token!r} stands where no value ended, character {self._at}")
        opening, items, _ = self._waiting.pop()
        items.append(_MARKS[token])
        self._waiting.append((opening, items, True))

    def _closed(self, token: str) -> object:
        if not self._waiting or _CLOSING[self._waiting[-1][0]] != token:
            raise ValueError(f"{token!r} closes nothing, character {self._at}")
        opening, items, _ = self._waiting.pop()
        if opening == "frozenset({":
            if not self._text.startswith(")", self._at):
                raise ValueError(f"a bracket is missing at character {self._at + 1}")
            self._at += 1
        return _container(opening, items)


class _Mark:
    """A comma or a colon between items."""


_MARKS = {",": _Mark(), ":": _Mark()}


def _scalar(kind: str, token: str) -> object:
    if kind == "int":
        return read_integer(token)
    if kind == "float":
        return float(token)
    if kind == "complex":
        return complex(token)
    if kind == "text":
        return ast.literal_eval(token)
    return (frozenset() if token.startswith("f") else set()) if kind == "empty" else _NAMES[token]


def _container(opening: str, items: list[object]) -> object:
    comma, colon = _MARKS[","], _MARKS[":"]
    values, marks = items[::2], items[1::2]
    if opening == "{" and (not items or colon in marks):
        wanted = [colon, comma] * len(marks)
        if len(values) % 2 or marks != wanted[: len(marks)]:
            raise ValueError("a dict needs key: value pairs")
        _check_hashes(values[::2])
        return dict(zip(values[::2], values[1::2], strict=True))
    if colon in marks:
        raise ValueError("a colon stands outside of a dict")
    if opening == "[":
        return values
    if opening == "(":
        if not marks:
            if not values:
                return ()
            raise ValueError("a tuple of one needs a comma")
        return tuple(values)
    _check_hashes(values)
    return set(values) if opening == "{" else frozenset(values)


def _check_hashes(keys: list[Any]) -> None:
    if len(keys) > _MANY and max(Counter(map(hash, keys)).values()) > _MANY:
        raise ValueError("too many keys have the same hash")
