"""Keys and values: a cache that grows without copying, and rows remembered between calls.

B rows, S slots (positions of the cache), H heads, D size of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedConfig, cache_utils
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicIndexedLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

from rlef.engines.types import ModelError

_HEADROOM = 64
_KEYS_AND_VALUES: tuple[type, ...] = (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    getattr(cache_utils, "DummyLayer", DynamicLayer),  # vLLM 0.32 wants transformers before 5.20
)
_WHOLE_TEXT = (
    DynamicIndexedLayer,
    LinearAttentionLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """``DynamicLayer`` that writes into spare room; the original copies everything per token."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stores: tuple[Tensor, Tensor] | None = None
        if keys is not None and values is not None:
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Appends (B, H, new, D) states; returns all (B, H, S, D) keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._stores is None or end > self._stores[0].shape[-2]:
            room = end + max(_HEADROOM, end // 2)
            new = (key_states, value_states)
            stores = [x.new_empty((*x.shape[:2], room, x.shape[3])) for x in new]
            if self.keys is not None and self.values is not None and start:
                stores[0][:, :, :start] = self.keys
                stores[1][:, :, :start] = self.values
            self._stores = (stores[0], stores[1])
        self._stores[0][:, :, start:end] = key_states
        self._stores[1][:, :, start:end] = value_states
        self.keys, self.values = (store[:, :, :end] for store in self._stores)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps some rows."""
        super().batch_select_indices(indices)
        self._stores = None


def check_cache(config: PreTrainedConfig) -> None:
    """Makes sure that a model's cache is of kinds that give exact results, with padding or without.

    Raises:
        ModelError: It is not; compressed attention of ``transformers`` 5.23, for instance, gives
            other numbers token by token than for a whole text.
    """
    for layer in DynamicCache(config=config).layers:
        if type(layer) not in (*_KEYS_AND_VALUES, *_WHOLE_TEXT):
            raise ModelError(
                f"{config.model_type} has a cache of {type(layer).__name__}, which is not "
                "supported; allowed: attention to all or some tokens, linear attention, recurrence"
            )


def can_pad(config: PreTrainedConfig) -> bool:
    """Whether rows of a model may be padded in front, and gone on from where they ended.

    They may where all that it knows of a text are keys and values of each token. Recurrent states,
    for instance, hold a whole text at once, and padding would go into them. The attention of
    Llama 4 has a temperature that counts padding among the tokens before.
    """
    if getattr(config.get_text_config(decoder=True), "attn_temperature_tuning", None):
        return False
    return all(type(layer) in _KEYS_AND_VALUES for layer in DynamicCache(config=config).layers)


def new_cache(config: PreTrainedConfig) -> Cache:
    """An empty cache: of ``GrowingLayer`` where rows can be padded, else the model's own."""
    if can_pad(config):
        return Cache(layer_class_to_replicate=GrowingLayer)
    return DynamicCache(config=config)


def keep_rows(cache: Cache, rows: Tensor) -> None:
    """Drops all other rows, or repeats some: row i is then what row ``rows[i]`` was."""
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.batch_select_indices(rows)
        else:  # the only way that layers of all kinds have
            layer.reorder_cache(rows)  # type: ignore[arg-type]  # any int64 tensor will do


@dataclass(frozen=True, slots=True, eq=False)
class CachedRows:
    """Rows whose keys and values are known.

    Attributes:
        token_ids: per row, the tokens the row holds, from the first on.
        filled: (B, S) bool; True: the slot holds a token of the row; in their order.
        layers: per layer, keys and values, (B, H, S, D).
    """

    token_ids: tuple[tuple[int, ...], ...]
    filled: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def slots(self) -> int:
        """How much room the rows take: rows times slots."""
        return self.filled.numel()


def take_rows(cache: Cache, rows: Tensor | None) -> tuple[tuple[Tensor, Tensor], ...]:
    """Returns keys and values of some rows, per layer; ``None``: of all, without a copy."""
    pairs = []
    for layer in cache.layers:
        assert isinstance(layer, GrowingLayer)  # models of other layers are not remembered
        assert layer.keys is not None and layer.values is not None
        pairs.append((layer.keys, layer.values))
    return tuple(pairs if rows is None else ((keys[rows], values[rows]) for keys, values in pairs))


class Hit(NamedTuple):
    """A remembered row with which a prompt begins."""

    rows: CachedRows
    row: int

    @property
    def length(self) -> int:
        """Tokens that it holds."""
        return len(self.rows.token_ids[self.row])


class Memory:
    """Rows remembered between calls, the least recently used forgotten first.

    Args:
        max_slots: Room for all rows together; 0 remembers nothing.
    """

    def __init__(self, max_slots: int) -> None:
        self.max_slots = max_slots
        self._groups: list[CachedRows] = []

    def clear(self) -> None:
        """Forgets everything."""
        self._groups.clear()

    def add(self, rows: CachedRows) -> None:
        """Remembers rows."""
        self._groups.append(rows)
        while sum(group.slots for group in self._groups) > self.max_slots:
            self._groups.pop(0)

    def find(self, prompts: Sequence[tuple[int, ...]]) -> list[Hit | None]:
        """Returns, per prompt, the longest remembered row that is a proper prefix of it."""
        known = {
            token_ids: Hit(group, row)
            for group in self._groups
            for row, token_ids in enumerate(group.token_ids)
        }
        lengths = sorted({len(token_ids) for token_ids in known}, reverse=True)
        hits: list[Hit | None] = []
        for prompt in prompts:
            starts = (prompt[:length] for length in lengths if length < len(prompt))
            hits.append(next((known[start] for start in starts if start in known), None))
        used = {id(hit.rows) for hit in hits if hit is not None}
        self._groups.sort(key=lambda group: id(group) in used)
        return hits


def join_rows(hits: Sequence[Hit | None], lengths: Sequence[int]) -> tuple[Cache, Tensor]:
    """Builds one cache of the beginnings of remembered rows, right-aligned.

    Args:
        hits: As from ``Memory.find``.
        lengths: Tokens to take of each, at most as many as it holds; 0: the row stays empty. At
            least one is above 0.

    Returns:
        The cache, and (B, S) bool: True where a slot holds a token of its row.
    """
    width = max(lengths)
    members: dict[int, list[tuple[int, int, int]]] = {}
    """By group: place in the new cache, row of the group, tokens to take."""
    groups: dict[int, CachedRows] = {}
    for place, (hit, length) in enumerate(zip(hits, lengths, strict=True)):
        if hit is not None and length:
            groups[id(hit.rows)] = hit.rows
            members.setdefault(id(hit.rows), []).append((place, hit.row, length))
    model_layers = next(iter(groups.values())).layers
    layers = [
        [pair[kind].new_zeros((len(hits), pair[kind].shape[1], width, pair[kind].shape[3]))
         for kind in (0, 1)]
        for pair in model_layers
    ]  # fmt: skip
    filled = torch.zeros((len(hits), width), dtype=torch.bool, device=layers[0][0].device)
    for key, group in groups.items():
        places, rows, counts = torch.tensor(members[key], device=filled.device).unbind(1)
        mask = group.filled[rows]
        mask = mask & (mask.cumsum(1) <= counts[:, None])
        # a stable sort moves the empty slots to the front and keeps the order of the others
        slots = mask.int().argsort(dim=1, stable=True)[:, -width:]
        span = slots.shape[1]
        filled[places, width - span :] = mask.gather(1, slots)
        for layer, pair in zip(layers, group.layers, strict=True):
            for target, source in zip(layer, pair, strict=True):
                # (rows, 1) and (rows, span) indices around a slice: (rows, span, H, D)
                chosen = source[rows[:, None], :, slots]
                target[places, :, width - span :] = chosen.transpose(1, 2)
    return Cache(layers=[GrowingLayer(keys, values) for keys, values in layers]), filled
