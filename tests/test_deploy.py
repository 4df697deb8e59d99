"""What starts rlef on clusters: the manifest asks for what the recipe needs, the script goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from rlef.config import load_config
from rlef.train.recipe import TrainConfig

DEPLOY = Path(__file__).parents[1] / "deploy"


def test_the_manifest_has_the_gpus_and_cores_of_its_recipe() -> None:
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = job["spec"]["entrypoint"].split("rlef train ")[-1].split(";")[0].split()
    recipe, settings = words[0], [word for word in words if "=" in word]
    config = load_config(TrainConfig, recipe, settings)
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    has = container["resources"]["limits"]
    cluster, rollout = config.cluster, config.rollout
    each = rollout.vllm.tensor_parallel_size
    gpus = cluster.rollout_actors * each + cluster.learner_ranks
    assert cluster.address == "auto" and workers["replicas"] * int(has["nvidia.com/gpu"]) == gpus
    cores = cluster.rollout_actors * (1 + rollout.judge_workers) + cluster.learner_ranks
    assert workers["replicas"] * int(has["cpu"]) >= cores


STUBS = {
    "srun": 'echo "srun $*" >> "$LOG"; sleep 30',
    "python": "cat > /dev/null",
    "scontrol": 'echo "scontrol $*" >> "$LOG"',
    "rlef": 'trap "echo saved >> $LOG; kill %1; exit 3" TERM; echo "rlef $*" >> "$LOG"\n'
    "sleep 30 & wait",
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment in which Slurm's and rlef's commands write what they are told."""
    for name, body in STUBS.items():
        stub = tmp_path / name
        stub.write_text(f"#!/bin/bash\n{body}\n")
        stub.chmod(0o755)
    return os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_ON_NODE": "64",
        "SLURMD_NODENAME": "one",
    }


def run_until_told(slurm: dict[str, str], run: Path) -> tuple[int, str]:
    """Runs the script until rlef has begun, and tells it to stop as Slurm does."""
    log = Path(slurm["LOG"])
    log.write_text("")
    words = ["bash", str(DEPLOY / "slurm.sh"), str(run), "mini", "seed=1"]
    script = subprocess.Popen(
        words, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 20
        said = ""
        while "rlef train" not in said or said.count("ray start") < 2:
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
            said = log.read_text()
        script.send_signal(signal.SIGTERM)
        script.wait(20)
    finally:
        os.killpg(script.pid, signal.SIGKILL)
        script.communicate()
    return script.returncode, log.read_text()


def test_slurms_signal_reaches_rlef_and_the_job_stands_in_line_again(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, log = run_until_told(slurm, run)
    lines = log.splitlines()
    assert status == 3 and "saved" in lines and "scontrol requeue 7" in lines
    assert f"rlef train mini --out {run} cluster.address=auto seed=1" in lines
    head, others = sorted((line for line in lines if "ray start" in line), key=len, reverse=True)
    assert "--nodelist=one ray start --head" in head and head.endswith("--block")
    assert "--nodes=2 --ntasks=2 --exclude=one ray start --address=" in others
    run.mkdir()
    (run / "config.yaml").write_text("name: mini\n")
    assert f"rlef train {run}" in run_until_told(slurm, run)[1].splitlines()
    (run / "summary.json").write_text("{}")
    assert "requeue" not in run_until_told(slurm, run)[1]
