import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "dev" / "check_docs.py"


def check(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "page.md"
    file.write_text(text)
    command = [sys.executable, str(SCRIPT), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_marked_blocks_run_and_share_names(tmp_path: Path) -> None:
    done = check(
        tmp_path,
        "# Page\n\n<!-- run -->\n```python\nx = 2\n```\n\n```python\nraise SystemExit(3)\n```\n"
        "<!-- run -->\n\n```python\nprint('x is', x)\n```\n"
        "<!-- run -->\n```bash\necho from bash\n```\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "x is 2\nfrom bash\ndocumentation: 3 blocks ran, 0 failures\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- run -->\n```python\nx = 1\n1 / 0\n```\n", 'page.md", line 5, in <module>'),
        ("<!-- run -->\n```bash\nfalse\ntrue\n```\n", "a bash block failed"),
        ("<!-- run -->\n```rust\nx\n```\n", "line 3: 'rust'; allowed: python, bash"),
        ("<!-- run -->\nNo block.\n", "1 marks, but 0 blocks"),
    ],
)
def test_failure_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    done = check(tmp_path, text)
    assert done.returncode == 1
    assert message in done.stderr


def test_names_that_are_not_there_fail(tmp_path: Path) -> None:
    there = "`rlef.run.RunFolder` `learner/update.py` `src/rlef/config/load.py` `Path.x`"
    there += " `LocalLearner.update`"
    assert check(tmp_path, there).returncode == 0
    done = check(tmp_path, f"{there} `rlef.run.Nothing` `learner/none.py` `LocalLearner._none(x)`")
    assert done.returncode == 1
    missing = ("rlef.run.Nothing", "learner/none.py", "LocalLearner._none")
    assert [line.split("`")[1] for line in done.stderr.splitlines()] == list(missing)
