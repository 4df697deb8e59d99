"""The finished code blocks of an answer, in Markdown as models write it."""

import re
from typing import NamedTuple

from rlef.environment.reasoning import begins_with_end, skip_reasoning, without_begin
from rlef.languages import LANGUAGES
from rlef.problems.syntax import parse_code

_TOKEN = r"</?[^<>\s]{1,40}>|\[/?[A-Z][A-Z ]{1,30}\]"
"""A tag or special token beside a fence: ``<answer>``, ``<|im_end|>``, ``[/ANS]``."""
_OPENING = re.compile(
    r"[\ufeff\u200b]*(?P<indent>\s*+)(?P<quotes>(?:>[ \t]?)*)"
    r"(?P<inner>\s*+(?P<item>(?:[-*+]|\d{1,9}[.)])\s++)?)"
    rf"(?:(?:{_TOKEN})\s*+)*(?P<fence>`{{3,}}+|~{{3,}}+)\s*+(?P<info>[^`]*)"
)
"""Possessive (``*+``): two groups that could share what they match take quadratic time."""
_AFTER = re.compile(rf"(?:\s|{_TOKEN})*")
_MARKDOWN = ("markdown", "md", "mdx")
_LONGER_TRIES, _LONGER_LINES = 32, 10_000
"""How many longer blocks of an answer are parsed, and how many lines are looked at for them; so
many are looked at, too, behind fences at the end of a line of code."""


class Block(NamedTuple):
    """A finished block that is not empty."""

    program: str
    """Its lines, each with its newline."""
    tagged: bool
    """It has the language's tag; else it has none."""


class _Fence(NamedTuple):
    quotes: int
    """How many block quotes it stands in."""
    indent: str
    char: str
    length: int
    info: str


def finished_blocks(answer: str, language: str) -> list[Block]:
    """Returns the blocks that may be a program: tagged as the language, or without a tag.

    Reasoning is left out: what stands between the marks of ``MARKS``, and all that stands before a
    closing mark alone, since chat templates may open it. Nothing is found in an answer that ends
    within its reasoning. Inside a block a mark is part of the program, unless a line begins with a
    closing one.

    Args:
        answer: The model's answer.
        language: Of the program.
    """
    return _Reader(_lines(answer), language).read()


def split_reasoning(answer: str) -> tuple[str | None, str]:
    r"""Returns the reasoning of an answer without its marks, and what stands behind it.

    The two meet where ``finished_blocks`` begins to look. Reasoning that never ends is all of the
    answer; ``None``: there is none.

    Example:
        >>> split_reasoning("<think>\nHm.\n</think>\n\nYes."), split_reasoning("Yes.")
        (('\nHm.\n', '\n\nYes.'), (None, 'Yes.'))
    """
    lines = _lines(answer)
    reader = _Reader(lines, "python")
    reader.read()
    if reader.within is not None:
        return without_begin("\n".join(lines)), ""
    if reader.answer is None:
        return None, answer
    number, (start, stop) = reader.answer
    reasoning = "\n".join([*lines[:number], lines[number][:start]])
    return without_begin(reasoning), "\n".join([lines[number][stop:], *lines[number + 1 :]])


def _lines(answer: str) -> list[str]:
    return answer.replace("\r\n", "\n").replace("\r", "\n").split("\n")


class _Reader:
    def __init__(self, lines: list[str], language: str) -> None:
        self._lines = lines
        self._language = language
        self._blocks: list[Block] = []
        self._steps, self._tries = _LONGER_LINES, _LONGER_TRIES
        self._behind_inline = _LONGER_LINES
        self.answer: tuple[int, tuple[int, int]] | None = None
        """The line in which reasoning ended last, and where in it the mark stands."""
        self.within: str | None = None
        """As ``Answered.within``, at the end."""

    def read(self) -> list[Block]:
        i = 0
        while i < len(self._lines):
            line, self.within, begins, ended = skip_reasoning(self._lines[i], self.within)
            if begins:
                self._blocks.clear()
            if ended is not None:
                self.answer = i, ended
            fence = self._opening(line) if self.within is None else None
            if fence is None or _tag(fence.info) in _MARKDOWN:
                i += 1  # a block of Markdown: what counts is in it
            else:
                i = self._block(i, fence)
        return self._blocks if self.within is None else []

    def _opening(self, line: str) -> _Fence | None:
        """The fence that a line opens outside of blocks, perhaps behind some words."""
        fence = _opening(line)
        if fence is None and "```" in line:
            words, _, info = line.rpartition("```")
            if info.strip() and self._is_tag(info) and not words.endswith("`"):
                return _Fence(0, "", "`", 3, info)
        return fence

    def _is_tag(self, info: str) -> bool:
        return LANGUAGES[self._language].tags.fullmatch(_tag(info)) is not None

    def _block(self, start: int, fence: _Fence) -> int:
        """Reads the block whose fence opens in a line. Returns the line to go on with."""
        close, inline, stop = self._ends(start, fence)
        is_python = self._language == "python"
        if close is not None and inline is not None:
            short = self._text(start, inline, fence, cut=True)
            if not (is_python and _parses(self._text(start, close, fence))) and not _open(short):
                close = None
        if is_python and close is not None and _open(self._text(start, close, fence)):
            close = self._longer(start, close, fence) or close
        elif is_python and close is inline is None and _open(self._text(start, stop, fence)):
            close = self._longer(start, stop, fence)
        if close is not None:
            self._add(self._text(start, close, fence), fence)
            return close + 1
        if inline is not None:
            self._add(self._text(start, inline, fence, cut=True), fence)
            return inline + 1
        return stop

    def _ends(self, start: int, fence: _Fence) -> tuple[int | None, int | None, int]:
        """Where a block may end.

        Returns:
            The line of its closing fence, if it comes before another block opens or reasoning
            ends; the first line of code that ends in such a fence; the line at which looking ended.
        """
        lines, inline = self._lines, None
        for i in range(start + 1, len(lines)):
            line = lines[i]
            if inline is not None:
                self._behind_inline -= 1
                if self._behind_inline < 0:
                    return None, inline, i
            if fence.char * fence.length not in line:
                if begins_with_end(line):
                    return None, inline, i
                continue
            text = _unquoted(line, fence.quotes)
            if _closes(text, fence):
                return i, inline, i
            new = _opening(line)
            if new and new.info and new.char == fence.char and new.length >= fence.length:
                return None, inline, i
            if inline is None and _inline_close(text, fence) is not None:
                inline = i
        return None, inline, len(lines)

    def _longer(self, start: int, end: int, fence: _Fence) -> int | None:
        """Where a block ends that parses if fences in it are part of a text, as in a docstring."""
        for i in range(end + 1, len(self._lines)):
            self._steps -= 1
            if min(self._steps, self._tries) < 0:
                break
            if _closes(_unquoted(self._lines[i], fence.quotes), fence):
                self._tries -= 1
                if _parses(self._text(start, i, fence)):
                    return i
        return None

    def _text(self, start: int, end: int, fence: _Fence, *, cut: bool = False) -> str:
        """The lines between two; with ``cut`` also what stands before the fence in the last one."""
        found = [_unquoted(line, fence.quotes) for line in self._lines[start + 1 : end]]
        if cut:
            found.append(_inline_close(_unquoted(self._lines[end], fence.quotes), fence) or "")
        if fence.indent and all(line.startswith(fence.indent) for line in found if line.strip()):
            found = [line.removeprefix(fence.indent) for line in found]
        return "\n".join([*found, ""])

    def _add(self, program: str, fence: _Fence) -> None:
        # A byte order mark is read past in a file, but not by the parser of text.
        program = program.removeprefix("\ufeff")
        tagged = self._is_tag(fence.info)
        if program.strip() and (tagged or not fence.info):
            self._blocks.append(Block(program, tagged))


def _opening(line: str) -> _Fence | None:
    if "```" not in line and "~~~" not in line:
        return None
    match = _OPENING.fullmatch(line)
    if match is None:
        return None
    info = "" if _AFTER.fullmatch(match["info"]) else match["info"].strip()
    quotes, fence = match["quotes"].count(">"), match["fence"]
    indent = match["inner"] if quotes else match["indent"] + match["inner"]
    if match["item"]:
        indent = " " * len(indent)
    return _Fence(quotes, indent, fence[0], len(fence), info)


def _tag(info: str) -> str:
    """The first word of what follows a fence, as ``python`` of ``{.Python #id}``."""
    word = info.strip().lower().removeprefix("{").strip().removeprefix(".")
    word = re.split(r"[\s{}:,;=(]", word, maxsplit=1)[0]
    return word.removeprefix("language-").removeprefix("lang-")


def _unquoted(line: str, quotes: int) -> str:
    for _ in range(quotes):
        if not line.lstrip().startswith(">"):
            return line
        line = line.lstrip()[1:].removeprefix(" ")
    return line


def _closes(text: str, fence: _Fence) -> bool:
    text = text.strip()
    rest = text.lstrip(fence.char)
    return len(text) - len(rest) >= fence.length and _AFTER.fullmatch(rest) is not None


def _inline_close(text: str, fence: _Fence) -> str | None:
    """What stands before a fence that closes a block at the end of a line of code."""
    code, found, rest = text.rpartition(fence.char * fence.length)
    if found and code.strip(f" \t{fence.char}") and _AFTER.fullmatch(rest):
        return code.rstrip(fence.char).rstrip()
    return None


def _open(program: str) -> bool:
    """Whether a text in triple quotes may still be open at the end of a program."""
    return program.count('"""') % 2 == 1 or program.count("'''") % 2 == 1


def _parses(program: str) -> bool:
    try:
        parse_code(program)
    except ValueError:
        return False
    return True
