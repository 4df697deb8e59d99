"""vLLM behind rollout actors; runs in the Python that has vLLM, where there is one."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from vllm_here import environment, vllm_python


@pytest.mark.slow
def test_engines_of_vllm_in_actors_follow_the_learner(tmp_path: Path) -> None:
    words = [
        *(
            "cluster.address=local",
            "cluster.rollout_actors=2",
            "cluster.learner_ranks=2",
            "updates=2",
            "rollout.batch=8",
        ),
        *("rollout.engine=vllm", "rollout.vllm.eager=true", "learner.minibatch=8"),
        *("rollout.group=8", "rollout.judge_workers=1", "rollout.max_new_tokens=48"),
        *("eval.problems=2", "eval.also=null", "eval.random_feedback=false"),
        *("learner.warmup_updates=0", "data.test=mini:valid"),
    ]
    command = [vllm_python(), "-m", "rlef.cli.main", "train", "mini", *words, "--out", "run"]
    done = subprocess.run(
        command,
        env={**environment(), "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    print([(m["engine_gap"], m["logprob_gap"]) for m in metrics])
    assert [m["update"] for m in metrics] == [1, 2] and metrics[0]["policy_moved"]
    assert all(m["engine_gap"] < 1e-3 and m["logprob_gap"] < 1e-3 for m in metrics)
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("rlef-")]
