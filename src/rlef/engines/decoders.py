"""Two ways to run a model over the rows of a batch, token by token.

``RowDecoder``: rows of any length, in tensors of its own. ``EqualDecoder``: rows of equal length
with the cache of ``transformers``, for all other models.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from rlef.engines.half import computing
from rlef.engines.kv_cache import (
    Hit,
    RowCache,
    RowShape,
    is_keys_and_values,
    probing_cache,
    recalled,
    shape_of,
)
from rlef.engines.row_attention import Forward, NotServed, forwarding, kind_of_attention, serving
from rlef.engines.types import ModelError

Run = Callable[[Tensor, Tensor, Any], Tensor]
"""A model's forward: see ``model_run``."""
_CACHES = ("past_key_values", "cache_params", "cache")
"""What a forward calls its cache: before ``transformers`` 5.24 one of the first two."""


def model_run(model: PreTrainedModel, dtype: torch.dtype) -> Run:
    """Returns (ids, positions, cache) -> (B, V) logits after the last of the (B, Q) ids.

    Models with ALiBi, for instance, take no positions.

    Raises:
        ModelError: It takes no cache.
    """
    outer = inspect.signature(model.forward).parameters
    inner = inspect.signature(model.base_model.forward).parameters
    caches = [word for word in _CACHES if word in outer]
    if not caches:
        raise ModelError(
            f"{type(model).__name__} keeps its state in no cache of transformers; allowed: models "
            f"whose forward takes {', '.join(_CACHES[:-1])} or {_CACHES[-1]}"
        )
    fixed: dict[str, Any] = {"use_cache": True}
    if "logits_to_keep" in outer:
        fixed["logits_to_keep"] = 1
    passed_on = any(word.kind is word.VAR_KEYWORD for word in outer.values())
    takes_positions = "position_ids" in outer or (passed_on and "position_ids" in inner)

    def run(ids: Tensor, positions: Tensor, cache: Any) -> Tensor:
        words = {caches[0]: cache} | ({"position_ids": positions} if takes_positions else {})
        with computing(ids.device, dtype):
            logits: Tensor = model(input_ids=ids, **words, **fixed).logits[:, -1]
        return logits

    return run


def row_shape(model: PreTrainedModel, run: Run, dtype: torch.dtype) -> RowShape | None:
    """Returns what a row takes, found by a short forward; ``None``: no ``RowDecoder`` for it.

    All that a model knows of a text must be keys and values, and its attention and masks those
    that ``transformers`` looks up by name, of the kinds ``sdpa`` and ``eager``.
    """
    if not is_keys_and_values(model.config):
        return None
    kind = kind_of_attention(model.config)
    if kind is None:
        return None
    cache = probing_cache()
    positions = torch.arange(2, device=model.device).expand(2, -1)
    forward = Forward(positions, 0, dtype, eager=kind == "eager")
    try:
        with serving(model), forwarding(forward):
            run(torch.ones_like(positions), positions, cache)
    except NotServed:
        return None
    layers = model.config.get_text_config(decoder=True).num_hidden_layers
    if not 0 < len(cache.layers) <= forward.calls == layers:
        return None
    return shape_of(cache)


class RowDecoder:
    """Rows of any length: the token of position p of row i is in slot p of row i.

    Args:
        run: See ``model_run``; called within ``serving``.
        cache: Without layers as yet.
        eager: See ``Forward``.
    """

    def __init__(self, run: Run, cache: RowCache, *, eager: bool) -> None:
        self._run = run
        self._eager = eager
        self.cache = cache
        self._whole: Cache | None = None

    def start(
        self,
        prompts: Sequence[tuple[int, ...]],
        hits: Sequence[Hit | None],
        gone: set[int],
        most: int,
    ) -> list[int]:
        """Feeds all but the last token of each prompt, as far as it is not remembered.

        Equal prompts are run once, and prompts with as many new tokens side by side.

        Args:
            prompts: Token ids.
            hits: What is remembered of them.
            gone: See ``recalled``.
            most: Tokens that run at once.

        Returns:
            Which prompt each row is.
        """
        known = [0 if hit is None else hit.length for hit in hits]
        first = {prompt: place for place, prompt in reversed(list(enumerate(prompts)))}
        distinct = sorted(
            first.values(), key=lambda place: (known[place] > 0, len(prompts[place]) - known[place])
        )
        copies = [place for place, prompt in enumerate(prompts) if first[prompt] != place]
        recalled(self.cache, [hits[place] for place in distinct], gone)
        for row, chunk in _chunks(prompts, known, distinct, most):
            texts = [prompts[place][:-1] for place in chunk]
            self._prefill(texts, row, [known[place] for place in chunk], most)
        if copies:
            rows = {place: row for row, place in enumerate(distinct)}
            sources = [rows[first[prompts[place]]] for place in copies]
            targets = range(len(distinct), len(prompts))
            longest = max(len(prompts[place]) for place in copies)
            self.cache.copy_rows(sources, targets, longest)
        return [*distinct, *copies]

    def _prefill(
        self, texts: Sequence[tuple[int, ...]], first: int, known: Sequence[int], most: int
    ) -> None:
        """Feeds texts to the rows from one on, from what is known of them on.

        Padding behind a text goes where its next tokens will be.
        """
        cache, device = self.cache.view(first), self.cache.shape.device
        width = max(len(text) - length for text, length in zip(texts, known, strict=True))
        for start in range(0, width, most):
            size = min(most, width - start)
            begins = [length + start for length in known]
            pieces = [text[at : at + size] for text, at in zip(texts, begins, strict=True)]
            ids = [[*piece, *[0] * (size - len(piece))] for piece in pieces]
            slots = min(max(begins) + size, self.cache.slots) if any(begins) else 0
            places = (
                torch.arange(size, device=device) + torch.tensor(begins, device=device)[:, None]
            )
            places = places.clamp(max=self.cache.slots - 1)
            self._forward(torch.tensor(ids, device=device), places, slots, cache)

    def feed(self, tokens: Tensor, positions: Tensor, slots: int) -> Tensor:
        """See ``Decoder``."""
        slots = min(slots, self.cache.slots)
        self._whole = self._whole or self.cache.view(0)
        return self._forward(tokens[:, None], positions[:, None], slots, self._whole)

    def _forward(self, ids: Tensor, positions: Tensor, slots: int, cache: Any) -> Tensor:
        forward = Forward(positions, slots, self.cache.shape.dtype, eager=self._eager)
        with forwarding(forward):
            return self._run(ids, positions, cache)

    def swap(self, some: Sequence[int], others: Sequence[int], rows: int, slots: int) -> None:
        """See ``Decoder``."""
        if some:
            self.cache.swap_rows(some, others, min(slots, self.cache.slots))


def _chunks(
    prompts: Sequence[tuple[int, ...]], known: Sequence[int], order: Sequence[int], most: int
) -> Iterator[tuple[int, list[int]]]:
    """Yields neighbours that run together, with the row of the first: (row, places)."""
    first, chunk = 0, list[int]()
    for row, place in enumerate(order):
        new = len(prompts[place]) - 1 - known[place]
        other_kind = bool(chunk) and (known[place] > 0) != (known[chunk[0]] > 0)
        if chunk and (other_kind or not new or new * (len(chunk) + 1) > most):
            yield first, chunk
            chunk = []
        if new:
            first = first if chunk else row
            chunk.append(place)
    if chunk:
        yield first, chunk


class EqualDecoder:
    """Rows of equal length, with the cache of ``transformers`` and no mask.

    For models that know more of a text than keys and values, or have attention of their own.
    """

    def __init__(self, model: PreTrainedModel, run: Run) -> None:
        self._run = run
        self._cache = DynamicCache(config=model.config)
        self._device = model.device

    def start(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Feeds all but the last token of each prompt; all are equally long."""
        ids = torch.tensor(prompts, device=self._device)[:, :-1]
        if ids.shape[1]:
            positions = torch.arange(ids.shape[1], device=self._device).expand(len(ids), -1)
            self._run(ids, positions, self._cache)

    def feed(self, tokens: Tensor, positions: Tensor, slots: int) -> Tensor:
        """See ``Decoder``."""
        return self._run(tokens[:, None], positions[:, None], self._cache)

    def swap(self, some: Sequence[int], others: Sequence[int], rows: int, slots: int) -> None:
        """See ``Decoder``; the others are dropped."""
        kept = list(range(rows))
        for free, moved in zip(some, others, strict=True):
            kept[free] = moved
        order = torch.tensor(kept, device=self._device)
        for layer in self._cache.layers:
            layer.reorder_cache(order)  # type: ignore[arg-type]  # any int64 tensor will do
