"""In which number format passes run, and what it asks of a model."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

Precision = Literal["float32", "bfloat16"]
_FLOAT32_ATTENTION = "rlef_float32_sdpa"


def resolve_precision(
    precision: Literal["float32", "bfloat16", "auto"], device: torch.device
) -> Precision:
    """Returns what ``learner.precision`` comes to on a device."""
    if precision == "auto":
        return "bfloat16" if _multiplies_fast_in_bfloat16(device) else "float32"
    return precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """In which forward passes run."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _multiplies_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in float32."""
    if device.type == "cpu":
        capabilities: Callable[[], dict[str, object]]
        capabilities = getattr(torch.cpu, "get_capabilities", dict)  # not in all versions
        able = capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def use_float32_attention(model: PreTrainedModel, device: torch.device) -> None:
    """Keeps attention in float32 under autocast, where torch's own is slower in bfloat16: on CPUs.

    Its backward pass takes twice as long there as in float32 (torch 2.13), while matrix products
    are two to three times as fast. Models with another attention than ``sdpa`` are left alone.
    """
    if device.type == "cpu" and model.config._attn_implementation == "sdpa":
        register_float32_attention()
        model.set_attn_implementation(_FLOAT32_ATTENTION)


def register_float32_attention() -> None:
    """Makes it known to ``transformers``."""
    AttentionInterface.register(_FLOAT32_ATTENTION, float32_attention)
    AttentionMaskInterface.register(_FLOAT32_ATTENTION, sdpa_mask)


def float32_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """That of ``transformers`` for ``sdpa``, in float32 also under autocast."""
    with torch.autocast(query.device.type, enabled=False):
        return sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), *args, **kwargs
        )


def checkpoint_activations(model: nn.Module) -> None:
    """Switches gradient checkpointing on, which transformers from 5.23 on calls otherwise.

    Not the reentrant kind: that gives no gradient to adapters on frozen embeddings.
    """
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    words = {f"{kind}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(model, f"{kind}_checkpointing_enable")(**words)
    model.train()
    _switch_off_dropout(model)


def _switch_off_dropout(model: nn.Module) -> None:
    """Checkpointing needs training mode, in which two passes must still give the same."""
    for module in model.modules():
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
