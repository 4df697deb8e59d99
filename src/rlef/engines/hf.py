"""The engine on ``transformers`` models: batched sampling with a decode loop of our own.

Episodes reach it in fixed groups: ``batcher.py``. How a batch is sampled: ``decode.py``.
"""

import asyncio
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlef.engines.batcher import Batcher
from rlef.engines.busy import BusyClock
from rlef.engines.context import context_limit
from rlef.engines.decode import DecodedBatch
from rlef.engines.decoders import EqualDecoder, RowDecoder, model_run, row_shape
from rlef.engines.fresh import WeightsCheck
from rlef.engines.graphs import StepGraphs
from rlef.engines.half import attention_dtype, computing, halve
from rlef.engines.hf_settings import HFSettings
from rlef.engines.kv_cache import Memory, Remembered, RowCache, RowShape, check_cache
from rlef.engines.row_attention import kind_of_attention, serving
from rlef.engines.types import (
    Completion,
    EngineError,
    Generate,
    SamplingParams,
    Weights,
    check_params,
)
from rlef.engines.weights import ModelWeights

Prompt = tuple[int, ...]
SLOTS_ROUND = 16
"""Slots of a cache are a multiple of this, as kernels want their masks."""


class HFEngine:
    """Samples from a causal language model, on the model's own device. A ``PolicyEngine``.

    Keys and values are remembered between calls: a prompt that begins as a remembered row does
    costs only its other tokens. The rows are those of the weights at that time, so
    ``load_weights`` drops them; where someone else has changed the weights, call ``clear_cache``.

    A model that knows more of a text than keys and values (``decoders.row_shape``: linear
    attention, a recurrent state), or whose attention ``transformers`` does not look up by name, is
    run without memory or graphs, and only prompts of equal length are sampled together: exact, but
    slow.

    Args:
        model: Any causal language model of ``transformers`` with a cache. It runs in evaluation
            mode and is put back into its mode after each call.
        stop_token_ids: Ids that end an answer.
        max_context: Tokens of prompt and answer together; ``None``: see ``context_limit``.
        max_batch: Rows that run at once; also the episodes of a group, which begin together.
        dtype: What it computes in. Below 32 bits the model is changed and must not be trained:
            see ``half.py``.
        settings: Limits of memory, and how tokens are decoded.
        message: Hears of what works otherwise than the settings say.

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
        dtype: torch.dtype = torch.float32,
        settings: HFSettings | None = None,
        message: Callable[[str], None] = warnings.warn,
    ) -> None:
        for name, number in {"max_context": max_context, "max_batch": max_batch}.items():
            if number is not None and number < 1:
                raise ValueError(f"{name} is {number}; allowed: 1 or more")
        check_cache(model.config)
        self._heads = [] if dtype == torch.float32 else halve(model, dtype)
        self.model = model
        self.stop_token_ids = tuple(stop_token_ids)
        self.concurrency = max_batch
        self.version = 0
        self.dtype = dtype
        self.settings = settings or HFSettings()
        self._memory = Memory()
        self._run = model_run(model, dtype)
        self._eager = kind_of_attention(model.config) == "eager"
        with torch.inference_mode():
            self._shape = row_shape(model, self._run, attention_dtype(model.device, dtype))
        self.max_context = self._room() if max_context is None else max_context
        if self.max_context > self._room():
            raise ValueError(
                f"kv_memory_gb is {self.settings.kv_memory_gb:g}, which keys and values of "
                f"{self._room()} tokens fill, but a text may have {max_context}; allowed: more, "
                "or a smaller max_context"
            )
        self._message = message
        self._graphs = self.settings.cuda_graphs and model.device.type == "cuda"
        self._busy = BusyClock()
        self._check: WeightsCheck | None = None
        self._broken: EngineError | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rlef-sampling")
        self._sampler = Lock()
        """Held while weights are in use or change."""
        self._taking: Future[Any] = self._thread.submit(lambda: None)
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

    def load_weights(self, weights: Weights) -> float | None:
        """Samples from these weights from the next batch on; does not wait for the present one.

        If it samples nothing now, each tensor goes to its place as it comes; and if the model is
        not in this process, a few tokens are scored here and there (``WeightsCheck``). Else they
        are all collected first, a second whole copy until the batch has ended.

        Returns:
            The gap between the two, nats per token; ``None`` without the comparison.

        Raises:
            EngineError: They came in parts, and not all did, or it does not sample from them.
            ValueError: They are of another model.
        """
        new = self._fitting(weights) if weights.model is not self.model else iter(())
        if self._taking.done() and self._sampler.acquire(blocking=False):
            self._sampler.release()
            found = self._thread.submit(self._take_and_look, weights, new)
            self._taking = found
            return found.result()
        copies = [(ours, tensor.to(ours.device, ours.dtype, copy=True)) for ours, tensor in new]
        self._taking = self._thread.submit(self._take, weights.version, copies)
        return None

    def held_dtypes(self) -> Mapping[str, str]:
        """See ``PolicyEngine.held_dtypes``; by names of the module."""
        ours = self.model.state_dict(keep_vars=True)
        return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in ours.items()}

    def _take_and_look(
        self, weights: Weights, new: Iterable[tuple[Tensor, Tensor]]
    ) -> float | None:
        self._take(weights.version, new)
        if weights.model is not None:
            return None
        if self._check is None:
            ids = min(100, self.model.config.get_text_config().vocab_size)
            coarse = self.dtype != torch.float32
            self._check = WeightsCheck(self._continued, coarse=coarse, ids=ids)
        try:
            own = ModelWeights(version=self.version, model=self.model)
            return self._check.look(own.logprobs, weights).gap
        except EngineError as error:
            self._broken = error
            raise

    @torch.inference_mode()
    def _continued(self, rows: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Continues prompts by so many tokens, with no end of turn."""
        ids = torch.tensor(rows, device=self.model.device)
        random = torch.Generator(self.model.device).manual_seed(0)
        was_training = self.model.training
        self.model.train(False)
        with self._sampler, self.computing():
            for _ in range(tokens):
                logits = self.model(input_ids=ids, use_cache=False).logits[:, -1]
                drawn = logits.float().softmax(-1).multinomial(1, generator=random)
                ids = torch.cat([ids, drawn], 1)
        self.model.train(was_training)
        found: list[list[int]] = ids.tolist()
        return found

    def _fitting(self, weights: Weights) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields tensors of the model, and the new ones for them; at the end all had their turn."""
        ours = self.model.state_dict(keep_vars=True)
        given = {id(head) for head, _ in self._heads}
        for name, tensor in weights.merged():
            if name not in ours or ours[name].shape != tensor.shape:
                raise ValueError(f"weights of another model: {name} {tuple(tensor.shape)}")
            given.add(id(ours[name]))
            yield ours[name], tensor
        if missing := [name for name, tensor in ours.items() if id(tensor) not in given]:
            raise ValueError(f"weights of another model: it has no {missing[0]}")

    @torch.no_grad()
    def _take(self, version: int, new: Iterable[tuple[Tensor, Tensor]]) -> None:
        begun = False
        with self._sampler:
            self._memory.clear()
            try:
                for ours, tensor in new:
                    begun = True
                    ours.copy_(tensor)
                for head, embedding in self._heads:
                    head.copy_(embedding)
            except Exception as error:
                if begun:  # until others have come as a whole; perhaps nobody waits here
                    self._broken = EngineError(f"the sampler could not take new weights: {error}")
                raise
            self._broken = None
            self.version = version

    def sleep(self) -> None:
        """Forgets all keys and values, once the present batch has been sampled."""
        self._thread.submit(self._memory.clear).result()

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
        with self._sampler, self._sampling():
            parts = list(self._parts(rows, params.max_new_tokens))
            for number, part in enumerate(parts):
                later = [rows[i] for other in parts[number + 1 :] for i in other]
                with self._busy:
                    done = self._sample(
                        [rows[i] for i in part], params, [seeds[i] for i in part], abandoned, later
                    )
                found.update(zip(part, done, strict=True))
        return [found[i] for i in range(len(rows))]

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """Within it the model is as the engine runs it."""
        was_training = self.model.training
        self.model.train(False)
        try:
            with nullcontext() if self._shape is None else serving(self.model):
                yield
        finally:
            self.model.train(was_training)

    def computing(self) -> AbstractContextManager[object]:
        """In which the model computes as it does when it is sampled."""
        return computing(self.model.device, self.dtype)

    def _room(self) -> int:
        """Returns the longest text that the model takes and there is room for."""
        longest = context_limit(self.model.config)
        if self._shape is None:
            return longest
        return min(longest, self._limit // self._shape.cost(1, SLOTS_ROUND) * SLOTS_ROUND)

    @property
    def _limit(self) -> int:
        """Bytes of keys and values."""
        return int(self.settings.kv_memory_gb * 1e9)

    @staticmethod
    def _slots(tokens: int) -> int:
        return -(-tokens // SLOTS_ROUND) * SLOTS_ROUND

    def _parts(self, rows: Sequence[Prompt], max_new: int) -> Iterator[list[int]]:
        """Splits rows into batches of similar length that have room."""
        part: list[int] = []
        for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
            slots = self._slots(min(len(rows[i]) + max_new, self.max_context))
            if self._shape is None:
                apart = part and len(rows[i]) > len(rows[part[0]])
            else:
                apart = self._shape.cost(len(part) + 1, slots) > self._limit
            if part and (apart or len(part) == self.concurrency):
                yield part
                part = []
            part.append(i)
        if part:
            yield part

    def _sample(
        self,
        rows: Sequence[Prompt],
        params: SamplingParams,
        seeds: Sequence[int],
        abandoned: Callable[[], bool],
        later: Sequence[Prompt],
    ) -> list[Completion]:
        """Samples one batch; ``later`` are prompts that come right after it."""
        limits = [min(params.max_new_tokens, self.max_context - len(row)) for row in rows]
        decoder: RowDecoder | EqualDecoder
        if self._shape is None:
            if self._graphs:  # a replay would find the state as it was when it was recorded
                self._no_graphs("this model's state moves to new tensors with each token")
            decoder = EqualDecoder(self.model, self._run)
            decoder.start(rows)
            order = list(range(len(rows)))
        else:
            decoder, order = self._start(self._shape, rows, limits, later)
        batch = DecodedBatch(
            [rows[place] for place in order],
            [limits[place] for place in order],
            [seeds[place] for place in order],
            params,
            self.stop_token_ids,
            decoder,
            self.model.device,
            StepGraphs(self.model.device, self._no_graphs) if self._graphs else None,
        )
        batch.run(abandoned)
        done = batch.completions(self.version)
        if isinstance(decoder, RowDecoder):
            held = batch.held(done)
            decoder.cache.trim(max(map(len, held)))
            layers = decoder.cache.layers
            self._memory.add(Remembered(held, layers, decoder.cache.size))
        return [answer for _, answer in sorted(zip(order, done, strict=True), key=lambda x: x[0])]

    def _start(
        self,
        shape: RowShape,
        rows: Sequence[Prompt],
        limits: Sequence[int],
        later: Sequence[Prompt],
    ) -> tuple[RowDecoder, list[int]]:
        """Runs the prompts; returns also which prompt each row is."""
        longest = max(len(row) + limit for row, limit in zip(rows, limits, strict=True))
        cache = RowCache(shape, len(rows), self._slots(longest))
        needed = {id(hit.group) for hit in self._memory.find(later) if hit is not None}
        hits = self._memory.find(rows)
        size = shape.cost(cache.rows, cache.slots)
        gone = self._memory.make_room(size, self._limit, hits, needed)
        decoder = RowDecoder(self._run, cache, eager=self._eager)
        order = decoder.start(rows, hits, gone, self.settings.prefill_tokens)
        return decoder, order

    def _no_graphs(self, reason: str) -> None:
        self._graphs = False
        self._message(f"rollout.hf.cuda_graphs: steps cannot be recorded ({reason}); without it")
