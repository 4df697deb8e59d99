"""The disk of a run on a cluster is full: one line, what was finished is kept, the run goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import raylets  # noqa: F401  # skips where there is no Ray
from test_cluster_run import TINY

from rlef.config import join_words
from rlef.run import RunFolder

UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
SCRIPT = """
mount -t tmpfs -o size=20m tmpfs "$1" || exit 9
run=$1; shift
"$@" 2> "$run.first"
echo $? > "$run.status"
mount -o remount,size=300m "$run"
"$@" 2> "$run.second" || exit
cp -r "$run/run" "$run.kept"
"""
"""20 MB are room for the policy and the rollouts, not for a checkpoint (51 MB)."""


@pytest.mark.slow
def test_the_same_command_goes_on_once_there_is_room(tmp_path: Path) -> None:
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    small = tmp_path / "small"
    small.mkdir()
    words = join_words(TINY, ["checkpoint_every=2"])
    rlef = [sys.executable, "-m", "rlef.cli.main", "train", "mini", *words]
    rlef += ["cluster.address=local", "cluster.learner_ranks=2", "--out", str(small / "run")]
    done = subprocess.run(
        [*UNSHARE, "bash", "-c", SCRIPT, "bash", str(small), *rlef],
        stdout=subprocess.DEVNULL,
        timeout=900,
    )
    said = (tmp_path / "small.first").read_text()
    last = said.splitlines()[-1]
    assert (tmp_path / "small.status").read_text().strip() == "1" and "Traceback" not in said
    assert "No space left on device); what was finished is kept; make room, then:" in last
    assert done.returncode == 0, (tmp_path / "small.second").read_text()
    run = RunFolder.open(tmp_path / "small.kept")
    assert [line["update"] for line in run.read_metrics()] == [2, 4]
    assert run.read_summary() is not None
    second = (tmp_path / "small.second").read_text()
    assert "eval-before: 2 of 2 episodes are there already" in second
