"""Low-rank adapters through ``peft``, in place, so that a model keeps its class and its names."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.learner.config import LoraSettings

_MARK = ".lora_"


def frozen_twin(model: PreTrainedModel) -> PreTrainedModel:
    """Freezes a model and returns another one on the same tensors, for adapters of its own."""
    model.requires_grad_(False)
    shared: dict[int, Any] = {id(tensor): tensor for tensor in model.parameters()}
    return copy.deepcopy(model, shared)


def add_adapters(model: nn.Module, settings: LoraSettings, seed: int) -> None:
    """Adds an adapter to every linear layer but the output embedding; at first they add 0.

    Weights that are no layer of their own, as the experts of GPT-OSS, get none: ``adapter_line``.
    Neither do layers that do not work with one, see ``_left_alone``.

    Args:
        model: Changed in place; only the adapters are trainable afterwards.
        settings: Their size.
        seed: Of their random halves.

    Raises:
        ValueError: ``peft`` is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ValueError(
            "learner.lora needs the package peft; install it by: pip install peft, or set "
            "learner.lora=null"
        ) from None
    wanted = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides it; any number will do
        target_modules="all-linear",
        exclude_modules=_left_alone(model) or None,
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        # peft sets these patterns itself for fused experts
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys did not match")
        torch.manual_seed(seed)
        inject_adapter_in_model(wanted, model)


def _left_alone(model: nn.Module) -> list[str]:
    """Names of linear layers that an adapter would break.

    Routers of some models (Phi-MoE, Llama 4) are linear layers that return a tuple. Fused kernels
    of Mamba take the weight of a mixer's last layer as it is, in training only; ``peft`` refuses to
    adapt it in the models that it knows.
    """
    routers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and type(module) is not nn.Linear
    ]
    mixers = [name for name, module in model.named_modules() if hasattr(module, "A_log")]
    return [*routers, *(f"{name}.out_proj" for name in mixers)]


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within it, the model is what it was before it got adapters."""
    # By attribute: to import peft takes seconds, and most models have no adapters.
    layers: list[Any] = [layer for layer in model.modules() if hasattr(layer, "lora_A")]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def adapter_state(module: nn.Module) -> dict[str, Tensor]:
    """Returns the adapters' tensors by name."""
    return {name: tensor for name, tensor in module.state_dict().items() if _MARK in name}
