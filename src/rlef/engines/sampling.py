"""Logits to tokens: temperature, top-k, top-p and the draw itself.

B rows, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rlef.engines.types import SamplingParams

_BLOCK = 512


class Draw(NamedTuple):
    """One token per row."""

    tokens: Tensor
    """(B,) int64."""
    logprobs: Tensor
    """(B,) float32, under the distribution drawn from; 0 where greedy."""


def draw_tokens(logits: Tensor, uniforms: Tensor, params: SamplingParams) -> Draw:
    """Draws one token per row by inverting the distribution function at a given number.

    So the draw of a row depends on its own logits and number only, not on the other rows.

    Args:
        logits: (B, V), any float type.
        uniforms: (B,) float64 in [0, 1 - 1e-12].
        params: Temperature 0 takes the likeliest token. Else logits are divided by the
            temperature, then cut to the ``top_k`` likeliest, then to the smallest set of the
            likeliest whose probability reaches ``top_p``.
    """
    if params.temperature == 0:
        tokens = logits.argmax(-1)
        return Draw(tokens, torch.zeros(tokens.shape, device=logits.device))
    logprobs = all_logprobs(logits, params)
    tokens = invert_distribution(logprobs.exp(), uniforms)[:, None]
    return Draw(tokens[:, 0], logprobs.gather(-1, tokens)[:, 0])


def invert_distribution(weights: Tensor, uniforms: Tensor, block: int = _BLOCK) -> Tensor:
    """Returns (B,) the first token at which the summed weights pass a share of their total.

    Sums are float64. Of a large vocabulary they are made of blocks first, then within one block:
    that reads it once, and holds no number of 8 bytes for each token.

    Args:
        weights: (B, V) float32, 0 or above.
        uniforms: (B,) float64, the shares, in [0, 1 - 1e-12].
        block: Tokens of a block; a vocabulary of eight blocks or fewer is summed in one go.
    """
    if weights.shape[-1] <= 8 * block:
        cumulative = weights.cumsum(-1, dtype=torch.float64)
        # right=True: the first that passes the target, so never one of weight 0
        return torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[
            :, 0
        ]
    short = -weights.shape[-1] % block
    if short:
        weights = torch.nn.functional.pad(weights, (0, short))
    blocks = weights.reshape(len(weights), -1, block)
    cumulative = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    targets = uniforms[:, None] * cumulative[:, -1:]
    at = torch.searchsorted(cumulative, targets, right=True)
    before = torch.where(at > 0, cumulative.gather(-1, (at - 1).clamp(min=0)), 0.0)
    within = blocks.take_along_dim(at[:, :, None], 1)[:, 0].cumsum(-1, dtype=torch.float64)
    # the block's own sum, added up in another order, may fall short of the target by a rounding
    rest = torch.minimum(targets - before, within[:, -1:] * (1 - 1e-12))
    return (at * block + torch.searchsorted(within, rest, right=True))[:, 0]


def all_logprobs(logits: Tensor, params: SamplingParams) -> Tensor:
    """Returns (B, V) log-probabilities of the distribution to draw from, -inf where cut off.

    Args:
        logits: (B, V), any float type.
        params: See ``draw_tokens``; the temperature is above 0.
    """
    logits = logits.float()
    if params.temperature != 1:
        logits = logits / params.temperature
    if 0 < params.top_k < logits.shape[-1]:
        smallest = logits.topk(params.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if params.top_p < 1:
        logits = _cut_to_top_p(logits, params.top_p)
    return logits.log_softmax(-1)


def _cut_to_top_p(logits: Tensor, top_p: float) -> Tensor:
    ordered, order = logits.sort(descending=True, stable=True)
    probs = ordered.softmax(-1)
    before = probs.cumsum(-1) - probs
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ordered)
