"""The decode loop of the engine ``hf``.

B rows, S slots of the cache, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rlef.engines.kv_cache import keep_rows
from rlef.engines.sampling import draw_tokens
from rlef.engines.types import Completion, FinishReason, SamplingParams

if TYPE_CHECKING:
    from rlef.engines.hf import HFEngine

_CHECK_EVERY = 4
_BELOW_ONE = 1 - 1e-12


class SamplingStopped(Exception):
    """Nobody waits for a batch any more."""


class DecodedBatch:
    """Rows that are decoded together; those that finish leave it."""

    def __init__(
        self,
        engine: "HFEngine",
        rows: Sequence[tuple[int, ...]],
        params: SamplingParams,
        seeds: Sequence[int],
    ) -> None:
        self.engine = engine
        self.params = params
        self.cache, filled, self.logits = engine.prefill(rows)
        device = self.logits.device
        limits = [min(params.max_new_tokens, engine.max_context - len(row)) for row in rows]
        steps = max(limits)
        self.places = list(range(len(rows)))
        self.prompts = list(rows)
        self.slots = filled.shape[1]
        self.filled = torch.cat([filled, filled.new_ones((len(rows), steps))], dim=1)
        draws = np.stack([np.random.default_rng(seed).random(steps) for seed in seeds])
        self.uniforms = torch.from_numpy(draws.clip(max=_BELOW_ONE)).to(device)
        self.positions = torch.tensor([[len(row)] for row in rows], device=device)
        self.limits = torch.tensor(limits, device=device)
        self.stops = torch.tensor(engine.stop_token_ids, device=device)
        self.tokens = torch.zeros((len(rows), steps), dtype=torch.int64, device=device)
        self.logprobs = torch.zeros((len(rows), steps), device=device)
        self.lengths = torch.zeros(len(rows), dtype=torch.int64, device=device)
        self.finished = torch.zeros(len(rows), dtype=torch.bool, device=device)

    def run(self, abandoned: Callable[[], bool]) -> dict[int, Completion]:
        """Decodes to the end; returns completions by place in the batch.

        Raises:
            SamplingStopped: Nobody waits for them any more.
        """
        done: dict[int, Completion] = {}
        steps = self.tokens.shape[1]
        for step in range(steps):
            if abandoned():
                raise SamplingStopped
            tokens, logprobs = draw_tokens(self.logits, self.uniforms[:, step], self.params)
            self.tokens[:, step] = tokens
            self.logprobs[:, step] = logprobs
            self.lengths += ~self.finished
            stopped = (tokens[:, None] == self.stops).any(1)
            self.finished |= stopped | (self.lengths >= self.limits)
            if step + 1 == steps:
                break
            if step % _CHECK_EVERY == 0:
                count = int(self.finished.sum())
                if count == len(self.places):
                    break
                if count > len(self.places) // 4:
                    done.update(self._retire(self.finished.nonzero()[:, 0], fed=step))
                    self._keep((~self.finished).nonzero()[:, 0])
            self._feed(self.tokens[:, step : step + 1])
        done.update(self._retire(None, fed=step))
        return done

    def _feed(self, tokens: Tensor) -> None:
        self.slots += 1
        self.logits = self.engine.forward(
            tokens, self.filled[:, : self.slots], self.positions, self.cache
        )
        # rows that have finished run on until they leave: keep them inside the model's positions
        self.positions = (self.positions + 1).clamp(max=self.engine.max_context - 1)

    def _retire(self, rows: Tensor | None, fed: int) -> dict[int, Completion]:
        """Returns the completions of some rows, or of all, and remembers their keys and values.

        Args:
            rows: Which; ``None``: all.
            fed: How many of the sampled tokens are in the cache.
        """
        chosen = range(len(self.places)) if rows is None else rows.tolist()
        tokens, logprobs = self.tokens.tolist(), self.logprobs.tolist()
        lengths = self.lengths.tolist()
        done: dict[int, Completion] = {}
        held: list[tuple[int, ...]] = []
        for row in chosen:
            ids = tuple(tokens[row][: lengths[row]])
            stop = ids[-1] in self.engine.stop_token_ids
            done[self.places[row]] = Completion(
                token_ids=ids,
                logprobs=tuple(logprobs[row][: lengths[row]]),
                finish=FinishReason.STOP if stop else FinishReason.LENGTH,
                version=self.engine.version,
            )
            held.append(self.prompts[row] + ids[:fed])
        filled = self.filled[:, : self.slots] if rows is None else self.filled[rows, : self.slots]
        self.engine.remember(held, filled, self.cache, rows)
        return done

    def _keep(self, rows: Tensor) -> None:
        """Drops all other rows."""
        kept = rows.tolist()
        self.places = [self.places[row] for row in kept]
        self.prompts = [self.prompts[row] for row in kept]
        keep_rows(self.cache, rows)
        for name in ("filled", "uniforms", "positions", "limits", "tokens", "logprobs"):
            setattr(self, name, getattr(self, name)[rows])
        self.lengths, self.finished = self.lengths[rows], self.finished[rows]
