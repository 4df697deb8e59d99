import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_run import make_metrics, make_rollout, make_summary

from rlef.environment import EpisodeRecord
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.rollout.records import episode_from_json
from rlef.run import RunFolder


def without_tokens(record: EpisodeRecord) -> Rollout:
    ints, floats = np.zeros(0, np.int32), np.zeros(0, np.float32)
    return Rollout(
        record=record,
        token_ids=ints,
        sequence_starts=ints,
        turn_ids=ints,
        logprobs=floats,
        prompt_ends=ints,
        rewards=floats,
        policy_versions=np.zeros(0, np.int64),
        seed=0,
    )


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
    rollouts = [(i, without_tokens(episode_from_json(record))) for i, record in enumerate(records)]
    ledger = Ledger(run.training_path)
    ledger.add(rollouts[:5])
    ledger.take(3, in_order=True)
    return run
