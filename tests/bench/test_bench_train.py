"""`rlef bench train` on a tiny recipe, and TRL beside it where it is."""

import math
import os
import sys
from pathlib import Path

import pytest
from trl_compare import trl

from rlef.bench.train import Setting, measure

TINY = (
    *("rollout.batch=8", "learner.minibatch=4", "rollout.max_new_tokens=24", "rollout.group=8"),
    "rollout.turn_limit=2",
)


@pytest.mark.slow
def test_phases_add_up() -> None:
    ((_, rows),) = measure(["phases"], Setting(words=TINY, batches=2))
    shares = [row.value for row in rows if row.unit == "%" and "share" in row.name]
    assert len(shares) == 5 and 90 < sum(shares) < 110
    (rate,) = [row for row in rows if row.unit == "tokens/s"]
    assert rate.value > 0 and "batches of 8 rollouts" in rate.note
    named = {row.name: row for row in rows}
    assert named["useful tokens of those computed in the learner"].value == 100  # packed
    assert 0 < named["model FLOPs utilisation in the optimizer steps"].value < 100


@pytest.mark.slow
def test_compiled_passes_stand_beside_eager_ones() -> None:
    ((_, (row,)),) = measure(
        ["compile"], Setting(words=("learner.micro_batch_tokens=512",), batches=1)
    )
    assert row.value > 0 and "512 tokens in" in row.note and row.met is None


@pytest.mark.slow
def test_memory_is_sampled_five_times() -> None:
    ((_, (row,)),) = measure(["memory"], Setting(steps=20))
    assert row.unit == "%" and math.isfinite(row.value)


@pytest.mark.slow
def test_a_large_vocabulary_is_never_whole() -> None:
    ((_, (row,)),) = measure(["vocabulary"], Setting())
    assert row.met


@pytest.mark.slow
def test_a_python_without_trl_is_one_line() -> None:
    (row,) = trl(Setting(words=TINY, batches=1), Path(sys.executable))
    assert math.isnan(row.value) and "No module named 'trl'" in row.note


@pytest.mark.slow
def test_beside_trl() -> None:
    python = os.environ.get("RLEF_TRL_PYTHON")
    if python is None:
        pytest.skip("RLEF_TRL_PYTHON is not set: no Python with TRL")
    (row,) = trl(Setting(words=TINY, batches=1), Path(python))
    assert row.value > 0
