"""The marks by which models set their reasoning apart from the answer."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_ANY_TAG = r"(?:\w{1,20}[:_])?(?:think|thinking|thought|thoughts|reason|reasoning)"

MARKS: dict[str, tuple[str | None, str]] = {
    # DeepSeek, Qwen, GLM, MiniMax, Kimi K2, OLMo, Phi: <think>; Reka: <reasoning>; EXAONE Deep and
    # Marco-o1: <thought>; Seed-OSS: <seed:think>; LongCat: <longcat_think>.
    "tag": (rf"<{_ANY_TAG}>", rf"</{_ANY_TAG}>"),
    "magistral": (r"\[THINK\]", r"\[/THINK\]"),
    "kimi": ("◁think▷", "◁/think▷"),
    "command-a": (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    "open-thinker": (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    "apertus": (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
    "gemma": (r"<\|channel>", r"<channel\|>"),
    "gpt-oss": (
        r"<\|channel\|>(?:analysis|commentary)",
        r"(?:<\|end\|><\|start\|>assistant)?"
        r"<\|channel\|>final[^<\n]{0,40}(?:<\|constrain\|>\w{1,20})?<\|message\|>",
    ),
    # The same where a server has dropped the special tokens.
    "gpt-oss-bare": (r"(?-i:\Aanalysis(?=[A-Z]))", r"assistantfinal"),
    "s1": (r"<\|im_start\|>think", r"<\|im_start\|>answer"),
    "solar": (r"<\|think\|>", r"<\|content\|>"),
    "pangu": (r"\[unused16\]", r"\[unused17\]"),
    # Words that others may write too, so only the end counts.
    "granite": (None, r"Here(?: is|'s) my response:"),
    "apriel": (None, r"\[BEGIN FINAL RESPONSE\]"),
}
"""Family to the patterns of where reasoning begins and ends."""

_MARK = re.compile(
    "|".join(
        f"(?P<{kind}{number}>{pattern})"
        for number, patterns in enumerate(MARKS.values())
        for kind, pattern in zip(("begin", "end"), patterns, strict=True)
        if pattern
    ),
    re.I,
)
_END = re.compile("|".join(end for _, end in MARKS.values()), re.I)
_BEGINS = "|".join(begin for begin, _ in MARKS.values() if begin)
_BEGIN = re.compile(rf"\s*(?:{_BEGINS})(?:[^<\n]{{0,40}}<\|message\|>)?", re.I)
_OPENED = re.compile(rf"(?:{_BEGINS})\s*\Z", re.I)
_BLANK = re.compile(r"\s*")
_QUOTES = ("``", "''", '""')
_SPECIAL = ("<|", "◁")
"""How special tokens begin, which count anywhere in a line; words between tags may be prose."""


class Answered(NamedTuple):
    """What a line holds of the answer proper."""

    text: str
    """What stands behind its last mark."""
    within: str | None
    """Name of the mark that would end the reasoning at the line's end; ``None``: it is over."""
    begins: bool
    """Whether all before was reasoning: it ended here without having begun."""
    ended: tuple[int, int] | None
    """Where in the line the last mark stands that ended reasoning: start and stop."""


def skip_reasoning(line: str, within: str | None) -> Answered:
    """Looks for marks in a line outside of code.

    The end of reasoning counts wherever it stands, its beginning where the line begins: "I used
    <think> for this" begins nothing. A mark in quotes or backticks is one that is spoken of.

    Args:
        line: The line.
        within: As ``Answered.within`` of the line before.
    """
    at, begins, ended = 0, False, None
    for mark in _MARK.finditer(line):
        name = str(mark.lastgroup)
        if mark.start() and line[mark.start() - 1] + line[mark.end() :][:1] in _QUOTES:
            continue
        if within is not None:
            if name == within:
                at, within, ended = mark.end(), None, mark.span()
        elif name.startswith("end"):
            at, begins, ended = mark.end(), True, mark.span()
        elif mark[0].startswith(_SPECIAL) or _end_of_blanks(line, at) == mark.start():
            at, within = mark.end(), name.replace("begin", "end")
    return Answered(line[at:], within, begins, ended)


def opened_reasoning(prompt: str) -> str:
    r"""Returns the mark, and blanks behind it, by which a prompt has begun the answer's reasoning.

    Example:
        >>> opened_reasoning("<|assistant|><think>\n"), opened_reasoning("<think>\n</think>\n")
        ('<think>\n', '')
    """
    mark = _OPENED.search(prompt)
    return mark[0] if mark else ""


def without_begin(reasoning: str) -> str:
    """Returns reasoning without the mark that begins it."""
    mark = _BEGIN.match(reasoning)
    return reasoning[mark.end() :] if mark else reasoning


def by_marks(text: str) -> Iterator[tuple[str, bool]]:
    """Yields a text piece by piece, and of each whether it is a mark."""
    at = 0
    for mark in _MARK.finditer(text):
        yield text[at : mark.start()], False
        yield mark[0], True
        at = mark.end()
    yield text[at:], False


def begins_with_end(line: str) -> bool:
    """Whether a line, perhaps one of code, begins with the end of reasoning."""
    return _END.match(line, _end_of_blanks(line, 0)) is not None


def _end_of_blanks(line: str, start: int) -> int:
    blanks = _BLANK.match(line, start)
    return blanks.end() if blanks else start
