"""The engine on ``transformers`` models: batched sampling with a decode loop of our own.

Episodes reach it in fixed groups: ``batcher.py``.

B rows, S slots of the cache, V vocabulary.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from rlef.engines.batcher import Batcher
from rlef.engines.busy import BusyClock
from rlef.engines.context import context_limit
from rlef.engines.decode import DecodedBatch
from rlef.engines.kv_cache import (
    CachedRows,
    Memory,
    can_pad,
    check_cache,
    join_rows,
    keep_rows,
    new_cache,
    take_rows,
)
from rlef.engines.types import (
    Completion,
    EngineError,
    Generate,
    ModelError,
    SamplingParams,
    Weights,
    check_params,
)
from rlef.engines.weights import merged_tensors


class HFEngine:
    """Samples from a causal language model, on the model's own device. A ``PolicyEngine``.

    Keys and values are remembered between calls: a prompt that begins with all tokens of a
    remembered row costs only its new tokens. The rows are those of the weights at that time, so
    ``load_weights`` drops them; where someone else has changed the weights, call ``clear_cache``.

    A model that cannot be padded (``can_pad``: with linear attention or a recurrent state, for
    instance) is run without memory, and only prompts of equal length are sampled together: exact,
    but slow.

    Args:
        model: Any causal language model of ``transformers`` with a cache. It runs in evaluation
            mode and is put back into its mode after each call.
        stop_token_ids: Ids that end an answer.
        max_context: Tokens of prompt and answer together; ``None``: see ``context_limit``.
        max_batch: Rows that run at once; also the episodes of a group, which begin together.
        max_batch_tokens: Rows times (longest prompt + ``max_new_tokens``) that run at once.
        max_cached_tokens: Rows times slots that are remembered between calls; 0: none.

    Raises:
        ValueError: A number is out of range.
        ModelError: The model does not run with a cache of ``transformers``, or not exactly.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        stop_token_ids: Sequence[int],
        max_context: int | None = None,
        max_batch: int = 64,
        max_batch_tokens: int = 2**18,
        max_cached_tokens: int = 2**17,
    ) -> None:
        if max_context is None:
            max_context = context_limit(model.config)
        numbers = {
            "max_context": max_context,
            "max_batch": max_batch,
            "max_batch_tokens": max_batch_tokens,
        }
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{name} is {number}; allowed: 1 or more")
        if max_cached_tokens < 0:
            raise ValueError(f"max_cached_tokens is {max_cached_tokens}; allowed: 0 or more")
        self.model = model
        self.stop_token_ids = tuple(stop_token_ids)
        self.max_context = max_context
        self.concurrency = max_batch
        self.version = 0
        self.max_batch_tokens = max_batch_tokens
        self._memory = Memory(max_cached_tokens)
        check_cache(model.config)
        self._pads = can_pad(model.config)
        self._accepted = _accepted_words(model, padded=self._pads)
        self._busy = BusyClock()
        self._broken: EngineError | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rlef-sampling")
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher] = WeakKeyDictionary()

    @property
    def busy_s(self) -> float:
        """Seconds so far in which it sampled."""
        return self._busy.seconds

    def seat(self) -> AbstractContextManager[Generate]:
        """A seat in a group of ``max_batch`` episodes that sample together, see ``batcher.py``."""
        loop = asyncio.get_running_loop()
        if loop not in self._batchers:
            self._batchers[loop] = Batcher(self.generate_batch, self.concurrency, self._thread)
        return self._batchers[loop].seat()

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams, seed: int
    ) -> Completion:
        """Continues one prompt, in a group of its own: see ``generate_batch``."""
        with self.seat() as generate:
            return cast(Completion, await generate(prompt, params, seed))

    def load_weights(self, weights: Weights) -> None:
        """Samples from these weights from the next batch on; does not wait for the present one.

        Raises:
            ValueError: They are of another model.
        """
        new: dict[str, Tensor] = {}
        if weights.model is not self.model:
            new = {name: tensor.clone() for name, tensor in merged_tensors(weights.model)}
            ours = self.model.state_dict()
            for name, tensor in new.items():
                if name not in ours or ours[name].shape != tensor.shape:
                    raise ValueError(f"weights of another model: {name} {tuple(tensor.shape)}")
        self._thread.submit(self._take, weights.version, new)

    @torch.no_grad()
    def _take(self, version: int, new: dict[str, Tensor]) -> None:
        try:
            ours = self.model.state_dict()
            for name, tensor in new.items():
                ours[name].copy_(tensor)
        except Exception as error:  # nobody waits here: the next batch says it
            self._broken = EngineError(f"the sampler could not take new weights: {error}")
        self._memory.clear()
        self.version = version

    def sleep(self) -> None:
        """Forgets all keys and values, once the present batch has been sampled."""
        self._thread.submit(self._memory.clear).result()

    def wake(self) -> None:
        """Nothing is needed."""

    def clear_cache(self) -> None:
        """Forgets all keys and values; not while it samples."""
        self._memory.clear()

    def close(self) -> None:
        """Ends the thread that samples, and forgets all keys and values."""
        self._thread.shutdown()
        self._memory.clear()

    @torch.inference_mode()
    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        seeds: Sequence[int],
        abandoned: Callable[[], bool] = lambda: False,
    ) -> list[Completion]:
        """Continues each prompt; ``seeds[i]`` alone decides the random draws of prompt i.

        Args:
            prompts: Token ids, each with at least one token and shorter than ``max_context``.
            params: How to sample.
            seeds: One per prompt, 0 or above.
            abandoned: Asked before each token whether nobody waits for the answers any more.

        Raises:
            EngineError: It could not take the weights that it was given.
            SamplingStopped: Nobody does.
            ValueError: A prompt has no room for an answer, or an argument is out of range.
        """
        if self._broken is not None:
            raise self._broken
        check_params(params)
        rows = [tuple(prompt) for prompt in prompts]
        if len(rows) != len(seeds):
            raise ValueError(f"{len(rows)} prompts and {len(seeds)} seeds; one each is needed")
        for number, row in enumerate(rows):
            if not 0 < len(row) < self.max_context:
                raise ValueError(
                    f"prompt {number} has {len(row)} tokens; "
                    f"allowed: 1 to {self.max_context - 1} (max_context less one)"
                )
        found: dict[int, Completion] = {}
        was_training = self.model.training
        self.model.train(False)
        try:
            for part in self._parts(rows, params.max_new_tokens):
                with self._busy:
                    batch = DecodedBatch(
                        self, [rows[i] for i in part], params, [seeds[i] for i in part]
                    )
                    done = batch.run(abandoned)
                found.update((part[i], completion) for i, completion in done.items())
        finally:
            self.model.train(was_training)
        return [found[i] for i in range(len(rows))]

    def _parts(self, rows: Sequence[tuple[int, ...]], max_new: int) -> Iterator[list[int]]:
        """Splits rows into batches of similar length."""
        part: list[int] = []
        for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
            tokens = (len(part) + 1) * min(len(rows[i]) + max_new, self.max_context)
            full = len(part) == self.concurrency or tokens > self.max_batch_tokens
            uneven = part and not self._pads and len(rows[i]) > len(rows[part[0]])
            if part and (full or uneven):
                yield part
                part = []
            part.append(i)
        if part:
            yield part

    def prefill(self, rows: Sequence[tuple[int, ...]]) -> tuple[Cache, Tensor, Tensor]:
        """Runs the prompts, each distinct one once, and only what is not remembered.

        Returns:
            The cache; (B, S) bool, True where a slot holds a token of its row; (B, V) logits.
        """
        device = self.model.device
        places = {row: place for place, row in enumerate(dict.fromkeys(rows))}
        hits = self._memory.find(list(places))
        spans = [
            (len(row), 0 if hit is None else hit.length)
            for row, hit in zip(places, hits, strict=True)
        ]
        # All rows run as many tokens as the one with most to run, so that padding stands in front
        # of a row and never inside it: windows, chunks and ALiBi count the slots between tokens.
        width = max(length - known for length, known in spans)
        known = [max(0, length - width) for length, _ in spans]
        if any(known):
            cache, filled = join_rows(hits, known)
        else:
            cache = new_cache(self.model.config)
            filled = torch.zeros((len(places), 0), dtype=torch.bool, device=device)
        fresh = [row[skip:] for row, skip in zip(places, known, strict=True)]
        padded = [[0] * (width - len(ids)) + list(ids) for ids in fresh]
        empty = [[False] * (width - len(ids)) + [True] * len(ids) for ids in fresh]
        filled = torch.cat([filled, torch.tensor(empty, device=device)], dim=1)
        positions = (filled.cumsum(1) - 1).clamp(min=0)[:, -width:]
        logits = self.forward(torch.tensor(padded, device=device), filled, positions, cache)
        if len(places) < len(rows):
            copies = torch.tensor([places[row] for row in rows], device=device)
            keep_rows(cache, copies)
            filled, logits = filled[copies], logits[copies]
        return cache, filled, logits

    def remember(
        self,
        token_ids: Sequence[tuple[int, ...]],
        filled: Tensor,
        cache: Cache,
        rows: Tensor | None,
    ) -> None:
        """Keeps rows for later calls, as far as there is room, if the model can go on from them.

        Args:
            token_ids: Of each row, what the cache has of it.
            filled: (B, S) bool, True where a slot holds a token of its row.
            cache: Where they are.
            rows: Which; ``None``: all.
        """
        if not self._pads:
            return
        counts = torch.tensor([[len(ids)] for ids in token_ids], device=filled.device)
        self._memory.add(
            CachedRows(
                token_ids=tuple(token_ids),
                filled=filled & (filled.cumsum(1) <= counts),
                layers=take_rows(cache, rows),
            )
        )

    def forward(self, ids: Tensor, filled: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Appends (B, new) ids to the cache; returns the (B, V) logits after the last one."""
        words = {
            "attention_mask": filled,
            "position_ids": positions,
            "past_key_values": cache,
            "cache_params": cache,
            "logits_to_keep": 1,
        }
        taken = {word: words[word] for word in self._accepted}
        output = self.model(input_ids=ids, use_cache=True, **taken)
        logits: Tensor = output.logits[:, -1]
        return logits


def _accepted_words(model: PreTrainedModel, *, padded: bool) -> tuple[str, ...]:
    """Returns what a model's forward is given of what the engine has.

    Without padding there is no mask: recurrent models would apply that of the whole text to the new
    token. Models with ALiBi take no positions.

    Raises:
        ModelError: It takes no cache.
    """
    outer = inspect.signature(model.forward).parameters
    inner = inspect.signature(model.base_model.forward).parameters
    caches = [word for word in ("past_key_values", "cache_params") if word in outer]
    if not caches:
        raise ModelError(
            f"{type(model).__name__} keeps its state in no cache of transformers; allowed: models "
            "whose forward takes past_key_values or cache_params"
        )
    passed_on = any(word.kind is word.VAR_KEYWORD for word in outer.values())
    found = [caches[0], *(["logits_to_keep"] if "logits_to_keep" in outer else [])]
    if "position_ids" in outer or (passed_on and "position_ids" in inner):
        found.append("position_ids")
    return (*found, "attention_mask") if padded else tuple(found)
