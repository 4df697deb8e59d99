"""The suite's own processes share the cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"
CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("words", "threads"),
    [(["-n", "2"], max(1, CORES // 2)), (["-n", "0"], CORES), ([], CORES)],
    ids=["two workers", "no workers", "no word"],
)
def test_threads_of_all_processes_together_are_as_many_as_cores(
    tmp_path: Path, words: list[str], threads: int
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_it.py").write_text(
        f"import os\n\ndef test_it():\n    assert os.environ['OMP_NUM_THREADS'] == '{threads}'\n"
    )
    ours = ("OMP_NUM_THREADS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    command = [sys.executable, "-m", "pytest", "-q", *words, str(tmp_path)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
