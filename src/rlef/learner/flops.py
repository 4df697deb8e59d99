"""Floating-point operations of passes over packed sequences, and how many a device can do.

A multiplication and an addition are two operations. Counted is what the formulas need, not what is
computed anew to save memory (of logits, or under gradient checkpointing): model FLOPs.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.learner.head import OutputHead, body


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations of one forward pass, and of a backward pass beside it."""

    forward: float
    backward: float

    @property
    def both(self) -> float:
        """Of a pass with gradient."""
        return self.forward + self.backward


def pass_cost(model: PreTrainedModel, lengths: Sequence[int], logits: int) -> Cost:
    """Counts a pass over sequences: products with weights, attention, and the output embedding.

    Forward: 2 for each token and weight of a matrix; of experts those of the ones a token is sent
    to. Attention of a sequence of l tokens: 2 l² · heads · head size in each layer, half of what
    all pairs would be, as tokens look back only; windows count as if there were none. Backward: the
    same again for what flows on, and once more for weights that are trained. So 6 N T and attention
    where all weights are.

    Args:
        model: With its head, or, for no logits, without.
        lengths: Tokens of each sequence.
        logits: States that logits are made of.
    """
    settings = model.config.get_text_config()
    trunk, tokens = body(model) if logits else model, sum(lengths)
    tables = (model.get_input_embeddings(), *filter(_is_table, trunk.modules()))
    looked_up = {id(weight) for table in tables for weight in table.parameters()}
    weights = [w for w in trunk.parameters() if w.ndim > 1 and id(w) not in looked_up]
    share = _share_of_experts(settings)
    used = sum(_used(w, share) for w in weights) * tokens
    trained = sum(_used(w, share) for w in weights if w.requires_grad) * tokens
    if logits:
        head = OutputHead.of(model).weight
        used += head.numel() * logits
        trained += head.numel() * logits * head.requires_grad
    heads = int(settings.num_attention_heads)
    size = int(getattr(settings, "head_dim", None) or settings.hidden_size // heads)
    pairs = sum(length**2 for length in lengths)
    attention = 2.0 * pairs * heads * size * int(settings.num_hidden_layers)
    return Cost(2.0 * used + attention, 2.0 * used + 2.0 * trained + 2.0 * attention)


def _is_table(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding)


def _share_of_experts(settings: object) -> float:
    chosen = getattr(settings, "num_experts_per_tok", None)
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    count = next((n for name in names if (n := getattr(settings, name, None))), None)
    return chosen / count if chosen and count else 1.0


def _used(weight: Tensor, share_of_experts: float) -> float:
    """Numbers of a weight that one token is multiplied with; experts stand in three dimensions."""
    return weight.numel() * (share_of_experts if weight.ndim == 3 else 1.0)


def peak_flops(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Measures operations per second in a product of two large matrices, the best of some."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, started = 0.0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        found = a @ b
        float(found[0, 0])  # waits for the device
        best = max(best, 2 * size**3 / (time.perf_counter() - begun))
    return best
