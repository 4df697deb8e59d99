"""A training that is killed at random moments comes to the same end, to the byte."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlef.problems import Problem, Test
from rlef.problems.jsonl import write_jsonl
from rlef.run import RunFolder


def problem(step: int) -> Problem:
    cases = tuple(Test(f"{a}\n", f"{a + step}\n") for a in (1, 5, 9))
    return Problem(
        name=f"add-{step}",
        statement=f"Read an integer. Print the integer plus {step}.",
        public_tests=cases[:1],
        private_tests=cases[1:],
    )


def run_killed(folder: Path, data: Path, seed: int, kills: int) -> RunFolder:
    words = [folder, data, seed, kills]
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run(
        [sys.executable, script, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return RunFolder.open(folder)


def told(lines: list[dict[str, Any]]) -> list[str]:
    """Without clocks and sessions, in one order."""
    kept = ({k: v for k, v in e.items() if k != "session" and k[-2:] != "_s"} for e in lines)
    return sorted(json.dumps(line, sort_keys=True) for line in kept)


@pytest.mark.slow
def test_killed_at_random_moments_a_training_comes_to_the_same_end(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    write_jsonl([problem(step) for step in (1, 2)], data)
    whole = run_killed(tmp_path / "whole", data, 0, 0)
    run = run_killed(tmp_path / "killed", data, 1, 6)
    files = sorted(path.relative_to(whole.path) for path in whole.path.rglob("*.safetensors"))
    assert len(files) == 1 + 3 + 1  # the last checkpoint, what it goes on from, the best policy
    assert sorted(p.relative_to(run.path) for p in run.path.rglob("*.safetensors")) == files
    for file in files:
        assert (run.path / file).read_bytes() == (whole.path / file).read_bytes(), file
    assert told(run.read_metrics()) == told(whole.read_metrics())
    assert run.rollout_names() == whole.rollout_names()
    for name in whole.rollout_names():  # nothing lost, nothing twice
        assert told(run.read_rollouts(name)) == told(whole.read_rollouts(name)), name
    ours, theirs = run.read_summary(), whole.read_summary()
    assert ours is not None and theirs is not None
    for key in ("before", "after", "gain", "updates"):
        assert ours[key] == theirs[key]
