"""A model that computes in 16 bits as a learner under autocast does.

A learner in bfloat16 has float32 weights, and runs under autocast: products of matrices are in
bfloat16; embeddings, norms, the sum that goes from layer to layer, and logits stay in float32. A
sampler with all of its weights and sums in bfloat16 is two to six times as far from it as this one.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


@torch.no_grad()
def halve(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Rounds the weights that autocast rounds in each pass, and makes all others float32.

    So linear layers take 2 bytes per parameter, embeddings and the output embedding 4.

    Args:
        model: Changed in place; not one that is trained.
        dtype: bfloat16 or float16.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    tied = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    for module in model.modules():
        linear = isinstance(module, nn.Linear | Conv1D) or "Experts" in type(module).__name__
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                rounded = linear and id(parameter) not in tied
                parameter.data = parameter.data.to(dtype if rounded else torch.float32)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.float()
    if isinstance(head, nn.Linear):
        head.forward = partial(_float32_linear, head)


def computing(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """In which a model's forward runs."""
    if dtype == torch.float32:
        return nullcontext()
    # without the cache of casts, which would outlive a recorded step
    return torch.autocast(device.type, dtype, cache_enabled=False)


def _float32_linear(head: nn.Linear, states: Tensor) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return nn.functional.linear(states.float(), head.weight, head.bias)
