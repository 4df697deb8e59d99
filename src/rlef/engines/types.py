"""The seam between the episode and whatever generates tokens: ids in, ids and logprobs out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ModelError(ValueError):
    """A model or tokenizer cannot be loaded. One line: which, why, and what is allowed."""


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """the model sampled an end-of-turn token (it is the last of ``token_ids``)"""
    LENGTH = "length"
    """``max_new_tokens`` or the context limit was reached"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to sample. Temperature 0 is greedy; ``top_k`` 0 and ``top_p`` 1.0 switch these off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512


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


class Engine(Protocol):
    """Anything that continues token sequences."""

    def generate(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, seeds: Sequence[int]
    ) -> list[Completion]:
        """Continue each prompt; ``seeds[i]`` alone decides the random draws of prompt i."""
        ...
