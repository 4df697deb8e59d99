"""Weights that are never trained: the reference, and what adapters stand on.

In bfloat16 they take half the memory. Under autocast the products are the same to the bit, as it
rounds the weights of each product anyway. So a policy that has not moved is only as far from its
reference as embeddings are from bfloat16, and those of most models are published in it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.learner.config import LearnerConfig
from rlef.learner.precision import resolve_precision


def frozen_dtype(config: LearnerConfig, device: torch.device) -> torch.dtype:
    """Returns what ``learner.frozen_dtype`` comes to on a device.

    Raises:
        ValueError: It is bfloat16 where products are in float32.
    """
    in_bfloat16 = resolve_precision(config.precision, device) == "bfloat16"
    if config.frozen_dtype == "bfloat16" and not in_bfloat16:
        raise ValueError(
            f"learner.frozen_dtype is bfloat16, but learner.precision {config.precision} comes to "
            f"float32 on {device.type}; allowed: frozen_dtype auto or float32, or another precision"
        )
    wanted = config.frozen_dtype
    if wanted == "auto":
        wanted = "bfloat16" if in_bfloat16 and device.type != "cpu" else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def loading_dtype(config: LearnerConfig, device: torch.device) -> torch.dtype:
    """Returns the dtype in which a policy's first weights are best loaded."""
    return torch.float32 if config.lora is None else frozen_dtype(config, device)


def freeze(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Freezes a model in place, its matrices in ``dtype`` and the rest in float32."""
    dtypes = _dtypes(model, dtype)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(dtypes[id(parameter)])
    _add_up_in_float32(model, dtype)


def frozen_copy(
    model: PreTrainedModel, dtype: torch.dtype, *, shares: bool = False
) -> PreTrainedModel:
    """Returns a copy as ``freeze`` has it, without a second one in float32 on the way.

    Args:
        model: Of what.
        dtype: As for ``freeze``.
        shares: Weights that are in their dtype already are the model's own.
    """
    dtypes, copies = _dtypes(model, dtype), dict[int, Any]()
    for parameter in model.parameters():
        data = parameter.detach().to(dtypes[id(parameter)], copy=not shares)
        copies[id(parameter)] = nn.Parameter(data, requires_grad=False)
    copied = copy.deepcopy(model, copies)
    _add_up_in_float32(copied, dtype)
    return copied


def frozen_twin(model: PreTrainedModel) -> PreTrainedModel:
    """Freezes a model and returns another one on the same tensors, for adapters of its own."""
    model.requires_grad_(False)
    shared: dict[int, Any] = {id(tensor): tensor for tensor in model.parameters()}
    return copy.deepcopy(model, shared)


def _dtypes(model: PreTrainedModel, dtype: torch.dtype) -> dict[int, torch.dtype]:
    """By id of a parameter, in what it is to be frozen.

    Norms and biases are small, and no product rounds them. Embeddings of a kind of their own
    multiply what they return by a number that they round as they are (Gemma 3).
    """
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    kept = {id(one.weight) for one in embeddings if type(one) is not nn.Embedding}
    return {
        id(p): torch.float32 if p.ndim < 2 or id(p) in kept else dtype for p in model.parameters()
    }


def _add_up_in_float32(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Lets embeddings return float32: what they return decides in what the layers add up."""
    if dtype is torch.float32:
        return
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(_to_float32)


def _to_float32(_module: nn.Module, _words: object, states: Tensor) -> Tensor:
    return states.float()
