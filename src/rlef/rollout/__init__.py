"""Rollouts: many episodes at once, and the batch of tensors made of them.

Start at ``episode.py``.
"""

from rlef.rollout.batch import RolloutBatch
from rlef.rollout.episode import EpisodeRequest, EpisodeSettings, run_episode
from rlef.rollout.local import LocalRollouts
from rlef.rollout.seeds import derive_seed
from rlef.rollout.service import Rollouts, RolloutTiming, run_requests
from rlef.rollout.types import Rollout

__all__ = [
    "EpisodeRequest",
    "EpisodeSettings",
    "LocalRollouts",
    "Rollout",
    "RolloutBatch",
    "RolloutTiming",
    "Rollouts",
    "derive_seed",
    "run_episode",
    "run_requests",
]
