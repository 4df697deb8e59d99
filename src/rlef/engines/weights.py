"""A policy's tensors one by one, as an engine takes them over and as files hold them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

_LAYER = re.compile(r"\D*\d*")
"""Of a tensor's name: up to the number of its layer, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelWeights:
    """``Weights`` of a module in this process."""

    version: int
    model: PreTrainedModel

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """See ``merged_tensors``."""
        return merged_tensors(self.model)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """See ``checkpoint_tensors``."""
        return checkpoint_tensors(self.model)

    @torch.inference_mode()
    def logprobs(self, rows: Sequence[Sequence[int]], first: int) -> NDArray[np.float64]:
        """See ``Weights.logprobs``."""
        model = self.model
        was_training = model.training
        model.train(False)
        # a frozen part in bfloat16 multiplies with adapters in float32 under autocast only
        mixed = len({p.dtype for p in model.parameters() if p.ndim > 1}) > 1
        try:
            ids = torch.tensor(rows, device=model.device)
            with torch.autocast(ids.device.type, torch.bfloat16, enabled=mixed):
                logits = model(input_ids=ids, use_cache=False).logits[:, first - 1 : -1]
        finally:
            model.train(was_training)
        found = logits.float().log_softmax(-1).gather(2, ids[:, first:, None])
        numbers: NDArray[np.float64] = found.flatten().double().cpu().numpy()
        return numbers


@torch.no_grad()
def merged_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yields a model's parameters and saved buffers under the names that it has without adapters.

    A weight with an adapter is added up when it is its turn, so that one copy is held at a time; in
    float32, so that a weight in bfloat16 does not swallow a small adapter before the taker rounds.
    Tied weights come once. The others are the model's own: copy what is to stay.
    """
    adapted: defaultdict[int, list[Any]] = defaultdict(list)
    for layer in reversed(list(model.modules())):
        if hasattr(layer, "lora_A"):  # by attribute: to import peft takes seconds
            name = getattr(layer, "parameter_name", "weight")
            adapted[id(getattr(layer.get_base_layer(), name))].append(layer)  # type: ignore[operator]
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if ".lora_" in name or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        data = tensor.detach()
        for layer in adapted[id(tensor)]:
            for adapter in layer.active_adapters:
                data = data.float() + layer.get_delta_weight(adapter).float()
        yield name.replace(".base_layer", ""), data


def checkpoint_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yields a model's tensors under the names and in the shapes of its checkpoints."""
    return as_in_checkpoints(model, merged_tensors(model))


def as_in_checkpoints(
    model: PreTrainedModel, tensors: Iterable[tuple[str, Tensor]]
) -> Iterator[tuple[str, Tensor]]:
    """Takes apart what ``transformers`` joins when it loads a model (fused experts, for instance).

    A layer at a time: what it joins is of one layer. Other models' tensors pass as they come.

    Args:
        model: Knows what was joined; its own tensors are not read.
        tensors: As ``merged_tensors`` yields them, in its order.
    """
    if getattr(model, "_weight_conversions", None) == []:
        yield from tensors
        return
    for _, layer in groupby(tensors, key=lambda named: _LAYER.match(named[0])[0]):  # type: ignore[index]
        yield from revert_weight_conversion(model, dict(layer)).items()


@torch.no_grad()
def read_into(ours: Mapping[str, Tensor], files: Iterable[Path]) -> None:
    """Copies tensors of files into those of the same names; every one of ours must be there.

    Of a tensor with two names, one is enough. There is no second model in memory.

    Raises:
        OSError, ValueError, SafetensorError: The files do not hold such tensors.
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
