"""New weights for the real vLLM while it runs; see ``vllm_policy_checks.py``."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm_here import environment, vllm_python


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-4), ("bfloat16", 0.3)])
def test_new_weights_while_vllm_runs(dtype: str, close: float, tmp_path: Path) -> None:
    found = run("vllm_policy_checks.py", dtype, str(tmp_path))
    print(f"{dtype}: a load takes {found['load_s']:.2f} s, gap {found['gap']:.1e}")
    assert found["first_versions"] == [0] * 4 and found["versions"] == [4] * 4
    # blocks of the old weights are dropped, and what is sampled is the new model's
    assert all(found["cached"]) and not any(found["cached_after"])
    assert found["gap"] < close / 10 and found["sampled_gap"] < close
    assert found["fresh_engine"] < close / 100
    assert found["grown_mb"] < 20 and found["unfinished"] == 0
    assert found["streamed_gap"] < close / 10
    assert found["rounded"]["holds"] == [dtype] and not found["rounded"]["unknown"]
    assert found["rounded"]["bytes"] == pytest.approx(1 if dtype == "float32" else 0.5, abs=0.01)
    assert found["rounded"]["moved"] == 0
    assert found["ranks"] == [1, 5]
    assert found["native"][0] < close / 10 and found["native"][1] == 105
    for line in (*found["stale"], *[""] * (2 - len(found["stale"]))):
        assert "still samples from older weights after version 106 was loaded" in line
    assert "6 of its parameters got no weights" in found["partly"] == found["broken"]
    # requests that run go on, and say that they are old
    assert found["flight"] == [[0, 300]] * 4 and found["after_flight"] == [3] * 4


@pytest.mark.slow
def test_new_weights_for_two_workers() -> None:
    found = run("vllm_policy_checks.py", "two")
    gaps, shares = zip(*found["gaps"], strict=True)
    assert max(gaps) < 1e-5 and shares == pytest.approx([1] * 3, abs=1e-3) and not found["left"]
    assert "vLLM hangs: start_weight_update has taken more than 10 s" in found["hung"]
    assert found["noticed_s"] < 60 and found["closed_s"] < 60


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["ipc", "nccl"])
def test_new_weights_by_the_backends_of_vllm(kind: str) -> None:
    if torch.cuda.device_count() < (2 if kind == "nccl" else 1):
        pytest.skip("nccl needs two GPUs, ipc one")
    assert max(run("vllm_native_checks.py", kind)) < 1e-3


def run(script: str, *words: str) -> Any:
    command = [vllm_python(), str(Path(__file__).with_name(script)), *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
