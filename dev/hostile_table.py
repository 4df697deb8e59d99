"""Writes docs/hostile-programs.md: the programs of tests/sandbox/hostile as one table.

usage: python dev/hostile_table.py [--check]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "hostile-programs.md"
sys.path.insert(0, str(ROOT / "tests" / "sandbox"))

from hostile import CATEGORIES, Hostile  # noqa: E402

HEAD = """# Hostile programs

These {count} programs attack the sandbox; each is a test in `tests/sandbox/hostile/`. The tables
say what each one tries, what must happen, and which verdict it must get. Two verdicts or more
stand where the kernel, the machine or the Python version decides.

After each program

- a known-good program must still be accepted,
- no report may hold the expected output that the program looked for,
- no process and no open descriptor may be left.

`python dev/hostile_table.py` writes this page; do not edit it.
"""

COLUMNS = "| attack | expectation | verdict |\n|---|---|---|"


def row(case: Hostile) -> str:
    """One line of the table."""
    cells = [case.attack, case.expectation, " or ".join(case.verdicts)]
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\*_<|":
        text = text.replace(sign, f"\\{sign}")
    return text


def document() -> str:
    """The whole text."""
    parts = [HEAD.format(count=sum(map(len, CATEGORIES.values())))]
    for category, cases in CATEGORIES.items():
        rows = "\n".join(row(case) for case in cases)
        parts.append(f"## {category}\n\n{COLUMNS}\n{rows}\n")
    return "\n".join(parts)


def main(words: list[str]) -> int:
    """Writes the document, or with ``--check`` only compares; returns the exit status."""
    if "--check" in words:
        if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != document():
            print("docs/hostile-programs.md is old: python dev/hostile_table.py", file=sys.stderr)
            return 1
        return 0
    DOCUMENT.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
