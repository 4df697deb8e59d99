"""Keys and values of a batch of rows, and rows remembered between calls.

R rows, S slots (positions of the cache), H heads, D size of a head.
"""

from bisect import bisect_left
from collections.abc import Sequence, Set
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

from rlef.engines.row_attention import present
from rlef.engines.types import ModelError

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
Pair = tuple[Tensor, Tensor]
"""Keys and values of a layer, each (R, H, S, D)."""


def check_cache(config: PreTrainedConfig) -> None:
    """Makes sure that a model's cache is of kinds that give exact results.

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


def is_keys_and_values(config: PreTrainedConfig) -> bool:
    """Whether all that a model knows of a text are keys and values of each token.

    Recurrent states, for instance, hold a whole text at once. The attention of Llama 4 has a
    temperature that counts the slots of the cache, the same for all rows.
    """
    if getattr(config.get_text_config(decoder=True), "attn_temperature_tuning", None):
        return False
    return all(type(layer) in _KEYS_AND_VALUES for layer in DynamicCache(config=config).layers)


class LayerShape(NamedTuple):
    """Of a layer's keys and values."""

    heads: int
    key_size: int
    value_size: int


@dataclass(frozen=True, slots=True)
class RowShape:
    """What a slot of a row takes.

    Attributes:
        layers: The shapes.
        dtype: Of keys and values.
        device: Where they are.
    """

    layers: tuple[LayerShape, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot of one row, all layers together."""
        numbers = sum(layer.heads * (layer.key_size + layer.value_size) for layer in self.layers)
        return numbers * self.dtype.itemsize

    def cost(self, rows: int, slots: int) -> int:
        """Bytes of a cache, and of one layer more: so much is copied at once when rows move."""
        return rows * slots * self.slot_bytes * (len(self.layers) + 1) // len(self.layers)


class _RowLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Writes new tokens where the present forward says; see ``RowCache``."""

    def __init__(self, pair: Pair | None, first: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first = first
        self.is_initialized = True
        if pair is not None:
            self.keys, self.values = pair

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Takes (rows, H, new, D) states; returns what these tokens look at."""
        forward = present()
        new = key_states.to(forward.dtype), value_states.to(forward.dtype)
        if self.keys is None or self.values is None:  # nothing is kept
            self.keys, self.values = new
            return new
        rows = slice(self.first, self.first + len(key_states))
        stores = self.keys[rows], self.values[rows]
        if not forward.slots:
            for store, states in zip(stores, new, strict=True):
                store[:, :, : states.shape[2]] = states
            return new
        places = forward.positions[:, None, :, None]
        for store, states in zip(stores, new, strict=True):
            store.scatter_(2, places.expand(states.shape), states)
        return stores[0][:, :, : forward.slots], stores[1][:, :, : forward.slots]

    def get_seq_length(self) -> int:
        """Tokens in front of the new ones, at most; models ask whether there are any."""
        forward = present()
        return max(0, forward.slots - forward.positions.shape[1])


class _LayersOnDemand(Cache):
    """Layers of an unknown number, which keep nothing."""

    def __init__(self) -> None:
        super().__init__(layers=[])

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        while len(self.layers) <= layer_idx:
            self.layers.append(_RowLayer(None, 0))
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)


def probing_cache() -> Cache:
    """Returns a cache for one forward, which shows the shapes of keys and values."""
    return _LayersOnDemand()


def shape_of(cache: Cache) -> RowShape:
    """Returns the shapes that a forward left in a ``probing_cache``."""
    layers, keys = [], None
    for layer in cache.layers:
        assert isinstance(layer, _RowLayer)
        keys, values = layer.keys, layer.values
        assert keys is not None and values is not None
        layers.append(LayerShape(keys.shape[1], keys.shape[3], values.shape[3]))
    assert keys is not None
    return RowShape(tuple(layers), keys.dtype, keys.device)


class RowCache:
    """Keys and values of a batch: a row's token of position i stands in slot i.

    What stands beyond a row's end is junk, but finite: no one looks there.
    """

    def __init__(self, shape: RowShape, rows: int, slots: int) -> None:
        self.shape = shape
        self.rows = rows
        self.slots = slots
        self.layers: list[Pair] = []

    @property
    def size(self) -> int:
        """Bytes."""
        return self.rows * self.slots * self.shape.slot_bytes

    def allocate(self, layer: LayerShape) -> Pair:
        """Makes room for the next layer, empty."""
        words: dict[str, Any] = {"dtype": self.shape.dtype, "device": self.shape.device}
        sizes = (layer.key_size, layer.value_size)
        keys, values = (
            torch.zeros((self.rows, layer.heads, self.slots, size), **words) for size in sizes
        )
        self.layers.append((keys, values))
        return keys, values

    def view(self, first: int) -> Cache:
        """Returns the rows from one on, as ``transformers`` takes them."""
        return Cache(layers=[_RowLayer(pair, first) for pair in self.layers])

    def copy_rows(self, sources: Sequence[int], targets: Sequence[int], slots: int) -> None:
        """Makes rows the same as others, as far as so many slots."""
        self._copy(sources, targets, slots)

    def swap_rows(self, some: Sequence[int], others: Sequence[int], slots: int) -> None:
        """Swaps rows, as far as so many slots."""
        self._copy([*some, *others], [*others, *some], slots)

    def _copy(self, sources: Sequence[int], targets: Sequence[int], slots: int) -> None:
        at = [torch.tensor(rows, device=self.shape.device) for rows in (sources, targets)]
        for pair in self.layers:
            for store in pair:
                store[at[1], :, :slots] = store[at[0], :, :slots]

    def trim(self, slots: int) -> None:
        """Gives back what lies beyond so many slots, if that is a fifth or more."""
        if slots > 0.8 * self.slots:
            return
        self.slots = slots
        for place, (keys, values) in enumerate(self.layers):
            self.layers[place] = keys[:, :, :slots].clone(), values[:, :, :slots].clone()


@dataclass(slots=True, eq=False)
class Remembered:
    """Rows whose keys and values are known.

    Attributes:
        token_ids: Per row, the tokens that it holds, from slot 0 on.
        layers: Per layer, their keys and values.
        size: In bytes.
    """

    token_ids: tuple[tuple[int, ...], ...]
    layers: list[Pair]
    size: int


class Hit(NamedTuple):
    """A remembered row with the beginning of a prompt."""

    group: Remembered
    row: int
    length: int
    """Tokens of the prompt that it holds."""


class Memory:
    """Rows remembered between calls, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._groups: list[Remembered] = []

    @property
    def size(self) -> int:
        """Bytes of all rows together."""
        return sum(group.size for group in self._groups)

    def clear(self) -> None:
        """Forgets everything."""
        self._groups.clear()

    def add(self, group: Remembered) -> None:
        """Remembers rows."""
        self._groups.append(group)

    def find(self, prompts: Sequence[tuple[int, ...]]) -> list[Hit | None]:
        """Returns, per prompt, the row with the longest beginning of it, less its last token.

        ``None`` where that is less than half of the prompt: to run it whole is as fast then.
        """
        # among sorted rows, one with the longest common beginning is next to the prompt's place
        rows = sorted(
            ((ids, place, row) for place, group in enumerate(self._groups)
             for row, ids in enumerate(group.token_ids)),
            key=lambda found: found[0],
        )  # fmt: skip
        keys = [ids for ids, _, _ in rows]
        hits: list[Hit | None] = []
        for prompt in prompts:
            at = bisect_left(keys, prompt)
            near = ((_common(keys[i], prompt), i) for i in (at - 1, at) if 0 <= i < len(keys))
            length, i = max(near, default=(0, 0))
            length = min(length, len(prompt) - 1)
            worth = length > 0 and len(prompt) - 1 <= 2 * length
            hits.append(Hit(self._groups[rows[i][1]], rows[i][2], length) if worth else None)
        used = {id(hit.group) for hit in hits if hit is not None}
        self._groups.sort(key=lambda group: id(group) in used)
        return hits

    def make_room(
        self, size: int, limit: int, hits: Sequence[Hit | None], needed: Set[int] = frozenset()
    ) -> set[int]:
        """Forgets rows until so many bytes more are within the limit.

        Args:
            size: Of a cache that is about to be made, which takes over what it can.
            limit: Bytes of all rows together.
            hits: What the cache takes over.
            needed: Ids of groups that are wanted after that.

        Returns:
            Ids of the groups of ``hits`` that are no more remembered: the cache goes on with their
            rows, and each layer of them can go when it has been copied.
        """
        used = {id(hit.group) for hit in hits if hit is not None}
        for group in [group for group in self._groups if id(group) not in used]:
            if self.size + size > limit:
                self._groups.remove(group)
        gone = {
            id(hit.group)
            for hit in hits
            if hit is not None and hit.length == len(hit.group.token_ids[hit.row])
        } - needed
        if self.size + size > limit:
            gone = used
        self._groups = [group for group in self._groups if id(group) not in gone]
        return gone


def _common(some: tuple[int, ...], others: tuple[int, ...]) -> int:
    """Returns how many tokens two texts have in common at their beginning."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(some), len(others)))


def recalled(cache: RowCache, hits: Sequence[Hit | None], gone: set[int]) -> None:
    """Allocates a cache and copies what is remembered of its first rows into it.

    Args:
        cache: Without layers.
        hits: Per row.
        gone: Ids of groups that are nobody else's: each layer is freed when it has been copied.
    """
    groups: dict[int, Remembered] = {}
    members: dict[int, list[tuple[int, int]]] = {}
    widths: dict[int, int] = {}
    for row, hit in enumerate(hits):
        if hit is not None:
            key = id(hit.group)
            groups[key] = hit.group
            members.setdefault(key, []).append((row, hit.row))
            widths[key] = max(widths.get(key, 0), hit.length)
    device = cache.shape.device
    places = {key: torch.tensor(found, device=device).unbind(1) for key, found in members.items()}
    for number, layer in enumerate(cache.shape.layers):
        pair = cache.allocate(layer)
        for key, group in groups.items():
            targets, sources = places[key]
            for store, known in zip(pair, group.layers[number], strict=True):
                store[targets, :, : widths[key]] = known[sources, :, : widths[key]]
            if key in gone:
                empty = pair[0].new_empty(0)
                group.layers[number] = empty, empty
