"""RLEF's turn-level advantage in verl, as ``algorithm.adv_estimator=rlef_turn``.

Where ``VERL_USE_EXTERNAL_MODULES=rlef_verl_advantage`` is set, each of verl's processes imports it.
Page: docs/integrations/verl.md.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import pad
from verl.trainer.ppo import ray_trainer
from verl.trainer.ppo.core_algos import register_adv_est

from rlef.algorithms import normalize_advantages, turn_level_advantages, turns_to_tokens

NAME = "rlef_turn"


@register_adv_est(NAME)
def rlef_advantage(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    config: Any = None,
    values: torch.Tensor | None = None,
    whiten: bool = True,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """RLEF's advantages and returns: one per turn, at each of its tokens.

    Args:
        token_level_rewards: (B, L); a turn's reward is the sum from its first token on.
        response_mask: (B, L), 1 = sampled; a run of ones is a turn.
        config: ``gamma`` and ``lam`` count turns; ``None``: both 1.
        values: (B, L), read before each token: V(c_t) is that at a turn's first token.
        whiten: Over the turns of the batch.

    Raises:
        ValueError: There are no values.
    """
    if values is None:
        raise ValueError(f"{NAME} needs the critic's values; set critic.enable=true")
    mask = response_mask.bool()
    starts = mask & ~pad(mask, (1, 0))[:, :-1]
    turns = (starts.cumsum(1) - 1).clamp(min=0)
    count = max(1, int(starts.sum(1).max()))
    zeros = token_level_rewards.new_zeros(len(mask), count)
    turn_mask = torch.arange(count, device=mask.device) < starts.sum(1, keepdim=True)
    rewards = zeros.scatter_add(1, turns, token_level_rewards)
    read = zeros.scatter_add(1, turns, torch.where(starts, values, 0).to(zeros.dtype))
    gamma, lam = (1.0, 1.0) if config is None else (config.gamma, config.lam)
    advantages, returns = turn_level_advantages(rewards, read, turn_mask, gamma=gamma, lam=lam)
    if whiten:
        advantages = normalize_advantages(advantages, turn_mask)
    ids = torch.where(mask, turns, -1)
    return turns_to_tokens(advantages, ids), turns_to_tokens(returns, ids)


def _with_values(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Hands the critic's values over: verl 0.9 gives them to its own GAE, to no other estimator."""

    @functools.wraps(compute)
    def compute_advantage(data: Any, adv_estimator: Any, *args: Any, **words: Any) -> Any:
        if adv_estimator != NAME:
            return compute(data, adv_estimator, *args, **words)
        batch = data.batch
        batch["advantages"], batch["returns"] = rlef_advantage(
            batch["token_level_rewards"],
            batch["response_mask"],
            config=words.get("config"),
            values=batch.get("values", None),
        )
        return data

    return compute_advantage


def _install() -> None:
    """Replaces verl's function wherever a module of verl has taken it by name."""
    plain = ray_trainer.compute_advantage
    found = [module for name, module in list(sys.modules.items()) if name.startswith("verl.")]
    for module in found:
        if vars(module).get("compute_advantage") is plain:
            module.compute_advantage = _with_values(plain)  # type: ignore[attr-defined]


_install()
