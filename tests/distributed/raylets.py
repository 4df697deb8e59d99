"""Ray's machines on this one, started fast: without the agents that a dashboard would ask."""

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
if shutil.which("setpriv"):  # of util-linux: it is not to outlive a raylet that is killed
    _IDLE = f"setpriv --pdeathsig KILL {_IDLE}"
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
def far_machine(cluster: Cluster, cores: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Another machine, in a network namespace of its own; its address, and what cuts its network.

    Skips the test where there can be none.
    """
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs the command ip (Debian's iproute2) and root")
    name = f"rlef{os.getpid()}"
    near, far = f"{name}a"[-15:], f"{name}b"[-15:]
    here, there = "10.213.77.1", "10.213.77.2"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    try:
        inside = ["ip", "-n", name]
        for words in (
            ["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name],
            ["ip", "addr", "add", f"{here}/30", "dev", near],
            ["ip", "link", "set", near, "up"],
            [*inside, "addr", "add", f"{there}/30", "dev", far],
            [*inside, "link", "set", far, "up"],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "route", "add", "default", "via", here],
        ):
            subprocess.run(words, check=True)
        words = [sys.executable, __file__, cluster.address, there, str(cores)]
        with subprocess.Popen(
            ["ip", "netns", "exec", name, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                assert process.stdout.readline() == b"there\n"
                yield there, lambda: subprocess.run(["ip", "link", "set", near, "down"], check=True)
            finally:
                process.stdin.close()  # and it ends
    finally:
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False)


def _be_machine(address: str, own: str, cores: str) -> None:
    """Is a machine of a cluster until stdin ends."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    params = RayParams(
        node_ip_address=own,
        gcs_address=address,
        min_worker_port=0,
        max_worker_port=0,
        **_machine(int(cores)),
    )
    node = Node(params, head=False, shutdown_at_exit=True, spawn_reaper=True)
    print("there", flush=True)
    sys.stdin.read()
    node.kill_all_processes(check_alive=False, allow_graceful=False)


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


if __name__ == "__main__":
    _be_machine(*sys.argv[1:])
