"""Checkpoints of a run: when they are written, what they are checked for, which policy is best."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from safetensors import SafetensorError

from rlef.engines import EngineError
from rlef.engines.load import LOADING_ERRORS
from rlef.learner.service import Learner, LearnerLost
from rlef.run import RunDamagedError, RunFolder, RunWriteError, writing
from rlef.stored import read_metrics
from rlef.train.recipe import TrainConfig

_GO_ON = (
    "; remove this folder to go on from the checkpoint before it, or from the beginning with all "
    "rollouts kept"
)


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
        self._begun: tuple[Path, int] | None = None

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
        except (RunWriteError, LearnerLost):
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
        self._begun = None
        checkpoint = self._run.latest_checkpoint()
        if checkpoint is not None:
            with reading(checkpoint.path):
                self._learner.restore(checkpoint.path)
        self._run.truncate_metrics_after(self._learner.version)
        self._check_metrics()  # damage is told now, not after the training
        return checkpoint is not None

    def _check_metrics(self) -> None:
        """Raises RunDamagedError where a batch that the checkpoint has learnt from has no line."""
        step = self._config.updates_per_batch
        wanted = range(step, self._learner.version + 1, step)
        found = [line["update"] for line in read_metrics(self._run, complete=True)]
        for update, place in zip_longest(wanted, found):
            if update != place:
                raise RunDamagedError(
                    f"{self._run.metrics_path} is damaged: the line of update {update or place} is "
                    "missing or not in its place; put the file back, or remove the folder "
                    f"{self._run.checkpoints_path.name} to repeat all updates with the rollouts "
                    "that are on disk"
                )

    def save(self, *, wait: bool) -> None:
        """Begins a checkpoint, and makes it one that counts as soon as it is complete.

        Args:
            wait: Until it is; else ``settle`` has to be called. A learner in this process writes
                all of it here.
        """
        self.settle(wait=True)
        folder = self._run.new_checkpoint()
        with writing(folder, SafetensorError):
            self._learner.save(folder)
        self._begun = folder, self._learner.version
        self.settle(wait=wait)

    def save_last(self) -> None:
        """Writes a checkpoint, unless there is one of this version."""
        self.settle(wait=True)
        last = self._run.latest_checkpoint()
        if last is None or last.update < self._learner.version:
            self.save(wait=True)

    def settle(self, *, wait: bool) -> None:
        """Lets a checkpoint count that is complete, and drops older ones.

        Args:
            wait: Until it is complete, if there is one.
        """
        if self._begun is None:
            return
        folder, version = self._begun
        with writing(folder, SafetensorError):
            complete = self._learner.saved(wait=wait)
        if complete:
            self._begun = None
            self._run.commit_checkpoint(folder, version, self._config.keep_checkpoints)

    def save_best(self) -> None:
        """Keeps the policy as the best on the validation problems so far."""
        self.settle(wait=True)
        folder = self._run.new_checkpoint()
        self._write_policy(folder)
        self._run.commit_named(folder, self._run.best_path.name)

    def take(self, path: Path) -> None:
        """Replaces the policy by one of a folder."""
        with reading(path, hint=""):
            self._learner.restore_policy(path)

    def _write_policy(self, folder: Path) -> None:
        with writing(folder, SafetensorError):
            self._learner.save_policy(folder)


@contextmanager
def reading(path: Path, hint: str = _GO_ON) -> Iterator[None]:
    """Turns what loading a checkpoint raises into the name of its folder and what to do.

    Raises:
        RunDamagedError: It cannot be read.
    """
    try:
        yield
    except EngineError:  # of a learner elsewhere: the folder is not at fault
        raise
    except LOADING_ERRORS as error:
        raise RunDamagedError(f"{path} is damaged ({str(error)[:100]}){hint}") from None
