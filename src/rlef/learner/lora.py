"""Low-rank adapters through ``peft``, in place, so that a model keeps its class and its names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from rlef.engines.adapters import inject_adapters
from rlef.extras import how_to_install
from rlef.learner.config import LoraSettings


def add_adapters(model: nn.Module, settings: LoraSettings, seed: int) -> None:
    """Adds an adapter to every linear layer but the output embedding; at first they add 0.

    Weights that are no layer of their own, as the experts of GPT-OSS, get none: ``adapter_line``.
    Neither do layers that do not work with one, see ``_left_alone``.

    Args:
        model: Changed in place; only the adapters, float32, are trainable afterwards.
        settings: Their size.
        seed: Of their random halves.

    Raises:
        ValueError: ``peft`` is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError:
        raise ValueError(
            f"learner.lora needs the package peft; install with: {how_to_install('lora')}, or set "
            "learner.lora=null"
        ) from None
    wanted = LoraConfig(
        r=settings.rank,
        lora_alpha=_plain_number(settings.alpha),  # type: ignore[arg-type]  # peft only divides it
        target_modules="all-linear",
        exclude_modules=_left_alone(model) or None,
    )
    inject_adapters(model, wanted, seed)


def _plain_number(value: float) -> float:
    """As other readers of the adapters' settings expect it: whole where it is."""
    return int(value) if value.is_integer() else value


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
