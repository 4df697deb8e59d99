"""The seam between the episode and whatever generates tokens: ids in, ids and logprobs out."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel


class ModelError(ValueError):
    """A model or tokenizer cannot be loaded. One line: which, why, and what is allowed."""


class EngineError(RuntimeError):
    """An engine cannot go on: its server is gone, for instance. One line: what, and what to do."""


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """the model sampled an end-of-turn token (it is the last of ``token_ids``)"""
    LENGTH = "length"
    """``max_new_tokens`` or the context limit was reached"""
    NO_ROOM = "no_room"
    """a server has no room for the least answer to the prompt: nothing was sampled"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to sample. Temperature 0 is greedy; ``top_k`` 0 and ``top_p`` 1.0 switch these off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512


_LEAST_TEMPERATURE = 1e-5
"""Logits of about 30 are rounded by 2e-6 in float32: with less the rounding decides, and with far
less the quotients overflow."""
TEMPERATURES = f"0 (greedy), or {_LEAST_TEMPERATURE:g} or more"
"""What a temperature may be, in words."""


def check_temperature(temperature: float) -> float:
    """Returns the temperature; raises ValueError, in one line, if it is out of range."""
    if temperature != 0 and not _LEAST_TEMPERATURE <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}; allowed: {TEMPERATURES}")
    return temperature


def check_params(params: SamplingParams) -> None:
    """Raises ValueError, in one line, if a parameter is out of range."""
    check_temperature(params.temperature)
    if not 0 < params.top_p <= 1:
        raise ValueError(f"top_p is {params.top_p}; allowed: above 0, up to 1.0 (off)")
    if params.top_k < 0:
        raise ValueError(f"top_k is {params.top_k}; allowed: 0 (off) or above")
    if params.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {params.max_new_tokens}; allowed: 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled answer.

    Attributes:
        token_ids: the sampled tokens, the end-of-turn token included if it was sampled.
        logprobs: log-probability of each of ``token_ids`` under the distribution it was drawn
            from (after temperature, top-p and top-k), nats, same length as ``token_ids``.
        finish: why it ended.
        version: the oldest policy version that sampled any of ``token_ids``; 0 where nobody counts.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: FinishReason
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCompletion:
    """One answer of a server that takes and gives text.

    Attributes:
        text: the answer.
        finish: why it ended.
        prompt_tokens: as the server counts them, where it does.
        completion_tokens: likewise.
    """

    text: str
    finish: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


Message = dict[str, str]
"""``role`` (``system``, ``user`` or ``assistant``) and ``content``."""


Generate = Callable[[Any, SamplingParams, int], Awaitable[Completion | ChatCompletion]]
"""(prompt, params, seed) -> the answer; see ``Engine.generate``."""


class Engine(Protocol):
    """Continues prompts that come and go one by one, from any event loop."""

    @property
    def concurrency(self) -> int:
        """Prompts that it samples at once, at most; it takes more, and they wait."""
        ...

    @property
    def max_context(self) -> int | None:
        """Tokens of prompt and answer together; ``None``: only its server knows."""
        ...

    @property
    def busy_s(self) -> float:
        """Seconds so far in which it sampled anything."""
        ...

    async def generate(
        self, prompt: Any, params: SamplingParams, seed: int
    ) -> Completion | ChatCompletion:
        """Continues a prompt; a caller that is cancelled takes it back.

        Args:
            prompt: Token ids, or a list of ``Message`` for an engine that answers in text.
            params: How to sample.
            seed: Of its draws.

        Raises:
            EngineError: The engine cannot go on.
            ValueError: The prompt has no room for an answer, or a parameter is out of range.
        """
        ...

    def seat(self) -> AbstractContextManager[Generate]:
        """A place for an episode while it has answers to come; gives what answers its prompts.

        An engine that samples fixed groups (``hf``) waits for all that sit in one. The others need
        no seats: ``nullcontext(self.generate)``.
        """
        ...

    def close(self) -> None:
        """Drops all prompts and frees what the engine holds."""
        ...


class Weights(Protocol):
    """A policy to sample from, wherever its learner lives."""

    @property
    def version(self) -> int:
        """Optimizer steps that it has behind it."""
        ...

    @property
    def model(self) -> "PreTrainedModel | None":
        """The live module, which its learner goes on changing; ``None``: it is not here."""
        ...

    def merged(self) -> "Iterator[tuple[str, Tensor]]":
        """Names of a module without adapters and its tensors, one by one, with adapters merged."""
        ...

    def tensors(self) -> "Iterator[tuple[str, Tensor]]":
        """The same by the names and in the shapes of a Hugging Face checkpoint."""
        ...

    def logprobs(self, rows: "Sequence[Sequence[int]]", first: int) -> "NDArray[np.float64]":
        """The policy's own log-probabilities, to compare an engine with.

        Args:
            rows: Token ids, of equal length.
            first: Place in a row of the first token that counts, at least 1.

        Returns:
            (tokens that count,), row after row, nats, at temperature 1.
        """
        ...


@runtime_checkable
class PolicyEngine(Engine, Protocol):
    """An engine whose weights can be replaced."""

    def load_weights(self, weights: Weights) -> float | None:
        """Samples from these weights from the next call of ``generate`` on.

        They are read before this returns. What is remembered of older ones is dropped.

        Returns:
            How far its log-probabilities of some sampled tokens are from the model's, nats per
            token; ``None`` where it does not look.

        Raises:
            EngineError: It cannot take them, or does not sample from them.
        """
        ...

    def held_dtypes(self) -> "Mapping[str, str]":
        """In which dtypes it holds weights that it was given, see ``transfer.Dtypes``.

        By the names under which it reads them. A learner elsewhere need not send more than that.
        """
        ...

    def sleep(self) -> None:
        """Frees the memory that is needed for sampling only, while nothing is sampled."""
        ...
