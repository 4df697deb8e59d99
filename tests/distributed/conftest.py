from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """A Ray of one machine, which this process has reached."""
    import ray
    from raylets import new_cluster

    cluster = new_cluster(cores=12)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def ray_address(ray_cluster: Any) -> str:
    """Where it listens."""
    return str(ray_cluster.address)
