"""Policy and critic: what is read from a language model's hidden states, and where.

Shapes: B rollouts, L tokens, U turns, H hidden size, V vocabulary, N action tokens of a batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rlef.algorithms import token_entropy
from rlef.rollout import RolloutBatch

_FLOAT32_ATTENTION = "rlef_float32_sdpa"
_MAX_LOGITS = 2**25
"""Logits that exist at once; beyond, they are computed in chunks and again in the backward pass."""


class ActionLogprobs(NamedTuple):
    """What the policy says of the tokens that were sampled."""

    logprobs: Tensor
    """(B, L) float32, log-probability of each action token given all before it, 0 elsewhere."""
    entropy: Tensor
    """(B, L) float32 in nats, of the distribution each action token was drawn from, 0 elsewhere;
    all 0 unless it was asked for."""


def action_logprobs(
    model: PreTrainedModel,
    batch: RolloutBatch,
    temperature: float = 1.0,
    *,
    with_entropy: bool = False,
) -> ActionLogprobs:
    """Returns log-probabilities and entropies of a batch's action tokens.

    Logits exist for action tokens only, and for at most a few thousand of them at once.

    Args:
        model: A causal language model whose logits are its output embedding of its last hidden
            states (``check_output_head`` makes sure).
        batch: The rollouts, on the model's device.
        temperature: What sampling divided the logits by.
        with_entropy: Also compute entropies, which costs about as much as the logits.
    """
    hidden = last_hidden_states(model, batch)
    is_action = batch.action_mask
    rows, columns = is_action.nonzero(as_tuple=True)
    states = hidden[rows, columns - 1]  # (N, H): the state before a token predicts it
    tokens = batch.token_ids[rows, columns]
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    vocabulary = head.weight.shape[0]
    size = max(1, _MAX_LOGITS // vocabulary)
    parts = []
    for start in range(0, len(tokens), size):
        piece = slice(start, start + size)
        part = (states[piece], tokens[piece], head, temperature, with_entropy)
        if len(tokens) > size and torch.is_grad_enabled():
            parts.append(checkpoint(_token_logprobs, *part, use_reentrant=False))
        else:
            parts.append(_token_logprobs(*part))
    logprobs = hidden.new_zeros(is_action.shape, dtype=torch.float32)
    entropy = torch.zeros_like(logprobs)
    if parts:
        flat_logprobs, flat_entropy = (torch.cat(column) for column in zip(*parts, strict=True))
        logprobs = logprobs.index_put((rows, columns), flat_logprobs)
        entropy = entropy.index_put((rows, columns), flat_entropy)
    return ActionLogprobs(logprobs, entropy)


def _token_logprobs(
    states: Tensor, tokens: Tensor, head: nn.Module, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    logits = head(states).float() / temperature
    logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)
    entropy = token_entropy(logits) if with_entropy else torch.zeros_like(logprobs)
    return logprobs, entropy


def last_hidden_states(model: PreTrainedModel, batch: RolloutBatch) -> Tensor:
    """Returns (B, L, H) hidden states after the last layer and its norm."""
    # No mask: padding stands on the right, where causal attention never looks.
    output = model.base_model(input_ids=batch.token_ids, use_cache=False)
    hidden: Tensor = output.last_hidden_state
    return hidden


@torch.no_grad()
def check_output_head(model: PreTrainedModel) -> None:
    """Makes sure that a model's logits are its output embedding of its last hidden states.

    Raises:
        ValueError: They are not, as where a model caps or scales its logits.
    """
    device = model.device
    ids = torch.arange(1, 9, device=device)[None] % model.config.vocab_size
    was_training = model.training
    model.train(False)
    try:
        output = model.base_model(input_ids=ids, use_cache=False)
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        ours = head(output.last_hidden_state).float()
        theirs = model(input_ids=ids, use_cache=False).logits.float()
    finally:
        model.train(was_training)
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
        raise ValueError(
            f"{type(model).__name__} changes its logits after the output embedding, which the "
            "learner does not do; allowed: models whose logits are the output embedding of the "
            "last hidden states"
        )


def multiplies_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in float32."""
    if device.type == "cpu":
        capabilities: Callable[[], dict[str, object]]
        capabilities = getattr(torch.cpu, "get_capabilities", dict)  # not in all versions
        able = capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def use_float32_attention(model: PreTrainedModel) -> None:
    """Keeps attention in float32 under autocast, where torch's own is slower in bfloat16: on CPUs.

    Its backward pass takes twice as long there as in float32 (torch 2.13), while matrix products
    are two to three times as fast. Models with another attention than ``sdpa`` are left alone.
    """
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_FLOAT32_ATTENTION, _float32_attention)
        AttentionMaskInterface.register(_FLOAT32_ATTENTION, sdpa_mask)
        model.set_attn_implementation(_FLOAT32_ATTENTION)


def _float32_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    with torch.autocast(query.device.type, enabled=False):
        return sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), *args, **kwargs
        )


class Critic(nn.Module):
    """The value function: a backbone of its own and a linear head.

    Args:
        backbone: A language model's weights, copied from the policy's first ones (RLEF, A.1).
        seed: Of the head's random weights; they are drawn from N(0, 1 / H), the bias is 0.
        per_token: Values of tokens rather than of turns.
    """

    def __init__(self, backbone: PreTrainedModel, seed: int, *, per_token: bool = False) -> None:
        super().__init__()
        self.backbone = backbone.base_model
        self.per_token = per_token
        hidden_size = int(backbone.config.get_text_config().hidden_size)
        self.head = nn.Linear(hidden_size, 1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            weight = torch.randn((1, hidden_size), generator=generator) / hidden_size**0.5
            self.head.weight.copy_(weight)
            self.head.bias.zero_()
        self.head.to(backbone.device)

    def forward(self, batch: RolloutBatch) -> Tensor:
        """Returns the values of a batch, float32, 0 where there is no turn or no action token.

        Of turns: (B, U), V(c_t) at the last token of turn t's prompt. Of tokens: (B, L), before
        each action token, that is at the token in front of it; so the first one of a turn has
        the turn's value. What stands after the last of these is not run: no value depends on it.
        """
        is_action = batch.action_mask
        last = is_action.nonzero()[:, 1].max() - 1 if self.per_token else batch.prompt_ends.max()
        length = int(last) + 1
        output = self.backbone(input_ids=batch.token_ids[:, :length], use_cache=False)
        if self.per_token:
            rows, columns = is_action.nonzero(as_tuple=True)
            found = self._values(output.last_hidden_state[rows, columns - 1])
            return found.new_zeros(is_action.shape).index_put((rows, columns), found)
        rows = torch.arange(len(batch), device=batch.token_ids.device)[:, None]
        values = self._values(output.last_hidden_state[rows, batch.prompt_ends])
        return torch.where(batch.turn_mask, values, torch.zeros_like(values))

    def _values(self, states: Tensor) -> Tensor:
        """(..., H) to (...)."""
        # Not self.head(...): autocast would round the values to bfloat16.
        return (states.float() * self.head.weight[0]).sum(-1) + self.head.bias


def turn_values(values: Tensor, batch: RolloutBatch) -> Tensor:
    """Returns what was found before each turn's first token, (B, U), of (B, L) or (B, U) itself."""
    if values.shape == batch.turn_mask.shape:
        return values
    first = (batch.prompt_ends + 1).clamp(max=values.shape[1] - 1)
    return torch.where(batch.turn_mask, values.gather(1, first), torch.zeros_like(first).float())
