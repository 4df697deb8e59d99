"""The method's formulas as pure functions on tensors: no models, no files, nothing else of ours.

Start at ``losses.py``.
"""

from rlef.algorithms.advantages import (
    Advantages,
    normalize_advantages,
    rewards_to_tokens,
    token_level_gae,
    turn_level_advantages,
    turns_to_tokens,
)
from rlef.algorithms.critic import CalibrationBin, calibration, explained_variance
from rlef.algorithms.critic_free import (
    episode_returns,
    grpo_advantages,
    reinforce_pp_advantages,
    rloo_advantages,
)
from rlef.algorithms.kl import KLEstimator, approx_kl, kl_estimates, turn_kl_penalty
from rlef.algorithms.losses import (
    Importance,
    PolicyLoss,
    cispo_policy_loss,
    ppo_policy_loss,
    sft_loss,
    token_entropy,
    turn_policy_loss,
    turn_value_loss,
)
from rlef.algorithms.masked import masked_mean, turn_counts, turn_sums

__all__ = [
    "Advantages",
    "CalibrationBin",
    "Importance",
    "KLEstimator",
    "PolicyLoss",
    "approx_kl",
    "calibration",
    "cispo_policy_loss",
    "episode_returns",
    "explained_variance",
    "grpo_advantages",
    "kl_estimates",
    "masked_mean",
    "normalize_advantages",
    "ppo_policy_loss",
    "reinforce_pp_advantages",
    "rewards_to_tokens",
    "rloo_advantages",
    "sft_loss",
    "token_entropy",
    "token_level_gae",
    "turn_counts",
    "turn_kl_penalty",
    "turn_level_advantages",
    "turn_policy_loss",
    "turn_sums",
    "turn_value_loss",
    "turns_to_tokens",
]
