"""A model that computes in 16 bits as a learner under autocast does.

A learner in bfloat16 has float32 weights, and runs under autocast: products of matrices are in
bfloat16; embeddings, norms, the sum that goes from layer to layer, and logits stay in float32. A
sampler with all of its weights and sums in bfloat16 is farther from it: see docs/engines.md.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


@torch.no_grad()
def halve(
    model: PreTrainedModel, dtype: torch.dtype, *, on_gpu: bool | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Rounds the weights that autocast rounds in each pass, and makes all others float32.

    Linear layers take 2 bytes per parameter then, embeddings 4. The output embedding takes 2 on a
    GPU, where products of 16 bits add up in float32, a tied one beside the embedding's; on a CPU it
    takes 4.

    Args:
        model: Changed in place; not one that is trained.
        dtype: bfloat16 or float16.
        on_gpu: Whether it is to run on one; ``None``: as the model's device says.

    Returns:
        Tensors that were tied, as (the copy in 16 bits, the one in float32).
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head = head if isinstance(head, nn.Linear) else None
    wide = set() if head is None else {id(parameter) for parameter in head.parameters()}
    for module in model.modules():
        linear = isinstance(module, nn.Linear | Conv1D) or "Experts" in type(module).__name__
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                rounded = linear and id(parameter) not in wide
                parameter.data = parameter.data.to(dtype if rounded else torch.float32)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.float()
    if head is None:
        return []
    embedding: Any = model.get_input_embeddings()
    weight = head.weight
    rounds = weight.is_cuda if on_gpu is None else on_gpu
    if rounds:
        head.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    head.forward = partial(_float32_logits, head)  # type: ignore[method-assign]
    return [(head.weight, weight)] if rounds and embedding.weight is weight else []


def computing(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """In which a model's forward runs."""
    if dtype == torch.float32:
        return nullcontext()
    # without the cache of casts, which would outlive a recorded step
    return torch.autocast(device.type, dtype, cache_enabled=False)


def attention_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Returns that of keys and values: on CPUs, where attention is slower in 16 bits, float32."""
    return torch.float32 if device.type == "cpu" else dtype


def _float32_logits(head: nn.Linear, states: Tensor) -> Tensor:
    """(..., H) to (..., V), added up in float32."""
    weight = head.weight
    with torch.autocast(states.device.type, enabled=False):
        rows = states.reshape(-1, states.shape[-1]).to(weight.dtype)
        if weight.dtype == torch.float32:
            logits = rows @ weight.t()
        else:
            logits = torch.mm(rows, weight.t(), out_dtype=torch.float32)
        if head.bias is not None:
            logits = logits + head.bias
    return logits.view(*states.shape[:-1], -1)
