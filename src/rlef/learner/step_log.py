"""Metrics of an update: sums over micro-batches, means over optimizer steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlef.learner.ranks import Ranks
from rlef.learner.service import Metrics


class StepLog:
    """Adds metrics up over micro-batches (``step``), and takes their mean over optimizer steps.

    Args:
        ranks: Over which micro-batches are dealt out.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.step: Metrics = {}
        self._steps: list[Metrics] = []
        self._sums: dict[str, Tensor] = {}
        self._policy_steps = self._skipped = 0

    def begin(self) -> None:
        """Begins a step."""
        self.step = {}
        self._steps.append(self.step)

    def add(self, found: Mapping[str, Tensor]) -> None:
        """Adds scalars of a micro-batch, on the device."""
        for name, value in found.items():
            before = self._sums.get(name)
            self._sums[name] = value.detach() if before is None else before + value.detach()

    def read(self) -> Metrics:
        """Returns what the step has come to on all ranks; waits for the device."""
        if self._sums:
            values = self._ranks.sum(torch.stack(list(self._sums.values()))).tolist()
            self.step.update(zip(self._sums, values, strict=True))
            self._sums.clear()
        return self.step

    def took_step(self, network: str, norm: float | None) -> None:
        """Notes the norm that ``Descent.step`` returned."""
        if norm is None:
            self._skipped += 1
            return
        self.step[f"grad_norm/{network}"] = norm
        self._policy_steps += network == "policy"

    def means(self) -> Metrics:
        """Returns the mean of each metric over the steps that have it, and counts of steps."""
        found: dict[str, list[float]] = {}
        for step in self._steps:
            for name, value in step.items():
                found.setdefault(name, []).append(value)
        means = {name: sum(v / len(values) for v in values) for name, values in found.items()}
        counts = {"policy_steps": self._policy_steps, "skipped_steps": self._skipped}
        return means | {name: float(count) for name, count in counts.items()}
