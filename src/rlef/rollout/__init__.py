"""Rollouts: many episodes at once, and the batch of tensors made of them.

Start at ``worker.py``.
"""

from rlef.rollout.batch import RolloutBatch
from rlef.rollout.running import EpisodeRequest, RolloutTiming
from rlef.rollout.types import Rollout
from rlef.rollout.worker import RolloutWorker, derive_seed

__all__ = [
    "EpisodeRequest",
    "Rollout",
    "RolloutBatch",
    "RolloutTiming",
    "RolloutWorker",
    "derive_seed",
]
