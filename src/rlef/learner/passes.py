"""What passes of a model take in memory, counted by running it on tensors that only have a shape.

So no formula of an architecture is needed, and no weights: the code of ``transformers`` runs as the
learner runs it, under the same autocast, with the same adapters and checkpoints, but on few layers;
what is counted is linear in layers and in tokens.

Shapes: T tokens, A heads, D head size.
"""

import copy
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.masking_utils import sdpa_mask

from rlef.learner.attention import OWN, read, register
from rlef.learner.config import LearnerConfig
from rlef.learner.head import body
from rlef.learner.models import Models, join_models
from rlef.learner.packing import Packed, Sequences
from rlef.learner.precision import autocast, resolve_precision
from rlef.learner.tally import Tally

Target = Literal["cpu", "cuda"]
"""For what kind of device a plan is made; it need not be here."""
Network = Literal["policy", "critic"]
_COUNTED = "rlef_counted"
_TOKENS = (1024, 2048)
"""With which passes are counted."""


@dataclass(frozen=True, slots=True)
class PassBytes:
    """Bytes that passes of a network's layers take beside its weights and gradients.

    Attributes:
        scoring: most in a pass without gradient.
        casts: after it, in the same autocast: weights that it rounded, and keeps for more passes.
        forward: most in a pass with gradient.
        kept: at its end, in the same autocast.
        saved: after that: what the backward pass needs.
        backward: most in that, with all gradients there already, but for that of embeddings.
    """

    scoring: int
    casts: int
    forward: int
    kept: int
    saved: int
    backward: int

    def plus(self, other: "PassBytes", times: float) -> "PassBytes":
        """Returns the sum with ``times`` the other."""
        values = {
            one.name: round(getattr(self, one.name) + times * getattr(other, one.name))
            for one in fields(self)
        }
        return PassBytes(**values)


def count_passes(
    config: PreTrainedConfig,
    learner: LearnerConfig,
    network: Network,
    target: Target,
    *,
    sharded: bool = False,
) -> Callable[[int], PassBytes]:
    """Returns what passes take, by their tokens.

    Args:
        config: Of the model.
        learner: With ``precision`` and ``frozen_dtype`` as they come out on the target.
        network: Whose passes.
        target: On what kind of device.
        sharded: Weights come in the dtype of products, layer by layer, so that passes round none.

    Raises:
        Exception: Of any kind: the model cannot run on tensors without values (experts that are
            chosen by values, for instance).
    """
    layers, few, more = numbers_of_layers(config)
    found = {
        number: _passes(shortened(config, number), learner, network, target, sharded)
        for number in {few, more}
    }

    def with_layers(tokens: int) -> PassBytes:
        if few == more:
            return found[few][tokens]
        step = found[more][tokens].plus(found[few][tokens], -1)
        return found[few][tokens].plus(step, (layers - few) / (more - few))

    low, high = (with_layers(tokens) for tokens in _TOKENS)
    step = high.plus(low, -1)
    return lambda tokens: low.plus(step, (tokens - _TOKENS[0]) / (_TOKENS[1] - _TOKENS[0]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch from writing pages about what does not run without values."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def key_value_numbers(config: PreTrainedConfig) -> int:
    """Returns how many numbers the keys and values of a token are, all layers together.

    Raises:
        Exception: As ``count_passes``.
    """
    layers, few, more = numbers_of_layers(config)
    found: dict[int, int] = {}
    for number in {few, more}:
        model: Any = shaped_model(shortened(config, number))
        with suppress(Exception):  # of models without experts, or of other kinds
            model.set_experts_implementation("batched_mm")  # which looks at no values
        trunk = body(model)
        with _quiet(), FakeTensorMode(), torch.no_grad():
            _fake(trunk)
            said = trunk(torch.zeros((1, 8), dtype=torch.int64), use_cache=True)
        cache = said["cache" if "cache" in said else "past_key_values"]  # before 5.24
        pairs = [(layer.keys, layer.values) for layer in cache.layers]
        found[number] = sum(int(x.numel()) // 8 for pair in pairs for x in pair)
    step = (found[more] - found[few]) // max(1, more - few)
    return found[few] + step * (layers - few)


def shaped_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Returns a float32 model that takes no memory, on the meta device."""
    with torch.device("meta"):
        make: Any = AutoModelForCausalLM.from_config
        model: PreTrainedModel = make(config, dtype=torch.float32)
    model.train(False)
    return model


def _passes(
    config: PreTrainedConfig,
    learner: LearnerConfig,
    network: Network,
    target: Target,
    sharded: bool,
) -> dict[int, PassBytes]:
    """Counts passes of a whole, short model, by their tokens."""
    model = shaped_model(config)
    _set_attention(model, target)
    alone: dict[str, object] = {"kl": "none", "teacher": None}
    if network == "policy":
        alone |= {"advantage": "reinforce++", "critic_lora": None}
    layers = _layers(join_models(model, learner.model_copy(update=alone), 0, 1.0), network)
    if sharded and learner.precision == "bfloat16":
        for block in blocks(layers):
            block.to(torch.bfloat16)
    all_states = network == "policy" or learner.values_per_token
    with _quiet(), FakeTensorMode():
        _fake(layers)
        return {
            tokens: _count(layers, learner, tokens, tokens if all_states else 1)
            for tokens in _TOKENS
        }


def _count(layers: PreTrainedModel, learner: LearnerConfig, tokens: int, states: int) -> PassBytes:
    device = torch.device("cpu")  # of these tensors, which are nowhere
    precision = resolve_precision(learner.precision, device)
    for embedding in (m for m in layers.modules() if isinstance(m, nn.Embedding)):
        embedding.weight.requires_grad_(False)
    trained = [p for p in layers.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    packed = _packed(tokens, states)
    known = [*layers.parameters(), *layers.buffers(), packed.token_ids, packed.states]
    known += [p.grad for p in trained if p.grad is not None]
    with Tally([*known, packed.position_ids]) as tally:  # type: ignore[list-item]
        with autocast(precision, device):
            with torch.no_grad():
                found = read(layers, packed)
            scoring = tally.peak
            del found
            casts = tally.now
        tally.begin()
        with autocast(precision, device):
            found = read(layers, packed).flatten(0, 1).index_select(0, packed.states)
            forward, kept = tally.peak, tally.now
        saved = tally.now
        tally.begin()
        found.backward(torch.empty_like(found))  # type: ignore[no-untyped-call]
        return PassBytes(scoring, casts, forward, kept, saved, tally.peak)


def _layers(models: Models, network: Network) -> PreTrainedModel:
    if network == "policy":
        return body(models.policy.model)
    assert models.critic is not None
    return models.critic.backbone


def blocks(layers: nn.Module) -> nn.ModuleList:
    """Returns a network's decoder layers, each of which is sharded by itself."""
    lists = [part for part in layers.modules() if isinstance(part, nn.ModuleList)]
    return max(lists, key=lambda part: sum(p.numel() for p in part.parameters()))


def _fake(module: nn.Module) -> None:
    """Puts tensors on the CPU that only have a shape in place of those on the meta device.

    There is no autocast on the meta device.
    """
    made: dict[int, Any] = {}
    for part in module.modules():
        for name, ours in part._parameters.items():
            if ours is not None and id(ours) not in made:
                there = torch.empty(ours.shape, dtype=ours.dtype)
                made[id(ours)] = nn.Parameter(there, requires_grad=ours.requires_grad)
            part._parameters[name] = made.get(id(ours))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.zeros(buffer.shape, dtype=buffer.dtype)


def _packed(tokens: int, states: int) -> Packed:
    """A row of two sequences of which so many states are needed."""
    half = tokens // 2
    lengths = (half, tokens - half)
    ids = torch.zeros((1, tokens), dtype=torch.int64)
    return Packed(
        token_ids=ids,
        position_ids=torch.zeros_like(ids),
        sequences=Sequences(lengths, ids, ids),
        states=torch.zeros(states, dtype=torch.int64),
        targets=ids,
        places=ids,
        shape=(1, tokens),
    )


def numbers_of_layers(config: PreTrainedConfig) -> tuple[int, int, int]:
    """Returns those of the model, and two smaller ones to count with, equal if there are no more.

    The first layer takes less than the others: what it is given is nobody's result.
    """
    layers, period = int(config.get_text_config().num_hidden_layers), _period(config)
    few = min(layers, max(2, period))
    more = few + period
    return (layers, few, more) if more <= layers else (layers, layers, layers)


def _period(config: PreTrainedConfig) -> int:
    """Of the pattern in which kinds of layers follow each other."""
    settings = config.get_text_config()
    layers = int(settings.num_hidden_layers)
    kinds = list(getattr(settings, "layer_types", None) or [])[:layers]
    sizes = range(1, len(kinds) + 1)
    return next((n for n in sizes if all(k == kinds[i % n] for i, k in enumerate(kinds))), 1)


def shortened(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """Returns the settings of a model of so many layers."""
    short = copy.deepcopy(config)
    settings = short.get_text_config()
    settings.num_hidden_layers = layers
    if getattr(settings, "layer_types", None):
        settings.layer_types = settings.layer_types[:layers]
    return short


# --- attention ------------------------------------------------------------------------------------


def _set_attention(model: PreTrainedModel, target: Target) -> None:
    if not getattr(model, "_can_set_attn_implementation", lambda: True)():
        return
    register()
    AttentionInterface.register(_COUNTED, _counted_attention)
    AttentionMaskInterface.register(_COUNTED, sdpa_mask)
    model.set_attn_implementation(OWN["sdpa"] if target == "cpu" else _COUNTED)


def _counted_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **_words: Any
) -> tuple[Tensor, None]:
    """As much memory as ``learner.attention`` takes with torch's kernel for packed rows."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and not _kernel_shares_keys():
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    here = query.device.type
    dtype = torch.get_autocast_dtype(here) if torch.is_autocast_enabled(here) else query.dtype
    q, k, v = (x[0].transpose(0, 1).to(dtype).contiguous() for x in (query, key, value))
    found: Any = _Kernel.apply(q, k, v)  # type: ignore[no-untyped-call]
    return found[None], None


def _kernel_shares_keys() -> bool:
    """Whether torch's kernel takes fewer keys than queries (torch 2.12)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return "enable_gqa" in inspect.signature(varlen_attn).parameters


class _Kernel(torch.autograd.Function):
    """Keeps what a flash attention kernel does: (T, A, D) each, a number per token and head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = torch.empty_like(query)
        normalizers = query.new_empty(query.shape[:2], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, found, normalizers)
        return found

    @staticmethod
    def backward(ctx: Any, *_of_found: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(x) for x in ctx.saved_tensors[:3])
