import random
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import make_metrics, make_rollout, make_summary

from rlef.run import RunFolder


@pytest.fixture
def summary() -> dict[str, Any]:
    return make_summary()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of 120 updates that is finished but for its summary."""
    run = RunFolder.create(tmp_path / "mini-run", config="seed: 0\nname: <mini>\n")
    draw = random.Random(0)
    for update in range(1, 121):
        run.append_metrics(make_metrics(update, draw))
    records = [make_rollout(f"p{i}", solved=i % 3 != 0, turns=1 + i % 2 * 2) for i in range(40)]
    run.write_rollouts("eval-after", records)
    run.write_rollouts("train-000120", records[:3])
    return run
