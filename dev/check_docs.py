"""Runs the code blocks of README.md and docs/**/*.md that stand under a line ``<!-- run -->``.

Before that it looks whether what stands between backticks is there: Python files named with their
folder, ``rlef.x.y``, and members of the package's classes (``Class.member``).

A file's Python blocks are one program, so that a later one may use what an earlier one made; each
bash block is a program of its own. All run in an empty folder, with this Python's commands first.

usage: python dev/check_docs.py [FILE.md ...]
"""

import os
import pkgutil
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


def unknown_names(text: str) -> list[str]:
    """Names between backticks of files, modules and members that there are not."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")}
    unknown = []
    for word in dict.fromkeys(re.findall(r"`([\w./]+)(?:\([^`]*\))?`", text)):
        member = re.fullmatch(r"([A-Z]\w+)\.(\w+)", word)
        if re.fullmatch(r"[\w./]+/\w+\.py", word):
            known = any((ROOT / folder / word).exists() for folder in ("", "src/rlef"))
        elif re.fullmatch(r"rlef(\.\w+)+", word):
            known = _resolves(word)
        elif member:
            homes = [s for s in sources.values() if re.search(rf"^class {member[1]}\b", s, re.M)]
            known = not homes or any(re.search(rf"\b{member[2]}\b", s) for s in homes)
        else:
            continue
        if not known:
            unknown.append(word)
    return unknown


def _resolves(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


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
        text = file.read_text(encoding="utf-8")
        for name in unknown_names(text):
            print(f"{file}: `{name}` is not there", file=sys.stderr)
            failed += 1
        try:
            blocks = marked_blocks(text)
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
    sys.exit(
        main(
            named
            or [
                ROOT / "README.md",
                ROOT / "CONTRIBUTING.md",
                *sorted((ROOT / "docs").rglob("*.md")),
            ]
        )
    )
