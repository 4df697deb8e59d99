"""Threads of the tests' processes: as many in all as there are cores; hypothesis without deadlines.

More threads would wait for each other at every step of torch (measured: four times slower).
"""

import os

import pytest
from hypothesis import settings

# An example may take long on a busy machine: that says nothing about what it tests.
settings.register_profile("rlef", deadline=None)
settings.load_profile("rlef")


def pytest_configure(config: pytest.Config) -> None:
    """Runs in each worker of ``pytest -n`` and, before, in the controller they inherit from."""
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT") or getattr(
        config.option, "numprocesses", None
    )
    threads = len(os.sched_getaffinity(0)) // int(workers or 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))
