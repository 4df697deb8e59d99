"""From a language model's last hidden states to logits, for those states alone that need them.

Shapes: H hidden size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def body(model: PreTrainedModel) -> PreTrainedModel:
    """Returns a model without its output embedding."""
    base: Any = model.base_model
    if base is model:  # Llama 4 has its body under another name than it says
        base = model.model
    found: PreTrainedModel = base
    return found


@dataclass(frozen=True, slots=True)
class OutputHead:
    """From last hidden states to logits: the output embedding, then a scale, then a cap.

    Attributes:
        embedding: (..., H) to (..., V).
        scale: what logits are multiplied by (Cohere, Granite, Falcon-H1).
        cap: bound of the logits, ``cap * tanh(logits / cap)`` (Gemma); ``None``: none.
    """

    embedding: nn.Module
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, model: PreTrainedModel) -> "OutputHead":
        """Returns a model's head, as its settings have it."""
        settings = model.config.get_text_config()
        scale = 1.0
        for name, power in (("logit_scale", 1), ("lm_head_multiplier", 1), ("logits_scaling", -1)):
            factor = getattr(settings, name, None)
            if isinstance(factor, int | float):
                scale *= float(factor) ** power
        cap = getattr(settings, "final_logit_softcapping", None)
        embedding: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return cls(embedding, scale, cap)

    @property
    def weight(self) -> Tensor:
        """(V, H), of the output embedding."""
        weight = self.embedding.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def bias(self) -> Tensor | None:
        """(V,), of the output embedding."""
        bias = getattr(self.embedding, "bias", None)
        return bias if isinstance(bias, Tensor) else None

    @property
    def shape(self) -> torch.Size:
        """(V, H) of the output embedding."""
        return self.weight.shape

    def logits(self, states: Tensor) -> Tensor:
        """Returns float32 logits of (..., H) states."""
        logits = nn.functional.linear(states, self.weight, self.bias).float()
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


@torch.no_grad()
def check_output_head(model: PreTrainedModel) -> None:
    """Makes sure that a model's logits are what ``OutputHead`` makes of its last hidden states.

    Also of states a thousand times as large as its own, so that a cap shows in untrained models.

    Raises:
        ValueError: They are not.
    """
    head = OutputHead.of(model)
    was_training = model.training
    model.train(False)
    in_bfloat16 = model.dtype is torch.bfloat16  # what adapters stand on: it runs under autocast
    try:
        for gain in (1.0, 1000.0):
            with torch.autocast(model.device.type, torch.bfloat16, enabled=in_bfloat16):
                states, theirs = _enlarged(model, gain)
                agree = _agree(head, states, theirs)
            if not agree:
                raise ValueError(
                    f"{type(model).__name__} makes other logits of its last hidden states than the "
                    "learner does; allowed: models whose logits are the output embedding of these "
                    "states, also scaled (as by Granite) or capped (as by Gemma)"
                )
    finally:
        model.train(was_training)


def _agree(head: OutputHead, states: Tensor | None, theirs: Tensor) -> bool:
    if states is None or (theirs.shape[-1], states.shape[-1]) != head.shape:
        return False
    near = 1e-4 * float(theirs.abs().max())
    return torch.allclose(head.logits(states), theirs, rtol=1e-4, atol=near)


def _enlarged(model: PreTrainedModel, gain: float) -> tuple[Tensor | None, Tensor]:
    """Returns last hidden states times ``gain``, and what logits the model itself makes of them.

    States are ``None`` where they cannot be reached.
    """
    states: list[Tensor] = []

    def enlarge(_module: nn.Module, _words: object, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state * gain
        states.append(output.last_hidden_state)
        return output

    ids = torch.arange(1, 9, device=model.device)[None] % model.config.get_text_config().vocab_size
    inner = body(model)
    parts = [inner, *(part for name, part in inner.named_children() if name == "decoder")]  # OPT
    hooks = [part.register_forward_hook(enlarge) for part in parts]
    try:
        logits: Tensor = model(input_ids=ids, use_cache=False).logits.float()
    finally:
        for hook in hooks:
            hook.remove()
    return states[-1] if states else None, logits
