"""The driver of a run on a cluster is killed, or asked to stop; the run goes on, there or here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cluster_run import TINY, Told, assert_same, trained

from rlef.config import join_words, load_config
from rlef.run import RunFolder
from rlef.train.loop import train
from rlef.train.recipe import TrainConfig

WORDS = join_words(TINY, ["updates=8", "checkpoint_every=8"])


def command(folder: Path, *words: str) -> list[str]:
    rlef = [sys.executable, "-m", "rlef.cli.main", "train", "mini", *WORDS, *words]
    return [*rlef, "--out", str(folder)]


def stopped(words: list[str], folder: Path, batches: int, how: signal.Signals) -> tuple[int, str]:
    """Runs until so many batches are written, then sends a signal.

    At home there is a token of Ray's, which is of another Ray: this one has none.
    """
    metrics, home = folder / "metrics.jsonl", folder.parent
    (home / ".ray").mkdir(exist_ok=True)
    (home / ".ray" / "auth_token").write_text("a" * 64)
    process = subprocess.Popen(
        words,
        env=os.environ | {"HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 400
    while not metrics.is_file() or metrics.read_text().count("\n") < batches:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(how)
    said = process.communicate(timeout=100)[1]
    return process.returncode, said


@pytest.mark.slow
def test_the_same_command_goes_on(tmp_path: Path, ray_address: str) -> None:
    whole, _ = trained(tmp_path / "whole", *WORDS)
    folder = tmp_path / "run"
    words = command(folder, f"cluster.address={ray_address}", "cluster.rollout_actors=2")
    assert stopped(words, folder, 1, signal.SIGKILL)[0] == -signal.SIGKILL
    run = RunFolder.open(folder)
    assert run.latest_checkpoint() is None
    status, said = stopped(words, folder, 2, signal.SIGTERM)
    assert status == 143 and f"stopped; go on with: rlef train {folder}" in said
    checkpoint = run.latest_checkpoint()
    last = run.read_metrics()[-1]["update"]
    assert checkpoint is not None and checkpoint.update == last < 8
    moved = RunFolder.open(folder.rename(tmp_path / "moved"))
    told = Told()
    train(load_config(TrainConfig, "mini", WORDS), moved, told)  # in this process
    assert f"goes on after update {last}" in told.lines
    assert_same(moved, whole)
