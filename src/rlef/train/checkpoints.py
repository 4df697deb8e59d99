"""Checkpoints of a run: when they are written, what they are checked for, which policy is best."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from rlef.engines.load import LOADING_ERRORS
from rlef.learner.service import Learner
from rlef.run import RunDamagedError, RunFolder, RunWriteError, writing
from rlef.stored import read_metrics
from rlef.train.recipe import TrainConfig

BEST = "best"
"""Name of the folder beside the checkpoints with the best policy on the validation problems."""


class Checkpoints:
    """Saves and restores the learner of a run.

    Args:
        config: The recipe.
        run: Its folder.
        learner: Whose policy and state it is.
    """

    def __init__(self, config: TrainConfig, run: RunFolder, learner: Learner) -> None:
        self._config = config
        self._run = run
        self._learner = learner

    def try_saving(self) -> None:
        """Writes the policy and reads it again, so that the first checkpoint will not fail.

        Raises:
            ValueError: The model cannot be written, or not be read again.
            RunWriteError: The folder cannot take it.
        """
        if self._run.latest_checkpoint() is not None:
            return
        folder = self._run.new_checkpoint()
        try:
            self._write_policy(folder)
            self._learner.restore_policy(folder)
        except RunWriteError:
            raise
        except Exception as error:  # transformers and peft raise all sorts of what they cannot do
            raise ValueError(
                f"{self._config.model.name}: a checkpoint of it cannot be written and read again, "
                f"so it is not trained: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def restore(self) -> bool:
        """Brings the learner to the last checkpoint; returns whether there is one."""
        checkpoint = self._run.latest_checkpoint()
        if checkpoint is not None:
            with reading(checkpoint.path):
                self._learner.restore(checkpoint.path)
        self._run.truncate_metrics_after(self._learner.version)
        read_metrics(self._run, complete=True)  # a damaged line now, not after the training
        return checkpoint is not None

    def save(self) -> None:
        """Writes a checkpoint and drops older ones."""
        folder = self._run.new_checkpoint()
        with writing(folder, SafetensorError):
            self._learner.save(folder)
        keep = self._config.keep_checkpoints
        self._run.commit_checkpoint(folder, self._learner.version, keep)

    def save_best(self) -> None:
        """Keeps the policy as the best on the validation problems so far."""
        folder = self._run.new_checkpoint()
        self._write_policy(folder)
        self._run.commit_named(folder, BEST)

    def take(self, path: Path) -> None:
        """Replaces the policy by one of a folder."""
        with reading(path):
            self._learner.restore_policy(path)

    def _write_policy(self, folder: Path) -> None:
        with writing(folder, SafetensorError):
            self._learner.save_policy(folder)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what loading a checkpoint raises into the name of its folder and what to do.

    Raises:
        RunDamagedError: It cannot be read.
    """
    try:
        yield
    except LOADING_ERRORS as error:
        hint = "; remove this folder to go on from the checkpoint before it, or from the "
        hint += "beginning with all rollouts kept"
        raise RunDamagedError(
            f"{path} is damaged ({str(error)[:100]}){hint if path.name != BEST else ''}"
        ) from None
