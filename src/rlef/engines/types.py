"""The seam between the episode and whatever generates tokens: ids in, ids and logprobs out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


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
    """the prompt alone is too long for the server: nothing was sampled"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to sample. Temperature 0 is greedy; ``top_k`` 0 and ``top_p`` 1.0 switch these off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512


def check_params(params: SamplingParams) -> None:
    """Raises ValueError, in one line, if a parameter is out of range."""
    if not 0 <= params.temperature < float("inf"):
        raise ValueError(f"temperature is {params.temperature}; allowed: 0 (greedy) or above")
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
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: FinishReason


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


class Engine(Protocol):
    """Continues token sequences, many at once: all of them, then the next ones."""

    @property
    def max_context(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, seeds: Sequence[int]
    ) -> list[Completion]:
        """Continue each prompt; ``seeds[i]`` alone decides the random draws of prompt i."""
        ...


@runtime_checkable
class StreamingEngine(Protocol):
    """Continues prompts that come and go one by one."""

    @property
    def concurrency(self) -> int:
        """Prompts that it should have at a time, at most."""
        ...

    @property
    def max_context(self) -> int | None:
        """Tokens of prompt and answer together; ``None``: only its server knows."""
        ...

    def submit(self, key: int, prompt: Any, params: SamplingParams, seed: int) -> None:
        """Adds a prompt.

        Args:
            key: Its name in what ``collect`` returns.
            prompt: Token ids, or a list of ``Message`` for an engine that answers in text.
            params: How to sample.
            seed: Of its draws.
        """
        ...

    def collect(self, timeout_s: float) -> Sequence[tuple[int, Completion | ChatCompletion]]:
        """Works or waits, for about ``timeout_s``; returns the answers that are ready, if any.

        Raises:
            EngineError: It cannot go on.
        """
        ...

    def cancel(self) -> None:
        """Drops all prompts that it has."""
        ...

    def close(self) -> None:
        """Drops all prompts and frees what the engine holds."""
        ...
