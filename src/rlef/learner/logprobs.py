"""Log-probabilities of tokens from last hidden states: few logits at a time, sums in float32.

Shapes: N places, H hidden size, V vocabulary, M tokens that are asked about at a place.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlef.learner.head import OutputHead

LOGIT_BYTES = {"cpu": 2**26, "cuda": 2**30}
"""Float32 logits that exist at once, by kind of device; beside them stands one more tensor of their
size, or two in the backward pass. Larger parts are no faster: they leave a CPU's caches."""
_LEAST = -1e4
"""Of log-probabilities where they are summed up: e to this is 0, and so is 0 times this."""


class TokenLogprobs(NamedTuple):
    """What a model says of tokens, float32."""

    logprobs: Tensor
    """(N,), or (N, M) where several tokens were asked about at each place."""
    entropy: Tensor
    """(N,) in nats, of the distributions the tokens were drawn from; 0 unless it was asked for."""


def token_logprobs(
    states: Tensor,
    tokens: Tensor,
    head: OutputHead,
    temperature: float = 1.0,
    *,
    with_entropy: bool = False,
    most_bytes: int | None = None,
) -> TokenLogprobs:
    """Returns log-probabilities of tokens, and entropies, both with gradient.

    Logits are float32, products with the output embedding run in the dtype that autocast asks for,
    on a CPU always in float32, and what they add up to is float32. The gradient of the output
    embedding is summed up in float32 over the parts, so that their size does not change it. The
    backward pass computes logits anew. (``torch.nn.functional.linear_cross_entropy`` of torch 2.13
    has neither entropy nor temperature nor cap, and older torch does not have it.)

    Args:
        states: (N, H) last hidden states in front of the tokens.
        tokens: (N,) int64, or (N, M).
        head: The model's.
        temperature: What logits are divided by.
        with_entropy: Also compute entropies: about half as much time again.
        most_bytes: Of float32 logits that exist at once; ``None``: ``LOGIT_BYTES``.
    """
    how = _how(states, head, temperature, most_bytes)._replace(with_entropy=with_entropy)
    ids = tokens if tokens.ndim == 2 else tokens[:, None]
    found, entropy = _Logprobs.apply(states, head.weight, head.bias, ids, how)  # type: ignore[no-untyped-call]
    return TokenLogprobs(found if tokens.ndim == 2 else found[:, 0], entropy)


@torch.no_grad()
def likeliest_tokens(
    states: Tensor,
    head: OutputHead,
    count: int,
    temperature: float = 1.0,
    *,
    most_bytes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the likeliest next tokens, the likeliest first, and their probabilities.

    Args:
        states: (N, H) last hidden states.
        head: The model's.
        count: M, how many at each place; the whole vocabulary where that is smaller.
        temperature: What logits are divided by.
        most_bytes: As for ``token_logprobs``.

    Returns:
        (N, M) int64 ids, and (N, M) float32 probabilities that add up to 1 over these tokens.
    """
    how = _how(states, head, temperature, most_bytes)
    count = min(count, head.shape[0])
    found = []
    with torch.autocast(states.device.type, enabled=False):
        weight, bias = head.weight.to(how.dtype), _wide(head.bias)
        for start in range(0, max(1, len(states)), how.rows):
            part = states[start : start + how.rows].to(how.dtype)
            values, ids = _logits(part, weight, bias, how).topk(count)
            found.append((ids, values.softmax(1)))
    ids, probs = (torch.cat(parts) for parts in zip(*found, strict=True))
    return ids, probs.float()


def _how(states: Tensor, head: OutputHead, temperature: float, most_bytes: int | None) -> "_How":
    most = most_bytes or LOGIT_BYTES.get(states.device.type, LOGIT_BYTES["cuda"])
    rows = max(1, most // (4 * head.shape[0]))
    return _How(_dtype_of_products(states), head.scale, head.cap, temperature, False, rows)


def _wide(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.to(torch.promote_types(bias.dtype, torch.float32))


def _dtype_of_products(states: Tensor) -> torch.dtype:
    kind = states.device.type
    if kind == "cpu":  # has no product of 16 bits that adds up in 32
        return torch.promote_types(states.dtype, torch.float32)
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


class _How(NamedTuple):
    """Settings of ``_Logprobs``."""

    dtype: torch.dtype
    scale: float
    cap: float | None
    temperature: float
    with_entropy: bool
    rows: int


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product in float32, or as wide as the operands are."""
    if a.dtype not in (torch.bfloat16, torch.float16):
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    """(n, V) at the temperature, float32."""
    logits = _product(states, weight.t())
    if bias is not None:
        logits += bias
    if how.cap is None:
        return logits.mul_(how.scale / how.temperature)
    return logits.mul_(how.scale / how.cap).tanh_().mul_(how.cap / how.temperature)


class _Logprobs(torch.autograd.Function):
    """See ``token_logprobs``."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, how: _How
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(states.device.type, enabled=False):
            narrow, wide_bias = weight.to(how.dtype), _wide(bias)
            normalizers, logprobs, entropies = [], [], []
            for start in range(0, max(1, len(states)), how.rows):
                part, chosen = states[start : start + how.rows], tokens[start : start + how.rows]
                logits = _logits(part.to(how.dtype), narrow, wide_bias, how)
                normalizer = logits.logsumexp(1)
                normalizers.append(normalizer)
                logprobs.append(logits.gather(1, chosen) - normalizer[:, None])
                if how.with_entropy:
                    logits.sub_(normalizer[:, None]).clamp_(min=_LEAST)
                    entropies.append(-torch.linalg.vecdot(logits.exp(), logits))
        found = torch.cat(logprobs)
        entropy = torch.cat(entropies) if how.with_entropy else torch.zeros_like(found[:, 0])
        ctx.how = how
        ctx.save_for_backward(states, weight, bias, tokens, torch.cat(normalizers), entropy)
        if not how.with_entropy:
            ctx.mark_non_differentiable(entropy)
        return found, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logprobs: Tensor, of_entropy: Tensor | None) -> Any:
        states, weight, bias, tokens, normalizers, entropy = ctx.saved_tensors
        how: _How = ctx.how
        wants_states, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        narrow = weight.to(how.dtype)
        wide = torch.promote_types(how.dtype, torch.float32)
        wide_bias = None if bias is None else bias.to(wide)
        d_states = torch.empty_like(states) if wants_states else None
        d_weight = torch.zeros_like(weight, dtype=wide) if wants_weight else None
        d_bias = torch.zeros_like(bias, dtype=wide) if wants_bias else None
        for start in range(0, len(states), how.rows):
            piece = slice(start, start + how.rows)
            part = states[piece].to(how.dtype)
            of_entropies = of_entropy[piece, None] if how.with_entropy else None  # type: ignore[index]
            slope = _of_logits(
                _logits(part, narrow, wide_bias, how),
                normalizers[piece, None],
                tokens[piece],
                of_logprobs[piece],
                of_entropies,
                entropy[piece, None],
                how,
            )
            if d_bias is not None:
                d_bias += slope.sum(0)
            slope = slope.to(how.dtype)
            if d_states is not None:
                d_states[piece] = _product(slope, narrow)
            if d_weight is not None and how.dtype == wide:
                d_weight.addmm_(slope.t(), part)
            elif d_weight is not None:
                d_weight += _product(slope.t(), part)
        return (
            d_states,
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
            None,
        )


def _of_logits(
    logits: Tensor,
    normalizers: Tensor,
    tokens: Tensor,
    of_logprobs: Tensor,
    of_entropy: Tensor | None,
    entropy: Tensor,
    how: _How,
) -> Tensor:
    """Gradient of the product with the output embedding, (n, V); takes the place of the logits.

    d logprob / d z_j = [j is the token] - p_j        d entropy / d z_j = -p_j (log p_j + entropy)

    So of any number of tokens at a place no more than a vocabulary of numbers is needed.
    """
    total = of_logprobs.sum(1, keepdim=True)
    bend = None
    if how.cap is not None:
        bend = (logits * (how.temperature / how.cap)).square_().neg_().add_(1)
    slope = logits.sub_(normalizers)
    if of_entropy is None:
        slope.exp_().mul_(-total)
    else:
        chances = slope.clamp_(min=_LEAST).exp()
        slope.add_(entropy).mul_(of_entropy).add_(total).mul_(chances).neg_()
    slope.scatter_add_(1, tokens, of_logprobs.to(slope.dtype))
    if bend is not None:
        slope.mul_(bend)
    return slope.mul_(how.scale / how.temperature)
