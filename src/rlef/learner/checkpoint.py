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
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.engines.adapters import adapter_state, restore_adapters, save_adapters
from rlef.engines.names import SHARDS
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
    write_counts(folder, state)
    inner = folder / STATE_FOLDER
    for descent in descents:
        save_file(optimizer_tensors(descent.optimizer), inner / _adamw(descent))
    if critic is not None:
        save_file(_contiguous(trained_tensors(critic)), inner / _CRITIC)


def write_counts(folder: Path, state: "LearnerState") -> None:
    """Writes all of a state that is no tensor."""
    inner = folder / STATE_FOLDER
    inner.mkdir(exist_ok=True)
    (inner / _STATE).write_text(state.model_dump_json(), encoding="utf-8")


def restore_state(
    folder: Path, descents: Sequence[Descent], critic: Critic | None
) -> "LearnerState":
    """Takes over what ``save_state`` wrote, or ranks (``Store``), and returns its state.

    Raises:
        OSError, ValueError, KeyError, RuntimeError, SafetensorError: The folder does not hold such
            a state.
    """
    state = _read_state(folder)
    inner = folder / STATE_FOLDER
    files = None
    if (folder / SHARDS).is_dir():
        from rlef.learner.sharded_files import ShardedFiles

        files = ShardedFiles(folder)
    if critic is not None and files is not None:
        files.read(with_prefix("critic", trained_tensors(critic)))
    elif critic is not None:
        read_into(trained_tensors(critic), [inner / _CRITIC])
    for descent in descents:  # one at a time: where states rest, there is no room for two
        if files is not None:
            word = f"{descent.name}-adamw"
            own = [name for name in files.names if name.startswith(f"{word}.")]
            keys = [name.removeprefix(f"{word}.") for name in own]
            tensors = _room_for(descent.optimizer, keys)
            files.read(with_prefix(word, tensors))
        else:
            with safe_open(inner / _adamw(descent), "pt") as file:
                tensors = _room_for(descent.optimizer, list(file.keys()))
            read_into(tensors, [inner / _adamw(descent)])
        _restore_optimizer(descent.optimizer, tensors)
        del tensors
        descent.skipped_in_a_row = state.skipped_in_a_row[descent.name]
        descent.rest()
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
    """Takes over what ``save_policy`` wrote, or ranks, of a model with the same adapters or none.

    Tensor by tensor: there is no second model in memory. The model may be sharded itself.

    Raises:
        OSError, ValueError, SafetensorError: The folder does not hold such weights.
    """
    if adapter_state(model):
        restore_adapters(model, folder)
    elif (folder / SHARDS).is_dir():
        from rlef.learner.sharded_files import ShardedFiles

        ShardedFiles(folder).read(with_prefix("policy", distinct_tensors(model)))
    elif not restore_exact(model, folder):
        read_into(model.state_dict(), sorted(folder.glob("*.safetensors")))


def restore_exact(model: PreTrainedModel, folder: Path) -> bool:
    """Takes over the float32 weights that ``save_policy`` wrote beside others.

    Returns:
        Whether there are such.

    Raises:
        OSError, ValueError, SafetensorError: They are not of this model, or damaged.
    """
    exact = folder / STATE_FOLDER / _EXACT
    if not exact.is_file():
        return False
    read_into(dict(model.named_parameters()), [exact])
    return True


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


def trained_tensors(critic: nn.Module) -> dict[str, Tensor]:
    """All of a critic, or head and adapters where these are what is trained."""
    state = critic.state_dict()
    if not (adapters := adapter_state(critic)):
        return state
    head = {name: tensor for name, tensor in state.items() if name.startswith("head.")}
    return {**adapters, **head}


def distinct_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's saved tensors by name, tied ones once."""
    names: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        names.setdefault(id(tensor), name)
    return {name: state[name].detach() for name in names.values()}


def with_prefix(word: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as ``WORD.NAME``."""
    return {f"{word}.{name}": tensor for name, tensor in tensors.items()}


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in state.items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of each parameter, as ``INDEX.NAME``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor.contiguous()
        for index, values in state.items()
        for name, tensor in values.items()
    }


def _adamw(descent: Descent) -> str:
    return f"{descent.name}-adamw.safetensors"


def _room_for(optimizer: torch.optim.Optimizer, keys: Sequence[str]) -> dict[str, Tensor]:
    """Tensors to read an optimizer's state into; those of sharded parameters are sharded."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    found = {}
    for key in keys:
        index, name = key.split(".")
        if int(index) >= len(parameters):
            raise ValueError(f"{key} is no state of this optimizer")
        like = parameters[int(index)].detach()
        found[key] = torch.zeros(()) if name == "step" else torch.zeros_like(like)
    return found


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
