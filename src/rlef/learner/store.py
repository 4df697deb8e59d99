"""Where a learner's state goes: files of one process (``checkpoint``) or of ranks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers import PreTrainedModel

from rlef.engines.adapters import adapter_state, save_adapters
from rlef.engines.sharded import whole
from rlef.learner.checkpoint import (
    LearnerState,
    distinct_tensors,
    optimizer_tensors,
    restore_policy,
    restore_state,
    save_policy,
    save_state,
    trained_tensors,
    with_prefix,
    write_counts,
)
from rlef.learner.config import SaveDtype
from rlef.learner.descent import Descent
from rlef.learner.models import Critic
from rlef.learner.precision import Precision
from rlef.learner.ranks import Ranks

if TYPE_CHECKING:
    from rlef.learner.sharded_files import Upload


class Store:
    """Saves and restores a learner.

    A folder of ranks holds their parts of all tensors; settings and tokenizer stand where those of
    a model do, and so do adapters, which are small. Any number of ranks goes on from it, one
    included, and ranks go on from a folder of one process.

    Args:
        model: The policy's.
        critic: Beside it.
        descents: Of both.
        tokenizer: Is saved with them.
        precision: In which passes run.
        dtype: Of a policy that one process saves.
        ranks: Where the learner runs.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        critic: Critic | None,
        descents: Sequence[Descent],
        *,
        tokenizer: Any,
        precision: Precision,
        dtype: SaveDtype,
        ranks: Ranks,
    ) -> None:
        self._model = model
        self._critic = critic
        self._descents = descents
        self._tokenizer = tokenizer
        self._precision: Precision = precision
        self._dtype: SaveDtype = dtype
        self._ranks = ranks
        self._upload: Upload | None = None

    def save(self, folder: Path, *, version: int, critic_is_new: bool) -> None:
        """Writes all; returns when it is written, or on ranks when it is copied: see ``saved``."""
        state = LearnerState(
            version=version,
            precision=self._precision,
            critic_is_new=critic_is_new,
            skipped_in_a_row={one.name: one.skipped_in_a_row for one in self._descents},
        )
        if not self._ranks.several:
            self.save_policy(folder)
            save_state(folder, self._descents, self._critic, state)
            return
        tensors = self._begin_policy(folder)
        for descent in self._descents:
            tensors |= with_prefix(f"{descent.name}-adamw", optimizer_tensors(descent.optimizer))
        if self._critic is not None:
            tensors |= with_prefix("critic", trained_tensors(self._critic))
        self._ranks.on_first(lambda: write_counts(folder, state))
        self._begin_upload(folder, tensors)

    def saved(self, *, wait: bool) -> bool:
        """Whether this rank's part of the last ``save`` is written.

        Raises:
            OSError: It could not be.
        """
        if self._upload is None or not (wait or self._upload.done()):
            return self._upload is None
        upload, self._upload = self._upload, None
        upload.wait()
        return True

    def save_policy(self, folder: Path) -> None:
        """Writes the policy alone."""
        if not self._ranks.several:
            save_policy(self._model, self._tokenizer, folder, self._dtype)
            return
        self.saved(wait=True)
        self._begin_upload(folder, self._begin_policy(folder))
        self.saved(wait=True)

    def restore(self, folder: Path) -> LearnerState:
        """Takes over what ``save`` wrote, and returns what of it is no tensor."""
        restore_policy(self._model, folder)
        return restore_state(folder, self._descents, self._critic)

    def _begin_policy(self, folder: Path) -> dict[str, Tensor]:
        """Writes settings, tokenizer and adapters; returns what is left to the ranks."""
        model = self._model
        adapters = {name: whole(tensor) for name, tensor in adapter_state(model).items()}

        def write() -> None:
            self._tokenizer.save_pretrained(folder)
            if adapters:
                save_adapters(model, folder, adapters)
                return
            model.config.save_pretrained(folder)
            if model.generation_config is not None:
                model.generation_config.save_pretrained(folder)

        self._ranks.on_first(write)
        return {} if adapters else with_prefix("policy", distinct_tensors(model))

    def _begin_upload(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        from rlef.learner.sharded_files import Upload

        self._upload = Upload.begin(folder, tensors, self._ranks)
