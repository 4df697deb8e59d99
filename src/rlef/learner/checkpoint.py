"""A learner's state on disk: the policy as a Hugging Face folder, the rest in a folder in it.

vLLM and others read every ``*.safetensors`` of a model's folder, so nothing else may stand there.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.engines.weights import merged_tensors
from rlef.learner.config import SaveDtype
from rlef.learner.lora import adapter_state
from rlef.learner.models import Critic
from rlef.learner.precision import Precision

STATE_FOLDER = "learner"
"""In a checkpoint: all that a run goes on from beside the model."""
_ADAPTERS, _EXACT = "policy-lora.safetensors", "policy-float32.safetensors"
_CRITIC, _STATE = "critic.safetensors", "learner.json"


def save_state(
    folder: Path,
    optimizers: Mapping[str, torch.optim.Optimizer],
    critic: Critic | None,
    *,
    version: int,
    precision: Precision,
) -> None:
    """Writes what a run needs to go on beside the policy, into a folder of ``save_policy``.

    The reference is not written: it is the model that the run began with. So is what adapters
    stand on.
    """
    inner = folder / STATE_FOLDER
    inner.mkdir(exist_ok=True)
    for name, optimizer in optimizers.items():
        save_file(_optimizer_tensors(optimizer), inner / f"{name}-adamw.safetensors")
    if critic is not None:
        save_file(_contiguous(_trained(critic)), inner / _CRITIC)
    state = _State(version=version, precision=precision)
    (inner / _STATE).write_text(state.model_dump_json(), encoding="utf-8")


def restore_state(
    folder: Path, optimizers: Mapping[str, torch.optim.Optimizer], critic: Critic | None
) -> int:
    """Takes over what ``save_state`` wrote; returns the version.

    Raises:
        OSError, ValueError, KeyError, RuntimeError, SafetensorError: The folder does not hold such
            a state.
    """
    inner = folder / STATE_FOLDER
    for name, optimizer in optimizers.items():
        _restore_optimizer(optimizer, load_file(inner / f"{name}-adamw.safetensors"))
    if critic is not None:
        _read_into(_trained(critic), [inner / _CRITIC])
    return _read_state(folder).version


def saved_precision(folder: Path) -> Precision:
    """Returns what ``precision`` came to where a checkpoint was written.

    Raises:
        OSError, ValueError: The folder holds no state of a learner.
    """
    return _read_state(folder).precision


def save_policy(
    model: PreTrainedModel, tokenizer: Any, folder: Path, dtype: SaveDtype = "float32"
) -> None:
    """Writes a model that anything of ``transformers`` loads, adapters added to its weights.

    What that rounds or renames stands in a folder beside it as well, in float32: the adapters where
    there are some, else the weights.
    """
    model.save_pretrained(folder, state_dict=_plain(model, dtype))
    tokenizer.save_pretrained(folder)
    if dtype == "bfloat16":
        _name_dtype(folder / "config.json", dtype)
    exact, name = adapter_state(model), _ADAPTERS
    if not exact and not _holds(folder, model.state_dict()):
        exact, name = dict(model.named_parameters()), _EXACT
    if exact:
        (folder / STATE_FOLDER).mkdir(exist_ok=True)
        save_file(_contiguous(exact), folder / STATE_FOLDER / name)


def restore_policy(model: PreTrainedModel, folder: Path) -> None:
    """Takes over the weights that ``save_policy`` wrote of a model with the same adapters or none.

    Tensor by tensor: there is no second model in memory.

    Raises:
        OSError, ValueError, SafetensorError: The folder does not hold such weights.
    """
    inner = folder / STATE_FOLDER
    if adapters := adapter_state(model):
        _read_into(adapters, [inner / _ADAPTERS])
    elif (inner / _EXACT).is_file():
        _read_into(dict(model.named_parameters()), [inner / _EXACT])
    else:
        _read_into(model.state_dict(), sorted(folder.glob("*.safetensors")))


@torch.no_grad()
def _read_into(ours: Mapping[str, Tensor], files: Iterable[Path]) -> None:
    """Copies tensors of files into those of the same names; every one of ours must be there.

    Of a tensor with two names, one is enough.
    """
    missing = {tensor.data_ptr() for tensor in ours.values()}
    for file in files:
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # it is no mapping
                if name not in ours:
                    raise ValueError(f"{file.name}: {name} is no tensor of this model")
                theirs = tensors.get_tensor(name)
                if theirs.shape != ours[name].shape:
                    sizes = f"{tuple(theirs.shape)}, not {tuple(ours[name].shape)}"
                    raise ValueError(f"{file.name}: size mismatch of {name}: {sizes}")
                ours[name].copy_(theirs)
                missing.discard(ours[name].data_ptr())
    if missing:
        raise ValueError(f"{len(missing)} of {len(ours)} tensors of this model are not there")


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


class _State(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    version: int
    precision: Precision


def _read_state(folder: Path) -> _State:
    return _State.model_validate_json((folder / STATE_FOLDER / _STATE).read_bytes())


def _plain(model: PreTrainedModel, dtype: SaveDtype) -> dict[str, Tensor]:
    """A model's tensors with adapters added up and weights in ``dtype``.

    Buffers stay as they are: some models read theirs in float32.
    """
    weights = {name.replace(".base_layer", "") for name, _ in model.named_parameters()}
    tensors = dict(merged_tensors(model))
    if dtype == "float32":
        return tensors
    return {n: x.to(torch.bfloat16) if n in weights else x for n, x in tensors.items()}


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
