"""Ray's machines on this one, started fast: without the agents that a dashboard would ask."""

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_enable_worker_prestart"] = "0"  # noqa: SIM112  # Ray reads it so
os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112

os.environ["RAY_health_check_initial_delay_ms"] = "1000"  # noqa: SIM112
os.environ["RAY_health_check_period_ms"] = "1000"  # noqa: SIM112
os.environ["RAY_health_check_failure_threshold"] = "3"  # noqa: SIM112
_TESTS = Path(__file__).parents[1]
_PATHS = [str(_TESTS / name) for name in ("distributed", "rollout")]  # for actors too
sys.path += _PATHS
os.environ["PYTHONPATH"] = os.pathsep.join([*_PATHS, os.environ.get("PYTHONPATH", "")])

import ray._private.services as services  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

_IDLE = "sleep 1000000"
_start = services.start_ray_process


def _start_without_agents(command: list[str], *words: Any, **more: Any) -> Any:
    """A raylet waits 15 s for its agents, which import much: too long on a busy machine."""
    if command[0].endswith("raylet"):
        command = [
            f"{word.partition('=')[0]}={_IDLE}"
            if word.startswith(("--dashboard_agent_command", "--runtime_env_agent_command"))
            else word
            for word in command
        ]
        command.append(f"--dashboard_agent_listen_port={_free_ports(1)[0]}")
    return _start(command, *words, **more)


services.start_ray_process = _start_without_agents


def new_cluster(cores: int) -> Cluster:
    """One machine, and ``add_machine`` for others."""
    return Cluster(initialize_head=True, head_node_args=_machine(cores))


def add_machine(cluster: Cluster, cores: int, **more: Any) -> Any:
    return cluster.add_node(**_machine(cores), **more)


@contextmanager
def gcs_with_token(token: str, folder: Path) -> Iterator[str]:
    """The part of a Ray that lets processes in, which asks for a token; its address."""
    port = _free_ports(1)[0]
    words = (
        *(f"--gcs_server_port={port}", "--node-ip-address=127.0.0.1", "--session-name=test"),
        *(f"--log_dir={folder}", f"--config_list={base64.b64encode(b'{}').decode()}"),
    )
    asking = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    with (
        (folder / "gcs.out").open("w") as out,
        subprocess.Popen(
            [services.GCS_SERVER_EXECUTABLE, *words],
            env=os.environ | asking,
            stdout=out,
            stderr=out,
        ) as process,
    ):
        try:
            end = time.monotonic() + 60
            while not _listens(port):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _machine(cores: int) -> dict[str, Any]:
    names = ("metrics_agent_port", "runtime_env_agent_port", "metrics_export_port")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    return {
        **ports,
        "num_cpus": cores,
        "object_store_memory": 100_000_000,
        "include_dashboard": False,
        "include_log_monitor": False,
    }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
