"""Which part of an answer is the program."""

import re

_OPENING = re.compile(r"([ \t]*)(`{3,})[ \t]*([^`\s]*)[^`]*")
_CODE = ("python", "py", "python3")


def extract_program(response: str) -> str | None:
    r"""Returns the program in an answer, or ``None`` if the answer has no valid code.

    Valid code is a finished, non-empty fenced block, either tagged ``python``, ``py`` or
    ``python3`` or without a tag. Whether it parses does not matter here: a program with a syntax
    error is run and learns so from its feedback (verdict CE). RLEF leaves open what to do with
    several blocks; here the last one tagged as Python counts, and the last one without a tag only
    if none is tagged, since sample output often comes in plain fences. An unfinished block is
    passed over, also where a new tagged one follows it.

    Example:
        >>> extract_program("So:\n```python\nprint(1)\n```\nIt prints:\n```\n1\n```")
        'print(1)\n'
        >>> extract_program("```python\nprint(") is None
        True

    Args:
        response: The model's answer as text, without special tokens.

    Returns:
        The block's lines, each with its newline.
    """
    programs: dict[bool, str] = {}
    indent, fence, tag = "", "", ""
    block: list[str] = []
    for line in response.split("\n"):
        text = line.rstrip()
        opening = _OPENING.fullmatch(text)
        if opening and (not fence or opening[3]):
            indent, fence, tag = opening[1], opening[2], opening[3].lower()
            block = []
        elif fence and opening and len(opening[2]) >= len(fence):
            program = "\n".join([*block, ""])
            if tag in ("", *_CODE) and program.strip():
                programs[tag != ""] = program
            fence = ""
        elif fence:
            block.append(line.removesuffix("\r").removeprefix(indent))
    return programs.get(True, programs.get(False))
