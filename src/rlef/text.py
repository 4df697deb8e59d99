"""What models, programs and files hold, as text that gives no orders to a terminal."""

import codecs
import re
from collections.abc import Iterable, Sequence

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff]"  # ends of lines, marks, half characters
)

PLAIN = "rlef-plain"
"""Of a stream that cannot hold every character (``errors``): see ``in_encoding``."""
_SIGNS = {"·": "-", "±": "+-", "…": "...", "→": "->", "─": "-", "━": "="}
"""What our own tables and lines use beyond ASCII."""


def printable(text: str) -> str:
    r"""The text with whatever could drive a terminal written as an escape, such as ``\x1b``.

    Tabs and newlines stay; so does the newline of Windows.
    """
    return _HIDDEN.sub(_escape, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    r"""The same with ``\n`` and ``\t`` for newlines and tabs: a cell of a table, a name."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def whole_characters(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which no tokenizer or server takes."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def in_encoding(text: str, encoding: str) -> str:
    """The text as an encoding can hold it: signs of ours in ASCII, all else as escapes.

    Example:
        >>> in_encoding("1@3 · 63.5 ±3.0", "ascii")
        '1@3 - 63.5 +-3.0'
    """
    return text.encode(encoding, PLAIN).decode(encoding)


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_SIGNS.get(sign) or _escaped(sign) for sign in signs), error.end


def _escaped(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(PLAIN, _plainly)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown with its first column flush left and the others right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines
    )
