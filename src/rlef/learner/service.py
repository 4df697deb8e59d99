"""What the training loop knows of a learner."""

from pathlib import Path
from typing import Protocol

from rlef.algorithms import CalibrationBin
from rlef.engines.types import Weights
from rlef.learner.scores import RolloutScores
from rlef.rollout import RolloutBatch
from rlef.rollout.teacher import TeacherBatch

Metrics = dict[str, float]
"""Of an update, by the names of ``docs/metrics.md``; what is undefined is NaN."""


class LearnerLost(Exception):
    """A learner in other processes was lost, and made anew as it was when the run began."""


class Learner(Protocol):
    """Learns from batches of rollouts: in this process, or in others."""

    @property
    def version(self) -> int:
        """Optimizer steps that the batches so far stand for: the only counter of updates of a run.

        By it learning rates rise and fall, checkpoints are named and rollouts are stale. A batch
        with fewer rollouts than steps, or with none, takes fewer steps than it stands for.
        """
        ...

    @property
    def policy_moved(self) -> bool:
        """Whether the last batch had a gradient for the policy, or was not to have one."""
        ...

    @property
    def calibration(self) -> tuple[CalibrationBin, ...]:
        """Of the critic on the last batch, before it learnt from it; empty without one."""
        ...

    def scores(self) -> tuple[RolloutScores, ...]:
        """Returns what the last ``update`` knew of the batch's first rollouts before it learnt.

        Of so many as it was made to keep; none where nothing was learnt yet.
        """
        ...

    def update(
        self,
        batch: RolloutBatch,
        steps: int,
        lessons: TeacherBatch | None = None,
        replay: RolloutBatch | None = None,
    ) -> Metrics:
        """Learns from a batch of rollouts.

        Args:
            batch: The rollouts.
            steps: Minibatches of equal size to cut it into, those of all passes over it together;
                there are no empty ones. So many updates the batch stands for.
            lessons: Answers of the batch that the teacher says something of, where there is one
                (``learner.teacher``).
            replay: Solved answers to imitate beside the batch, where there are any
                (``learner.replay``); they are dealt out to the optimizer steps in order.

        Raises:
            FloatingPointError: Gradients are not finite, step after step.
        """
        ...

    def pass_over(self, steps: int) -> None:
        """Lets the updates pass that a batch without any rollout to learn from stands for."""
        ...

    def weights(self) -> Weights:
        """Returns the policy as it is, to sample from."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what ``restore`` needs; the folder is also a model that anything loads.

        Ranks hold on until they have copied what is to be written, and go on while it is: the
        folder is complete once ``saved``, and a model only after ``rlef export``.
        """
        ...

    def saved(self, *, wait: bool) -> bool:
        """Whether all of the last ``save`` is written; true where there was none.

        Args:
            wait: Until it is.

        Raises:
            OSError: It could not be written.
        """
        ...

    def save_policy(self, folder: Path) -> None:
        """Writes the policy alone, as a model that anything loads, or its adapters."""
        ...

    def restore_policy(self, folder: Path) -> None:
        """Takes over what ``save_policy`` wrote of the same model.

        Raises:
            OSError, ValueError, SafetensorError: The folder does not hold such weights.
        """
        ...

    def notices(self) -> list[str]:
        """Returns what a user should know of how this model is trained, a line each."""
        ...

    def restore(self, folder: Path) -> None:
        """Brings a new learner of the same model and settings to the state of ``save``.

        Raises:
            OSError, ValueError, KeyError, RuntimeError, SafetensorError: The folder does not hold
                such a state.
        """
        ...
