import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from rlef.cli.main import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Rlef = Callable[..., Outcome]


@pytest.fixture
def rlef(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rlef:
    """Runs the command line in this process."""
    monkeypatch.delenv("RLEF_TRACEBACK", raising=False)
    # on a machine that has much to do a first line of the stage would come between the others
    monkeypatch.setattr("rlef.cli.display._FIRST_SIGN_S", 600.0)

    def run(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        code = caught.value.code
        assert code is None or isinstance(code, int)
        return Outcome(code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def problems(tmp_path: Path) -> str:
    """The specification of a file with two problems."""
    records = [
        {
            "name": "double",
            "statement": "Read n, print 2n.",
            "public_tests": [{"input": "2\n", "output": "4\n"}],
            "private_tests": [
                {"input": "7\n", "output": "14\n"},
                {"input": "1\n", "output": "2\n"},
            ],
        },
        {
            "name": "add",
            "statement": "Write add(a, b).",
            "mode": "function",
            "entry_point": "add",
            "public_tests": [{"input": "[1, 2]", "output": "3"}],
            "private_tests": [{"input": "[2, 2]", "output": "4"}],
        },
    ]
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return f"jsonl:{path}"
