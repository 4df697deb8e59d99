"""Low-rank adapters in a folder of ``peft``: written, read, and added to a model's weights.

Such a folder has ``adapter_config.json``, which names the model that the adapters stand on, and
``adapter_model.safetensors``. Needs torch only to read tensors.
"""

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlef.engines.types import ModelError
from rlef.extras import how_to_install

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

ADAPTER_MARK = ".lora_"
"""In the names of an adapter's tensors."""
_SETTINGS, _TENSORS = "adapter_config.json", "adapter_model.safetensors"
_NAME, _PREFIX = "default", "base_model.model."
"""Of the adapters in a model; before their names in a file."""


def base_model(name: str) -> str | None:
    """Returns the model that a folder's adapters stand on; ``None`` if it holds none, or a model.

    Raises:
        ModelError: Its settings name none.
    """
    path = Path(name) / _SETTINGS
    if not path.is_file() or (path.parent / "config.json").is_file():
        return None
    try:
        base = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base or base == name:
        raise ModelError(
            f"{path} names no base_model_name_or_path; allowed: the model that the adapters are of"
        )
    return base


def adapter_folders(name: str) -> tuple[str, list[str]]:
    """Returns the whole model that a name leads to, and folders of adapters to add, in order."""
    folders: list[str] = []
    while (base := base_model(name)) is not None and name not in folders:
        folders.insert(0, name)
        name = base
    return name, folders


def adapter_state(module: "nn.Module") -> "dict[str, Tensor]":
    """Returns the adapters' tensors by name."""
    state = module.state_dict()
    return {name: tensor for name, tensor in state.items() if ADAPTER_MARK in name}


def inject_adapters(model: "nn.Module", settings: Any, seed: int) -> Any:
    """Puts adapters into a model, float32 whatever its weights are; they alone require a gradient.

    Args:
        model: Changed in place.
        settings: ``peft.LoraConfig``.
        seed: Of their random halves.

    Returns:
        What of ``peft`` can take them out again.
    """
    import torch
    from peft import LoraModel

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft sets these patterns itself for fused experts
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys did not match")
        torch.manual_seed(seed)
        adapted = LoraModel(model, settings, _NAME)
    for name, parameter in model.named_parameters():
        if ADAPTER_MARK in name:
            parameter.data = parameter.data.float()
    return adapted


def save_adapters(
    model: "PreTrainedModel", folder: Path, tensors: "Mapping[str, Tensor] | None" = None
) -> None:
    """Writes a model's adapters as ``peft`` does, for itself, vLLM and others to load.

    Args:
        model: Whose.
        folder: Where they go.
        tensors: As ``adapter_state`` returns them, where the model's own are sharded.
    """
    from safetensors.torch import save_file

    state: Any = tensors or adapter_state(model)
    wholes = {_in_file(name): tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(wholes, folder / _TENSORS, metadata={"format": "pt"})
    found: Any = model.peft_config
    settings = copy.copy(found[_NAME])
    settings.base_model_name_or_path = model.name_or_path or None
    settings.task_type, settings.inference_mode = "CAUSAL_LM", True
    settings.save_pretrained(str(folder))


def restore_adapters(model: "PreTrainedModel", folder: Path) -> None:
    """Takes over the adapters of a folder into a model that has adapters of this size.

    Raises:
        OSError, ValueError, SafetensorError: The folder does not hold such.
    """
    from rlef.engines.weights import read_into

    ours = {_in_file(name): tensor for name, tensor in adapter_state(model).items()}
    read_into(ours, [folder / _TENSORS])


def merge_adapters(model: "PreTrainedModel", folder: Path) -> None:
    """Adds the adapters of a folder to a model's weights: tensor by tensor, summed in float32.

    Args:
        model: The whole model that they stand on; changed in place.
        folder: Where they are.

    Raises:
        OSError, ValueError, SafetensorError: The folder does not hold adapters of this model.
    """
    try:
        from peft import LoraConfig
    except ImportError:
        raise ValueError(
            "it holds adapters, which need the package peft; install with: "
            + how_to_install("lora")
        ) from None
    import torch

    from rlef.engines.weights import merged_tensors

    adapted = inject_adapters(model, LoraConfig.from_pretrained(str(folder)), seed=0)
    restore_adapters(model, folder)
    weights = {n.replace(".base_layer", ""): p for n, p in model.named_parameters()}
    with torch.no_grad():
        for name, merged in merged_tensors(model):
            if name in weights and merged.data_ptr() != weights[name].data_ptr():
                weights[name].copy_(merged)
    adapted.unload()


def _in_file(name: str) -> str:
    return _PREFIX + name.replace(f".{_NAME}", "")
