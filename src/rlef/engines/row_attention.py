"""Attention over rows that begin at slot 0 of the cache and end where they end.

No padding stands in front of a row, so a slot is a position: windows and chunks hold as they are.
Prompts that are run from their beginning need no mask. Queries of heads that share keys and values
are run as further queries of one head, so that nothing is repeated.

``transformers`` asks for masks and attention by name (``NAME``); what both need to know of the
present forward is in ``serving``, per thread.

B rows, Q new tokens of each, S slots looked at, H heads, D size of a head.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

NAME = "rlef_rows"
_UNKNOWN = ("position_bias", "softcap", "s_aux")
"""What models ask of ``eager`` attention only."""


class NotServed(Exception):
    """A model has attention of another kind than this module has."""


class Forward:
    """What attention needs to know of one forward.

    Args:
        positions: (B, Q) int64, the slots of the new tokens.
        slots: S; 0: the new tokens are the first of their rows, and nothing else is looked at.
        dtype: Of keys and values.
        eager: Whether the family's own ``eager`` attention is called, as the model is configured.
    """

    def __init__(self, positions: Tensor, slots: int, dtype: torch.dtype, *, eager: bool) -> None:
        self.positions = positions
        self.slots = slots
        self.dtype = dtype
        self.eager = eager
        self.masks: list[Tensor | None] = []
        self.calls = 0

    def mask(self, sees: Callable[..., Tensor]) -> Tensor:
        """Returns a (B or 1, 1, Q, S) mask to be added to scores.

        Args:
            sees: (row, head, position of query, position of key) -> whether it looks there.
        """
        device, width = self.positions.device, self.positions.shape[1]
        if self.slots:
            rows = torch.arange(len(self.positions), device=device)[:, None, None, None]
            queries = self.positions[:, None, :, None]
        else:
            rows = torch.zeros((1, 1, 1, 1), dtype=torch.int64, device=device)
            queries = torch.arange(width, device=device)[None, None, :, None]
        keys = torch.arange(self.slots or width, device=device)[None, None, None, :]
        seen = sees(rows, torch.zeros_like(rows), queries, keys) & (keys <= queries)
        return torch.zeros(seen.shape, dtype=self.dtype, device=device).masked_fill_(
            ~seen, -torch.inf
        )


_present = threading.local()


@contextmanager
def serving(model: PreTrainedModel) -> Iterator[None]:
    """Within it a model's attention is that of this module."""
    config = model.config
    before = config._attn_implementation
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def forwarding(forward: Forward) -> Iterator[None]:
    """Within it one forward runs."""
    _present.forward = forward
    try:
        yield
    finally:
        _present.forward = None


def present() -> Forward:
    """Returns the forward that runs in this thread."""
    found: Forward | None = getattr(_present, "forward", None)
    if found is None:
        raise NotServed("attention outside of the engine")
    return found


def kind_of_attention(config: PreTrainedConfig) -> str | None:
    """Returns ``"sdpa"`` or ``"eager"`` if a model is configured to it alone, else ``None``.

    The learner's kinds, ``rlef_..._sdpa`` and ``rlef_..._eager``, are of the same numbers.
    """
    parts = [config, *(getattr(config, name, None) for name in config.sub_configs)]
    names = {str(part._attn_implementation) for part in parts if part is not None}
    kinds = {name.rpartition("_")[2] if name.startswith("rlef_") else name for name in names}
    return kinds.pop() if kinds in ({"sdpa"}, {"eager"}) else None


def _mask(
    *,
    mask_function: Callable[..., Tensor],
    q_length: int,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    local_size: int | None = None,
    use_vmap: bool = False,
    **_: Any,
) -> Tensor | None:
    """What ``transformers`` calls where a model wants a mask; ``None``: causal, nothing else."""
    forward = present()
    if attention_mask is not None or use_vmap:
        raise NotServed("a mask of its own")
    plain = allow_is_causal_skip and not forward.eager and not forward.slots
    skip = plain and (local_size is None or q_length <= local_size)
    found = None if skip else forward.mask(mask_function)
    forward.masks.append(found)
    return found


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **words: Any,
) -> tuple[Tensor, Tensor | None]:
    """What ``transformers`` calls instead of ``sdpa``; returns (B, Q, H, D)."""
    forward = present()
    if not any(attention_mask is mask for mask in forward.masks):
        raise NotServed("a mask of its own")
    forward.calls += 1
    if forward.eager:
        family: Any = sys.modules[type(module).__module__]
        return family.eager_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout=0.0, scaling=scaling, **words
        )
    if any(words.get(word) is not None for word in _UNKNOWN):
        raise NotServed("scores that are changed")
    with torch.autocast(query.device.type, enabled=False):
        query = query.to(forward.dtype)
        if attention_mask is None:
            causal = words.get("is_causal")
            return sdpa_attention_forward(
                module, query, key, value, None, scaling=scaling, is_causal=causal
            )
        return _masked(query, key, value, attention_mask, scaling), None


def _masked(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None
) -> Tensor:
    rows, heads, width, size = query.shape
    shared = heads // key.shape[1]
    if width <= size:  # the mask of each query again is less than the keys again
        query = query.reshape(rows, key.shape[1], shared * width, size)
        if width > 1:
            mask = mask.repeat(1, 1, shared, 1)
    else:
        key, value = repeat_kv(key, shared), repeat_kv(value, shared)
    found = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling
    )
    found = found.reshape(rows, heads, width, value.shape[-1])
    return found.transpose(1, 2).contiguous()
