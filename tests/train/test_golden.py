"""The `mini` run as it was: a redesign must not change what a run computes.

``golden.jsonl`` is the ``metrics.jsonl`` of ``rlef train mini`` with ``WORDS``, without clocks. On
the machine where it was written runs are equal to the bit; elsewhere sums may be rounded otherwise.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rlef.config import dump_config, load_config
from rlef.run import RunFolder
from rlef.train.loop import train
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig

GOLDEN = Path(__file__).with_name("golden.jsonl")
WORDS = (
    *("updates=12", "rollout.batch=32", "rollout.group=12", "learner.minibatch=8"),
    *("eval.problems=4", "eval.random_feedback=false", "eval.also=null"),
)


@pytest.mark.slow
def test_the_mini_run_computes_what_it_always_did(tmp_path: Path) -> None:
    config = load_config(TrainConfig, "mini", WORDS)
    run = RunFolder.create(tmp_path / "run", dump_config(config))
    with run.lock():
        train(config, run, Silent())
    lines = run.read_metrics()
    expected = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(expected) == 3
    for line, old in zip(lines, expected, strict=True):
        assert near({key: line[key] for key in old}) == old


def near(value: Any) -> Any:
    """The value, equal to what differs by rounding."""
    if isinstance(value, dict):
        return {key: near(item) for key, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value
