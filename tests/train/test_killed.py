"""A training that is killed at random moments loses nothing, repeats nothing, comes to its end.

``RLEF_KILLS=50 pytest tests/train/test_killed.py -m slow -s`` kills more often than CI does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clocks import without_clocks

from rlef.problems import Problem, Test
from rlef.problems.jsonl import write_jsonl
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.run.training import SCHEMA, read_training_rollouts

KILLS = int(os.environ.get("RLEF_KILLS", "6"))
PER_BATCH = 2
"""Updates on a batch, and between checkpoints."""


def updates_for(kills: int) -> int:
    """Updates of a run that so many kills do not come to the end of."""
    return PER_BATCH * (2 + 4 * kills // 10)


def problem(step: int) -> Problem:
    cases = tuple(Test(f"{a}\n", f"{a + step}\n") for a in (1, 5, 9))
    return Problem(
        name=f"add-{step}",
        statement=f"Read an integer. Print the integer plus {step}.",
        public_tests=cases[:1],
        private_tests=cases[1:],
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "data.jsonl"
    write_jsonl([problem(step) for step in (1, 2)], path)
    return path


def run_killed(
    folder: Path, data: Path, seed: int, kills: int, updates: int, *more: str
) -> RunFolder:
    words = [folder, data, seed, kills, updates, *more]
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run(
        [sys.executable, script, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    return RunFolder.open(folder)


@pytest.mark.slow
def test_killed_at_random_moments_a_training_comes_to_the_same_end(
    tmp_path: Path, data: Path
) -> None:
    updates = updates_for(KILLS)
    whole = run_killed(tmp_path / "whole", data, 0, 0, updates)
    run = run_killed(tmp_path / "killed", data, 1, KILLS, updates)
    files = sorted(path.relative_to(whole.path) for path in whole.path.rglob("*.safetensors"))
    assert len(files) == 1 + 3 + 1  # the last checkpoint, what it goes on from, the best policy
    assert sorted(p.relative_to(run.path) for p in run.path.rglob("*.safetensors")) == files
    for file in files:
        assert (run.path / file).read_bytes() == (whole.path / file).read_bytes(), file
    assert without_clocks(run.read_metrics()) == without_clocks(whole.read_metrics())
    ours, theirs = (read_training_rollouts(each, SCHEMA.names) for each in (run, whole))
    assert theirs.num_rows == 4 * updates // PER_BATCH
    assert ours.equals(theirs)  # to the bit, tokens and log-probabilities too
    scores = sorted(path.name for path in whole.training_path.glob("scores-*"))
    assert len(scores) == updates // PER_BATCH
    for name in scores:
        assert (run.training_path / name).read_bytes() == (whole.training_path / name).read_bytes()
    assert run.rollout_names() == whole.rollout_names()
    for name in whole.rollout_names():  # nothing lost, nothing twice
        assert without_clocks(run.read_rollouts(name)) == without_clocks(
            whole.read_rollouts(name)
        ), name
    after, wanted = run.read_summary(), whole.read_summary()
    assert after is not None and wanted is not None
    for key in ("before", "after", "gain", "updates"):
        assert after[key] == wanted[key]


@pytest.mark.slow
def test_killed_at_random_moments_a_run_side_by_side_keeps_its_books(
    tmp_path: Path, data: Path
) -> None:
    kills = max(4, KILLS // 2)
    updates = updates_for(kills)
    run = run_killed(tmp_path / "run", data, 2, kills, updates, "rollout.max_staleness=1")
    ledger = Ledger(run.training_path)
    batches = [ledger.batch(number) for number in range(ledger.batches)]
    assert len(batches) == updates // PER_BATCH
    indices = [index for batch in batches for index in batch.indices]
    assert len(set(indices)) == len(indices) == 4 * len(batches)  # each index at most once
    metrics = run.read_metrics()
    ends = list(range(PER_BATCH, updates + 1, PER_BATCH))
    assert [line["update"] for line in metrics] == ends
    for batch, line in zip(batches, metrics, strict=True):
        oldest = [int(min(rollout.policy_versions)) // PER_BATCH for rollout in batch.rollouts]
        staleness = [batch.number - version for version in oldest]
        assert set(staleness) <= {0, 1}
        assert [line["staleness/0"], line["staleness/1"]] == [
            staleness.count(0),
            staleness.count(1),
        ]
        assert line["dropped_stale"] == batch.dropped
    last = run.latest_checkpoint()
    assert last is not None and last.update == updates
