"""Rollouts: many episodes at once, and the batch of tensors made of them.

Needs torch for ``RolloutBatch`` only. Start at ``episode.py``.
"""

from typing import TYPE_CHECKING, Any

from rlef.rollout.episode import EpisodeRequest, EpisodeSettings, run_episode
from rlef.rollout.local import LocalRollouts
from rlef.rollout.seeds import derive_seed
from rlef.rollout.service import Rollouts, RolloutTiming, run_requests
from rlef.rollout.types import Rollout

if TYPE_CHECKING:
    from rlef.rollout.batch import RolloutBatch

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


def __getattr__(name: str) -> Any:
    """Imports the batch, and torch with it, on first use (PEP 562)."""
    if name == "RolloutBatch":
        from rlef.rollout.batch import RolloutBatch

        return RolloutBatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
