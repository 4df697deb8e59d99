"""Policy and critic: what is read from a language model's hidden states, and where.

Shapes: B rollouts, L tokens, U turns, H hidden size, V vocabulary, N action tokens of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
        model: A causal language model whose logits are what ``OutputHead`` makes of its last
            hidden states (``check_output_head`` makes sure).
        batch: The rollouts, on the model's device.
        temperature: What sampling divided the logits by.
        with_entropy: Also compute entropies, which costs about as much as the logits.
    """
    hidden = last_hidden_states(model, batch)
    is_action = batch.action_mask
    rows, columns = is_action.nonzero(as_tuple=True)
    states = hidden[rows, columns - 1]  # (N, H): the state before a token predicts it
    tokens = batch.token_ids[rows, columns]
    head = OutputHead.of(model)
    size = max(1, _MAX_LOGITS // head.vocabulary)
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
    states: Tensor, tokens: Tensor, head: "OutputHead", temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    logits = head.logits(states) / temperature
    logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)
    entropy = token_entropy(logits) if with_entropy else torch.zeros_like(logprobs)
    return logprobs, entropy


def body(model: PreTrainedModel) -> PreTrainedModel:
    """Returns a model without its output embedding."""
    base: Any = model.base_model
    if base is model:  # Llama 4 has its body under another name than it says
        base = model.model
    found: PreTrainedModel = base
    return found


def last_hidden_states(model: PreTrainedModel, batch: RolloutBatch) -> Tensor:
    """Returns (B, L, H) hidden states after the last layer and its norm."""
    # No mask: padding stands on the right, where causal attention never looks.
    output = body(model)(input_ids=batch.token_ids, use_cache=False)
    hidden: Tensor = output.last_hidden_state
    return hidden


@dataclass(frozen=True, slots=True)
class OutputHead:
    """From last hidden states to logits: the output embedding, then a scale, then a cap.

    Attributes:
        embedding: (..., H) to (..., V).
        scale: what logits are multiplied by (Cohere, Granite, Falcon-H1).
        cap: bound of the logits, ``cap * tanh(logits / cap)`` (Gemma); ``None``: none.
    """

    embedding: nn.Module
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, model: PreTrainedModel) -> "OutputHead":
        """Returns a model's head, as its settings have it."""
        settings = model.config.get_text_config()
        scale = 1.0
        for name, power in (("logit_scale", 1), ("lm_head_multiplier", 1), ("logits_scaling", -1)):
            factor = getattr(settings, name, None)
            if isinstance(factor, int | float):
                scale *= float(factor) ** power
        cap = getattr(settings, "final_logit_softcapping", None)
        embedding: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return cls(embedding, scale, cap)

    @property
    def vocabulary(self) -> int:
        """V, rows of the output embedding."""
        return self._shape[0]

    @property
    def width(self) -> int:
        """H, columns of the output embedding."""
        return self._shape[1]

    @property
    def _shape(self) -> torch.Size:
        weight = self.embedding.weight
        assert isinstance(weight, Tensor)
        return weight.shape

    def logits(self, states: Tensor) -> Tensor:
        """Returns float32 logits of (..., H) states."""
        logits: Tensor = self.embedding(states).float()
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


@torch.no_grad()
def check_output_head(model: PreTrainedModel) -> None:
    """Makes sure that a model's logits are what ``OutputHead`` makes of its last hidden states.

    Also of states a thousand times as large as its own, so that a cap shows in untrained models.

    Raises:
        ValueError: They are not.
    """
    head = OutputHead.of(model)
    was_training = model.training
    model.train(False)
    try:
        for gain in (1.0, 1000.0):
            states, theirs = _enlarged(model, gain)
            if not _agree(head, states, theirs):
                raise ValueError(
                    f"{type(model).__name__} makes other logits of its last hidden states than the "
                    "learner does; allowed: models whose logits are the output embedding of these "
                    "states, also scaled (as by Granite) or capped (as by Gemma)"
                )
    finally:
        model.train(was_training)


def _agree(head: OutputHead, states: Tensor | None, theirs: Tensor) -> bool:
    if states is None or states.shape[-1] != head.width or theirs.shape[-1] != head.vocabulary:
        return False
    near = 1e-4 * float(theirs.abs().max())
    return torch.allclose(head.logits(states), theirs, rtol=1e-4, atol=near)


def _enlarged(model: PreTrainedModel, gain: float) -> tuple[Tensor | None, Tensor]:
    """Returns last hidden states times ``gain``, and what logits the model itself makes of them.

    States are ``None`` where they cannot be reached.
    """
    states: list[Tensor] = []

    def enlarge(_module: nn.Module, _words: object, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state * gain
        states.append(output.last_hidden_state)
        return output

    ids = torch.arange(1, 9, device=model.device)[None] % model.config.get_text_config().vocab_size
    inner = body(model)
    parts = [inner, *(part for name, part in inner.named_children() if name == "decoder")]  # OPT
    hooks = [part.register_forward_hook(enlarge) for part in parts]
    try:
        logits: Tensor = model(input_ids=ids, use_cache=False).logits.float()
    finally:
        for hook in hooks:
            hook.remove()
    return states[-1] if states else None, logits


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
        self.backbone = body(backbone)
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
