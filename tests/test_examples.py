import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_an_episode_with_a_sampler_of_ones_own() -> None:
    script = EXAMPLES / "own_sampler.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "solved: True, rewards by turn: (-0.2, 0.0, 1.0)" in done.stdout


def test_training_by_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("by_hand", EXAMPLES / "train_by_hand.py")
    assert spec is not None and spec.loader is not None
    by_hand = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(by_hand)
    monkeypatch.setattr(by_hand, "EPISODES", 4)
    by_hand.main(1)
    lines = capsys.readouterr().out.splitlines()
    words = r"batch \d: \d of 4 solved, reward -?\d\.\d\d, KL -?\d\.\d{4}, .*explained variance .*"
    assert len(lines) == 1 and re.fullmatch(words, lines[0])
    assert "KL 0.0000" in lines[0]


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"own_sampler.py", "train_by_hand.py"}
