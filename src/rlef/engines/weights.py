"""A policy's tensors one by one, as an engine takes them over."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion


@torch.no_grad()
def merged_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yields a model's parameters and saved buffers under the names that it has without adapters.

    A weight with an adapter is added up when it is its turn, so that one copy is held at a time.
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
                data = data + layer.get_delta_weight(adapter).to(data.dtype)
        yield name.replace(".base_layer", ""), data


def checkpoint_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yields a model's tensors under the names and in the shapes of its checkpoints.

    They are those of ``merged_tensors``, except for models whose weights ``transformers`` joins
    when it loads them (fused experts, for instance): those are taken apart again, all at once.
    """
    if getattr(model, "_weight_conversions", None) == []:
        yield from merged_tensors(model)
    else:
        yield from revert_weight_conversion(model, dict(merged_tensors(model))).items()
