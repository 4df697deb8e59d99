"""Runs the code blocks of README.md and docs/*.md that stand under a line ``<!-- run -->``.

A file's Python blocks are one program, so that a later one may use what an earlier one made; each
bash block is a program of its own. All run in an empty folder, with this Python's commands first.

usage: python dev/check_docs.py [FILE.md ...]
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 900
_BLOCK = re.compile(r"^<!-- run -->\n+```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A marked block of code."""

    language: str
    code: str
    line: int
    """Line of its first line of code, counted from 1."""


def marked_blocks(text: str) -> list[Block]:
    """The marked blocks of a Markdown text.

    Raises:
        ValueError: A marked block is neither python nor bash, or a mark has no block.
    """
    blocks = [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)
        for match in _BLOCK.finditer(text)
    ]
    for block in blocks:
        if block.language not in ("python", "bash"):
            raise ValueError(f"line {block.line}: {block.language!r}; allowed: python, bash")
    marks = len(re.findall(r"^<!-- run -->$", text, re.MULTILINE))
    if marks != len(blocks):
        raise ValueError(f"{marks} marks, but {len(blocks)} blocks of code right under one")
    return blocks


def commands(blocks: list[Block], name: str) -> list[list[str]]:
    """What to run: one Python program of all Python blocks, then one program per bash block."""
    # Blank lines keep the line numbers of tracebacks true.
    program = ""
    for block in blocks:
        if block.language == "python":
            program += "\n" * (block.line - 1 - program.count("\n")) + block.code
    runs = [[sys.executable, "-c", _as_file(program, name)]] if program else []
    runs += [["bash", "-euo", "pipefail", "-c", b.code] for b in blocks if b.language == "bash"]
    return runs


def _as_file(program: str, name: str) -> str:
    return f"exec(compile({program!r}, {name!r}, 'exec'), {{'__name__': '__main__'}})"


def main(files: list[Path]) -> int:
    """Runs all marked blocks; returns the exit status."""
    count = failed = 0
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for file in files:
        try:
            blocks = marked_blocks(file.read_text(encoding="utf-8"))
        except ValueError as error:
            print(f"{file}: {error}", file=sys.stderr)
            failed += 1
            continue
        count += len(blocks)
        with tempfile.TemporaryDirectory() as folder:
            for command in commands(blocks, str(file)):
                done = subprocess.run(
                    command, cwd=folder, env={**os.environ, "PATH": path}, timeout=TIMEOUT_S
                )
                if done.returncode != 0:
                    print(f"{file}: a {Path(command[0]).name} block failed", file=sys.stderr)
                    failed += 1
    print(f"documentation: {count} blocks ran, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    named = [Path(word) for word in sys.argv[1:]]
    sys.exit(main(named or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]))
