"""A learner's state on disk: the policy as a Hugging Face folder, the rest in a folder in it.

vLLM and others read every ``*.safetensors`` of a model's folder, so nothing else may stand there. A
policy that is adapters is a folder of ``peft``: a model of 8 B parameters is not written again and
again for the sake of a hundredth of it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.engines.adapters import adapter_state, restore_adapters, save_adapters
from rlef.engines.weights import merged_tensors, read_into
from rlef.learner.config import SaveDtype
from rlef.learner.descent import Descent
from rlef.learner.models import Critic
from rlef.learner.precision import Precision

STATE_FOLDER = "learner"
"""In a checkpoint: all that a run goes on from beside the model."""
_EXACT = "policy-float32.safetensors"
_CRITIC, _STATE = "critic.safetensors", "learner.json"


def save_state(
    folder: Path,
    descents: Sequence[Descent],
    critic: Critic | None,
    state: "LearnerState",
) -> None:
    """Writes what a run needs to go on beside the policy, into a folder of ``save_policy``.

    The reference is not written: it is the model that the run began with. So is what adapters
    stand on.
    """
    inner = folder / STATE_FOLDER
    inner.mkdir(exist_ok=True)
    for descent in descents:
        tensors = _optimizer_tensors(descent.optimizer)
        save_file(tensors, inner / f"{descent.name}-adamw.safetensors")
    if critic is not None:
        save_file(_contiguous(_trained(critic)), inner / _CRITIC)
    (inner / _STATE).write_text(state.model_dump_json(), encoding="utf-8")


def restore_state(
    folder: Path, descents: Sequence[Descent], critic: Critic | None
) -> "LearnerState":
    """Takes over what ``save_state`` wrote, and returns its state.

    Raises:
        OSError, ValueError, KeyError, RuntimeError, SafetensorError: The folder does not hold such
            a state.
    """
    inner = folder / STATE_FOLDER
    state = _read_state(folder)
    for descent in descents:
        tensors = load_file(inner / f"{descent.name}-adamw.safetensors")
        _restore_optimizer(descent.optimizer, tensors)
        descent.skipped_in_a_row = state.skipped_in_a_row[descent.name]
        descent.rest()
    if critic is not None:
        read_into(_trained(critic), [inner / _CRITIC])
    return state


def saved_precision(folder: Path) -> Precision:
    """Returns what ``precision`` came to where a checkpoint was written.

    Raises:
        OSError, ValueError: The folder holds no state of a learner.
    """
    return _read_state(folder).precision


def save_policy(
    model: PreTrainedModel, tokenizer: Any, folder: Path, dtype: SaveDtype = "float32"
) -> None:
    """Writes a model that anything of ``transformers`` loads, or its adapters where it has some.

    What ``dtype`` rounds or files rename stands in a folder beside it as well, in float32.
    """
    tokenizer.save_pretrained(folder)
    if adapter_state(model):
        save_adapters(model, folder)
        return
    model.save_pretrained(folder, state_dict=_plain(model, dtype))
    if dtype == "bfloat16":
        _name_dtype(folder / "config.json", dtype)
    if not _holds(folder, model.state_dict()):
        (folder / STATE_FOLDER).mkdir(exist_ok=True)
        exact = _contiguous(dict(model.named_parameters()))
        save_file(exact, folder / STATE_FOLDER / _EXACT)


def restore_policy(model: PreTrainedModel, folder: Path) -> None:
    """Takes over what ``save_policy`` wrote of a model with the same adapters or none.

    Tensor by tensor: there is no second model in memory.

    Raises:
        OSError, ValueError, SafetensorError: The folder does not hold such weights.
    """
    exact = folder / STATE_FOLDER / _EXACT
    if adapter_state(model):
        restore_adapters(model, folder)
    elif exact.is_file():
        read_into(dict(model.named_parameters()), [exact])
    else:
        read_into(model.state_dict(), sorted(folder.glob("*.safetensors")))


def _holds(folder: Path, ours: Mapping[str, Tensor]) -> bool:
    """Whether a model's files hold its tensors as they are, and not rounded, renamed or split."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                theirs = tensors.get_slice(name)
                if name not in ours or theirs.get_shape() != list(ours[name].shape):
                    return False
                if ours[name].ndim and not torch.equal(theirs[:1], ours[name][:1].cpu()):
                    return False
    return True


class LearnerState(BaseModel):
    """What a learner goes on from beside tensors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: int
    precision: Precision
    critic_is_new: bool
    """Whether its head has yet to get its bias (``critic_bias``)."""
    skipped_in_a_row: dict[str, int]
    """By network, the last steps that were not taken."""


def _read_state(folder: Path) -> LearnerState:
    return LearnerState.model_validate_json((folder / STATE_FOLDER / _STATE).read_bytes())


def _plain(model: PreTrainedModel, dtype: SaveDtype) -> dict[str, Tensor]:
    """A model's tensors, weights in ``dtype``; what is rounded is so in the host's memory.

    Buffers stay as they are: some models read theirs in float32.
    """
    tensors = dict(merged_tensors(model))
    if dtype == "float32":
        return tensors
    weights = {name for name, _ in model.named_parameters()}
    return {n: x.to("cpu", torch.bfloat16) if n in weights else x for n, x in tensors.items()}


def _name_dtype(config: Path, dtype: str) -> None:
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(values | {"dtype": dtype}, indent=2) + "\n", encoding="utf-8")


def _trained(critic: nn.Module) -> dict[str, Tensor]:
    """All of a critic, or head and adapters where these are what is trained."""
    state = critic.state_dict()
    if not (adapters := adapter_state(critic)):
        return state
    head = {name: tensor for name, tensor in state.items() if name.startswith("head.")}
    return {**adapters, **head}


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of each parameter, as ``INDEX.NAME``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor.contiguous()
        for index, values in state.items()
        for name, tensor in values.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
