"""What all checkers share: reading a text in batches, the first difference, and its words.

Bytes only. Blank means space, tab, newline, carriage return, vertical tab and form feed; any other
byte is text. Texts are read in blocks, so that many megabytes of small tokens need little memory.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

Checker = Callable[[bytes, bytes], str | None]
"""(expected, actual) -> ``None`` or the first difference, one printable line."""

AllSame = Callable[[list[bytes], list[bytes]], bool]
"""Whether each of the expected items is met by the actual item in the same place."""

_BLANK = re.compile(rb"[ \t\n\r\v\f]")
_BLOCK = 1 << 16
_BATCH = 4096
_CONTEXTS = (40, 20, 10)
_SHOWN = 140


@dataclass(frozen=True)
class Difference:
    """The first pair that differs, counted from 0; ``None`` where one side has ended."""

    index: int
    want: bytes | None
    got: bytes | None


def tokens(text: bytes) -> Iterator[bytes]:
    """The pieces between blanks."""
    return chain.from_iterable(block.split() for block in _blocks(text))


def lines(text: bytes) -> Iterator[bytes]:
    """The lines without the blanks at their ends; empty lines at the end do not count."""
    rows = (block.split(b"\n") for block in _line_blocks(text.rstrip()))
    return (line.rstrip() for line in chain.from_iterable(rows))


def _blocks(text: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(text):
        blank = _BLANK.search(text, start + _BLOCK)
        stop = blank.start() if blank else len(text)
        yield text[start:stop]
        start = stop


def _line_blocks(text: bytes) -> Iterator[bytes]:
    start = 0
    while (stop := text.find(b"\n", start + _BLOCK)) >= 0:
        yield text[start:stop]
        start = stop + 1
    yield text[start:]


def first_difference(
    want: Iterator[bytes], got: Iterator[bytes], all_same: AllSame
) -> Difference | None:
    """Compares item by item, a batch at a time.

    Args:
        want: The expected items.
        got: The actual items.
        all_same: Says whether two lists of the same length agree; it must look at pairs only.
    """
    done = 0
    while True:
        expected, actual = list(islice(want, _BATCH)), list(islice(got, _BATCH))
        shared = min(len(expected), len(actual))
        at = _agreeing(expected[:shared], actual[:shared], all_same)
        if at < max(len(expected), len(actual)):
            return Difference(done + at, _item(expected, at), _item(actual, at))
        if shared < _BATCH:
            return None
        done += shared


def _agreeing(want: list[bytes], got: list[bytes], all_same: AllSame) -> int:
    if all_same(want, got):
        return len(want)
    pairs = enumerate(zip(want, got, strict=True))
    return next((i for i, (a, b) in pairs if not all_same([a], [b])), len(want))


def _item(items: list[bytes], at: int) -> bytes | None:
    return items[at] if at < len(items) else None


def token_words(
    found: Difference | None, actual: bytes, fold: Callable[[bytes], bytes] = bytes
) -> str | None:
    """The difference of two tokens in words, with the line of the output where it helps."""
    if found is None:
        return None
    line = line_of_token(actual, found.index) if found.got is not None else 1
    place = f" (line {line})" if line not in (1, found.index + 1) else ""
    return pair_words("token", found, place, fold)


def pair_words(
    unit: str, found: Difference, place: str = "", fold: Callable[[bytes], bytes] = bytes
) -> str:
    """Words such as "token 3: expected '5', got '6'".

    Long items are shown around the place where they differ.

    Args:
        unit: What is counted.
        found: The pair.
        place: More words on the place, after the number.
        fold: What is done to an item before it is compared, of the same length.
    """
    name = f"{unit} {found.index + 1}{place}"
    if found.got is None:
        return f"{name}: expected {show(found.want or b'')}, got the end of the output"
    if found.want is None:
        return f"{name}: expected the end of the output, got {show(found.got)}"
    at = shared_start(fold(found.want), fold(found.got))
    want, got = show_pair(found.want, found.got, at)
    inside = f", byte {at + 1}" if at > _CONTEXTS[0] else ""
    return f"{name}{inside}: expected {want}, got {got}"


def line_of_token(text: bytes, index: int) -> int:
    """The line, counted from 1, of the token with this index, counted from 0."""
    line = 1
    for block in _blocks(text):
        rest = block.split(None, index)
        if len(rest) > index:
            return line + block.count(b"\n", 0, len(block) - len(rest[index]))
        index -= len(rest)
        line += block.count(b"\n")
    return line


def counts_words(unit: str, want: Iterable[bytes], got: Iterable[bytes]) -> str | None:
    """The first items that are missing and that are too many, whatever the order."""
    wanted, found = Counter(want), Counter(got)
    if dict.__eq__(wanted, found):
        return None
    return uneven_words(
        unit,
        next(((item, n, found[item]) for item, n in wanted.items() if found[item] < n), None),
        next(((item, wanted[item], n) for item, n in found.items() if wanted[item] < n), None),
    )


def uneven_words(
    unit: str, missing: tuple[bytes, int, int] | None, extra: tuple[bytes, int, int] | None
) -> str:
    """Words on one missing and one surplus item, each with its expected and its actual number."""
    pair = [item for item in (missing, extra) if item]
    at = shared_start(missing[0], extra[0]) if missing and extra else 0
    return "; ".join(_count_words(unit, item, at, want, got) for item, want, got in pair)


def _count_words(unit: str, item: bytes, at: int, want: int, got: int) -> str:
    name = f"{unit} {show(item, at)}"
    if got == 0:
        return f"{name} is missing"
    return f"{name}: expected {want} of them, got {got}" if want else f"{name} is not expected"


def shared_start(one: bytes, other: bytes) -> int:
    """How many bytes at the start are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def show_pair(want: bytes, got: bytes, at: int) -> tuple[str, str]:
    """Both texts around one place, with the same width of context."""
    for context in _CONTEXTS:
        shown = _around(want, at, context), _around(got, at, context)
        if max(map(len, shown)) <= _SHOWN:
            break
    return shown


def show(text: bytes, at: int = 0) -> str:
    """The text around a place as a quoted, printable string."""
    return show_pair(text, text, at)[0]


def _around(text: bytes, at: int, context: int) -> str:
    start = at - context if at > context else 0
    stop = max(at + context, context * 3 // 2)
    if start:
        start = _whole_character(text, start)
    stop = _whole_character(text, stop)
    middle = text[start:stop].decode("utf-8", "backslashreplace")
    return repr(("…" if start else "") + middle + ("…" if stop < len(text) else ""))


def _whole_character(text: bytes, at: int) -> int:
    """Moves a place behind the rest of a UTF-8 character, three bytes at most."""
    for _ in range(3):
        if at < len(text) and text[at] & 0xC0 == 0x80:
            at += 1
    return at
