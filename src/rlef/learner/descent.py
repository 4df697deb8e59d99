"""Gradient descent of one network: AdamW, its learning rate, and gradients that are no numbers."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from rlef.engines.sharded import local, whole
from rlef.learner.config import LearnerConfig
from rlef.learner.offload import Resting

MAX_SKIPPED = 3
"""Steps in a row without a finite gradient, after which a run stops."""


class Descent:
    """Takes the optimizer steps of a network.

    Args:
        name: Of the network, for the user.
        network: Its parameters that require a gradient are trained.
        config: The settings.
        lr: The learning rate after warm-up.
        head_lr: That of its ``head``; ``None``: the same.
        begins_at: The version at which the network begins to learn, and its warm-up.
        total_updates: Optimizer steps of the run, for ``final_lr_share``; ``None``: not known.

    Attributes:
        skipped_in_a_row: the last steps that were not taken.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        config: LearnerConfig,
        lr: float,
        *,
        head_lr: float | None = None,
        begins_at: int = 0,
        total_updates: int | None = None,
    ) -> None:
        self.name = name
        self.skipped_in_a_row = 0
        self._config = config
        self._begins_at = begins_at
        self._total_updates = total_updates
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        betas = (config.adam_beta1, config.adam_beta2)
        device = self._parameters[0].device
        groups = _groups(network, self._parameters, lr, head_lr)
        self._rates = [float(group["lr"]) for group in groups]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=lr,
            betas=betas,
            weight_decay=config.weight_decay,
            fused=True if device.type == "cuda" else None,  # no copies of all weights on the way
        )
        self._states = Resting(self._state_tensors, device) if config.offload == "all" else None

    def step(self, version: int) -> float | None:
        """Takes a step along the gradient and clears it.

        Args:
            version: Updates that the run has behind it.

        Returns:
            The gradient's norm before clipping; ``None`` if it is not finite: then weights and
            optimizer stay as they are.

        Raises:
            FloatingPointError: It was not finite ``MAX_SKIPPED`` times in a row.
        """
        norm = float(whole(nn.utils.clip_grad_norm_(self._parameters, self._config.grad_clip)))
        if not math.isfinite(norm):
            self.clear()
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= MAX_SKIPPED:
                raise FloatingPointError(
                    f"update {version + 1}: the gradient norm of the {self.name} is {norm}, "
                    f"{self.skipped_in_a_row} times in a row; try a lower learner.lr, or precision "
                    "float32"
                )
            return None
        self.skipped_in_a_row = 0
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._share(version)
        if self._states is None:
            self.optimizer.step()
        else:
            with self._states.awake():
                self.optimizer.step()
        self.clear()
        return norm

    def rest(self) -> None:
        """Sends states that were loaded to where they rest."""
        if self._states is not None:
            self._states.rest()

    def clear(self) -> None:
        """Drops the gradient."""
        self.optimizer.zero_grad()

    def _state_tensors(self) -> list[Tensor]:
        found = self.optimizer.state.values()
        with torch.no_grad():
            return [local(tensor) for values in found for tensor in values.values()]

    def _share(self, version: int) -> float:
        """Returns the share of the learning rate for the update after ``version`` others."""
        warmup_updates = max(1, self._config.warmup_updates)
        warmup = min(1.0, (version - self._begins_at + 1) / warmup_updates)
        if self._total_updates is None:
            return warmup
        progress = min(1.0, version / self._total_updates)
        return warmup * (1 - (1 - self._config.final_lr_share) * progress)


def _groups(
    network: nn.Module, parameters: list[nn.Parameter], lr: float, head_lr: float | None
) -> list[dict[str, Any]]:
    """Parameters by learning rate, in the order that they came in."""
    if head_lr is None:
        return [{"params": parameters, "lr": lr}]
    count = len(list(network.get_submodule("head").parameters()))  # a head comes last
    rest, head = parameters[:-count], parameters[-count:]
    return [{"params": rest, "lr": lr}, {"params": head, "lr": head_lr}]
