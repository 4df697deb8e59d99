import signal
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("ray") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header() -> str:
    """Says why there are no tests of clusters."""
    there = find_spec("ray") is not None
    return "" if there else "tests/distributed: left out, ray is not installed (pip install ray)"


@pytest.fixture(scope="session")
def machine() -> Iterator[Any]:
    """A Ray of one machine, and ``add_machine`` for others."""
    from raylets import new_cluster

    cluster = new_cluster(cores=12)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def ray_cluster(machine: Any) -> Iterator[Any]:
    """It, and this process has reached it."""
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    ray.init(address=machine.address, log_to_driver=False, logging_level="ERROR")
    signal.signal(signal.SIGTERM, handler)  # Ray's own would stay in this process
    yield machine
    ray.shutdown()


@pytest.fixture(scope="module")
def ray_address(ray_cluster: Any) -> str:
    """Where it listens."""
    return str(ray_cluster.address)
