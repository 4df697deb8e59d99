"""The method's formulas as pure functions on tensors: no models, no files, nothing else of ours.

Start at ``losses.py``.
"""

from rlef.algorithms.advantages import (
    Advantages,
    normalize_advantages,
    token_level_gae,
    turn_level_advantages,
    turns_to_tokens,
)
from rlef.algorithms.kl import approx_kl, turn_kl_penalty
from rlef.algorithms.losses import (
    PolicyLoss,
    explained_variance,
    ppo_policy_loss,
    sft_loss,
    token_entropy,
    turn_value_loss,
)
from rlef.algorithms.masked import masked_mean

__all__ = [
    "Advantages",
    "PolicyLoss",
    "approx_kl",
    "explained_variance",
    "masked_mean",
    "normalize_advantages",
    "ppo_policy_loss",
    "sft_loss",
    "token_entropy",
    "token_level_gae",
    "turn_kl_penalty",
    "turn_level_advantages",
    "turn_value_loss",
    "turns_to_tokens",
]
