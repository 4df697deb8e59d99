"""The decode loop of the engine ``hf``.

B rows, S slots of the cache, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rlef.engines.graphs import StepGraphs
from rlef.engines.sampling import draw_tokens
from rlef.engines.types import Completion, FinishReason, SamplingParams

_CHECK_EVERY = {"cpu": 4}
"""Steps between two looks at which rows have ended: each look waits for the device."""
_CHECK_ELSEWHERE = 16
_BELOW_ONE = 1 - 1e-12


class SamplingStopped(Exception):
    """Nobody waits for a batch any more."""


class Decoder(Protocol):
    """A model with what it knows of the rows of a batch."""

    def feed(self, tokens: Tensor, positions: Tensor, slots: int) -> Tensor:
        """Returns the (B, V) logits behind (B,) tokens of the first B rows.

        Args:
            tokens: Of each row, the one after those that were fed.
            positions: (B,) int64, its place in the row.
            slots: A bound of all positions.
        """
        ...

    def swap(self, some: Sequence[int], others: Sequence[int], rows: int, slots: int) -> None:
        """Swaps rows, of which from then on only the first ``rows`` are fed."""
        ...


class DecodedBatch:
    """Rows that are decoded together; those that finish leave it.

    All that belongs to a row is at the row's place in tensors that stay where they are; the first
    ``rows`` of them go on.

    Args:
        prompts: Of each row; all but the last token has been fed.
        limits: Tokens that each row may have.
        seeds: Of its draws.
        params: How to sample.
        stop_token_ids: Ids that end an answer.
        decoder: Runs the model.
        graphs: Replays steps; ``None``: each is launched anew.
    """

    def __init__(
        self,
        prompts: Sequence[tuple[int, ...]],
        limits: Sequence[int],
        seeds: Sequence[int],
        params: SamplingParams,
        stop_token_ids: Sequence[int],
        decoder: Decoder,
        device: torch.device,
        graphs: StepGraphs | None = None,
    ) -> None:
        self.prompts = prompts
        self.params = params
        self.decoder = decoder
        self.graphs = graphs
        self.order = list(range(len(prompts)))
        """Which prompt each row is."""
        self.rows = len(prompts)
        self.steps = max(limits)
        self.stops = frozenset(stop_token_ids)
        self._longest = max(map(len, prompts))
        self._on_cpu = device.type == "cpu"
        draws = np.stack([np.random.default_rng(seed).random(self.steps) for seed in seeds])
        count = len(prompts)
        self.state = {
            "uniforms": torch.from_numpy(draws.clip(max=_BELOW_ONE)).to(device),
            "limits": torch.tensor(limits, device=device),
            "last": torch.tensor([prompt[-1] for prompt in prompts], device=device),
            "positions": torch.tensor([len(prompt) - 1 for prompt in prompts], device=device),
            "lengths": torch.zeros(count, dtype=torch.int64, device=device),
            "finished": torch.zeros(count, dtype=torch.bool, device=device),
            "tokens": torch.zeros((count, self.steps), dtype=torch.int64, device=device),
            "logprobs": torch.zeros((count, self.steps), device=device),
        }
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        """The step."""
        self.ends = torch.tensor(stop_token_ids, dtype=torch.int64, device=device)

    def run(self, abandoned: Callable[[], bool]) -> None:
        """Decodes to the end.

        Raises:
            SamplingStopped: Nobody waits for the answers any more.
        """
        every = _CHECK_EVERY["cpu"] if self._on_cpu else _CHECK_ELSEWHERE
        for step in range(self.steps):
            if abandoned():
                raise SamplingStopped
            slots = self._slots(step)
            if self.graphs is None:
                self._step(self.rows, slots)
            else:
                self.graphs.step(self._step, self.rows, slots, self.steps - step)
            if step % every == 0 and self._all_ended(slots):
                break

    def _slots(self, step: int) -> int:
        """How far to look: rounded up on a GPU, so that shapes seldom change."""
        slots = self._longest + step
        return slots if self._on_cpu else -(-slots // 128) * 128

    def _step(self, rows: int, slots: int) -> None:
        """Feeds the last tokens of the first rows and draws the next.

        Nothing in it depends on a number that Python would have to read from the device, nor is
        the same number read anew in the next step: so it can be recorded and replayed.
        """
        state = {name: tensor[:rows] for name, tensor in self.state.items()}
        logits = self.decoder.feed(state["last"], state["positions"], slots)
        uniforms = state["uniforms"].index_select(1, self.at)[:, 0]
        tokens, logprobs = draw_tokens(logits, uniforms, self.params)
        state["tokens"].index_copy_(1, self.at, tokens[:, None])
        state["logprobs"].index_copy_(1, self.at, logprobs[:, None])
        # a row that has finished feeds its last token, again and again, into the same slot
        going = ~state["finished"]
        state["last"].copy_(torch.where(going, tokens, state["last"]))
        state["positions"].add_(going)
        state["lengths"].add_(going)
        ended = (tokens[:, None] == self.ends).any(1) | (state["lengths"] >= state["limits"])
        state["finished"].logical_or_(ended)
        self.at.add_(1)

    def _all_ended(self, slots: int) -> bool:
        """Moves finished rows behind the others if they are many; returns whether all are."""
        finished = self.state["finished"][: self.rows].tolist()
        going = finished.count(False)
        if not going:
            return True
        if self.rows - going <= self.rows // 4:
            return False
        free = [row for row in range(going) if finished[row]]
        moved = [row for row in range(going, self.rows) if not finished[row]]
        self.decoder.swap(free, moved, going, slots)
        device = self.at.device
        at, then = (
            torch.tensor(rows, dtype=torch.int64, device=device)
            for rows in ([*free, *moved], [*moved, *free])
        )
        for tensor in self.state.values():
            tensor[at] = tensor[then]
        for some, other in zip(free, moved, strict=True):
            self.order[some], self.order[other] = self.order[other], self.order[some]
        self.rows = going
        return False

    def completions(self, version: int) -> list[Completion]:
        """Returns the answers, in the order of the prompts."""
        tokens, logprobs, lengths = (
            self.state[name].tolist() for name in ("tokens", "logprobs", "lengths")
        )
        found: dict[int, Completion] = {}
        for row, place in enumerate(self.order):
            ids = tuple(tokens[row][: lengths[row]])
            found[place] = Completion(
                token_ids=ids,
                logprobs=tuple(logprobs[row][: lengths[row]]),
                finish=FinishReason.STOP if ids[-1] in self.stops else FinishReason.LENGTH,
                version=version,
            )
        return [found[place] for place in range(len(found))]

    def held(self, answers: Sequence[Completion]) -> tuple[tuple[int, ...], ...]:
        """Returns the tokens of each row that were fed: all but the last one of its answer."""
        return tuple((*self.prompts[place], *answers[place].token_ids[:-1]) for place in self.order)
