"""What programs, models and files hold reaches the terminal as text, never as orders to it."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rlef.cli.common import print_rich
from rlef.cli.errors import explain
from rlef.config import ConfigError
from rlef.text import printable

ORDERS = "\x1b[31m\x07\x08\x0c\x0e\x7f\x9b\u202e\u2066\u2028\ufeff"
QUOTED = r"\x1b[31m\x07\x08\x0c\x0e\x7f\x9b\u202e\u2066\u2028\ufeff"


def test_orders_are_quoted_and_text_is_not() -> None:
    assert printable(ORDERS) == QUOTED
    assert printable("a\rb\r\nc\n\td") == "a\\rb\nc\n\td".replace("\\r", r"\x0d")
    assert printable("x\udc80y\ud83dz") == r"x\udc80y\ud83dz"
    plain = "naïve 日本 🙂 \u200d é שלום"
    assert printable(plain) == plain


def test_tables_are_quoted_too(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.text import Text

    print_rich(Text("a\x1bb", style="red"))
    assert capsys.readouterr().out == "a\\x1bb\n"


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A problem whose texts give orders."""
    test = {"input": f"in {ORDERS}\n", "output": f"out {ORDERS}\n"}
    record = {"name": f"n{ORDERS}", "statement": f"s{ORDERS}", "public_tests": [test]}
    record |= {"private_tests": [], "family": f"f{ORDERS}", "hidden_detail": f"h{ORDERS}"}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return f"jsonl:{path}"


def is_clean(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_problems_are_shown_as_text(rlef: Any, hostile: str) -> None:
    code, out, _ = rlef("data", "show", hostile)
    assert code == 0
    assert is_clean(out) and out.count(QUOTED) == 6
    code, _, err = rlef("data", "show", hostile, "--problem", f"x{ORDERS}")
    assert code == 2 and is_clean(err)


@pytest.mark.parametrize(
    "program",
    [
        f"print({ORDERS!r})",
        f"raise ValueError({ORDERS!r})",
        f"import sys; sys.stderr.write({ORDERS!r}); sys.exit(3)",
        f"x = '{ORDERS[0]}' +",
    ],
)
def test_what_programs_say_is_shown_as_text(
    rlef: Any, hostile: str, tmp_path: Path, program: str
) -> None:
    path = tmp_path / "program.py"
    path.write_text(program)
    words = ["judge", path, "--data", hostile, "--problem", f"n{ORDERS}"]
    code, out, _ = rlef(*words)
    assert code == 1 and is_clean(out)
    code, out, _ = rlef(*words, "--json")
    assert code == 1 and out.isascii()
    assert json.loads(out)["problem"] == f"n{ORDERS}"


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "/a"),
            "/a: Permission denied; allowed: a p",
            2,
        ),
        (OSError(errno.EISDIR, "Is a directory", "/a"), "/a: Is a directory; allowed: a file", 2),
        (OSError(errno.ENOTDIR, "Not a directory", b"/a"), "/a: Not a directory; allowed: a pa", 2),
        (
            OSError(errno.EROFS, "Read-only file system", "/a"),
            "/a: Read-only file system; allow",
            2,
        ),
        (OSError(errno.ELOOP, "Too many symlinks", "/a"), "/a: Too many symlinks; allowed: a p", 2),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/a"), "/a: File name too long; all", 2),
        (OSError(errno.ENOENT, "No such file", "/a", None, "/b"), "/a to /b: No such file", 2),
        (OSError(errno.ENOSPC, "No space left", "/a"), "/a: No space left; make room, then", 1),
        (OSError(errno.EDQUOT, "Quota exceeded", "/a"), "/a: Quota exceeded; make room, then", 1),
        (OSError(errno.EIO, "Input/output error", "/a"), "/a: Input/output error", 1),
        (OSError(errno.EMFILE, "Too many open files", "/a"), "/a: Too many open files; raise", 1),
        (OSError(errno.ENOENT, "No such file", "caf\udce9"), r"caf\udce9: No such file", 2),
        (OSError("closed"), "closed", 1),
        (ConfigError("a:\n b\x1b"), r"a: b\x1b", 2),
        (ValueError("bad"), "bad", 1),
        (ValueError(), "ValueError:  (RLEF_TRACEBACK=1 shows where)".replace("  ", " "), 1),
        (KeyError("x"), "KeyError: 'x' (RLEF_TRACEBACK=1 shows where)", 1),
    ],
)
def test_errors_name_path_and_way_out(error: Exception, line: str, code: int) -> None:
    message, status = explain(error)
    assert message.startswith(line)
    assert status == code


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_named() -> None:
    import subprocess
    import sys

    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rlef.cli.main", "recipe", "ls"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("rlef: standard output: No space left on device; make room")
    assert done.stderr.count("\n") == 1
