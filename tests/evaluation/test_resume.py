"""An evaluation of a model that is killed goes on: no model is asked twice, nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rlef.problems import Problem, Test
from rlef.problems.jsonl import write_jsonl
from rlef.run import RunFolder

UNTIL_KILLED = Path(__file__).parents[1] / "until_killed.py"


def add(step: int) -> Problem:
    cases = tuple(Test(f"{a}\n", f"{a + step}\n") for a in (1, 5, 9))
    return Problem(
        name=f"add-{step}",
        statement=f"Read an integer. Print the integer plus {step}.",
        public_tests=cases[:1],
        private_tests=cases[1:],
    )


def told(run: RunFolder) -> dict[tuple[int, int], str]:
    """What each episode was, without clocks."""
    entries = run.read_rollouts("eval")
    rest = ({k: v for k, v in e.items() if k not in {"session", "wall_s"}} for e in entries)
    found = {(e["place"], e["sample"]): json.dumps(e, sort_keys=True) for e in rest}
    assert len(found) == len(entries)
    return found


@pytest.mark.slow
def test_killed_twice_the_model_is_asked_once(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    write_jsonl([add(step) for step in range(1, 21)], data)

    def words(out: str, *rlef: str) -> list[str]:
        options = ["--prompts", "mini", "--samples", "2", "--max-new-tokens", "72"]
        options += ["--temperature", "1", "--out", str(tmp_path / out), "--concurrency", "8"]
        command = [sys.executable, *(rlef or ("-m", "rlef.cli.main")), "eval", "mini"]
        return [*command, "--data", f"jsonl:{data}", *options]

    subprocess.run(words("whole"), check=True, capture_output=True)
    path = tmp_path / "killed" / "rollouts" / "eval.jsonl"
    kept: list[bytes] = []
    for least in (5, 20):
        process = subprocess.Popen(
            words("killed", str(UNTIL_KILLED), str(least)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not path.exists() or path.read_bytes().count(b"\n") < least:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kept.append(path.read_bytes())
    done = subprocess.run(words("killed"), check=True, capture_output=True, text=True)
    assert "of 40 episodes are there already" in done.stderr
    whole, again = (RunFolder.open(tmp_path / name) for name in ("whole", "killed"))
    assert told(whole) == told(again)
    final = path.read_bytes()
    assert all(final.startswith(part[: part.rfind(b"\n") + 1]) for part in kept)
    ours, theirs = summary(again), summary(whole)
    sessions: dict[str, float] = {}
    for entry in again.read_rollouts("eval"):
        sessions[entry["session"]] = max(sessions.get(entry["session"], 0.0), entry["wall_s"])
    assert len(sessions) == 3
    assert ours.pop("wall_s") == pytest.approx(sum(sessions.values()))
    theirs.pop("wall_s")
    assert ours == theirs


def summary(run: RunFolder) -> dict[str, Any]:
    found = run.read_summary()
    assert found is not None
    return dict(found)
