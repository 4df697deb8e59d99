"""Attention within each sequence of a packed row, and the check that a model can read such rows.

``transformers`` calls the attention function that a model's settings name. Ours, given
``sequences``, runs the model's own function on one sequence after another, or torch's kernel for
sequences of many lengths where that can do the same. Without, as in sampling, it is the model's.

Shapes: T tokens of a packed row, A heads, D head size.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from rlef.learner.head import body
from rlef.learner.packing import Packed, Sequences
from rlef.learner.precision import Precision, autocast, float32_attention

Attend = Callable[..., tuple[Tensor, Tensor | None]]
"""An attention function of ``transformers``: of module, query, key, value (1, A, T, D), mask, and
words; returns (1, T, A, D) and weights or ``None``."""

OWN = {"sdpa": "rlef_packed_sdpa", "eager": "rlef_packed_eager"}
"""Ours, by whose attention it is."""
_PROBE = "rlef_probe"
_SAMPLES = [[*range(11, 40, 3)], [*range(90, 20, -3)], [7], [*range(5, 38, 2)]]
"""Token ids of a few sequences."""
_MIXED_IN = ("softcap", "s_aux", "position_bias", "head_mask")
"""Words of attention that torch's kernel knows nothing of."""


def _sdpa(
    module: nn.Module, query: Tensor, *rest: Any, **words: Any
) -> tuple[Tensor, Tensor | None]:
    """The one of ``transformers``; on a CPU in float32 at all times, as in ``precision``."""
    own = float32_attention if query.device.type == "cpu" else sdpa_attention_forward
    return own(module, query, *rest, **words)


def _eager(module: nn.Module, *rest: Any, **words: Any) -> tuple[Tensor, Tensor | None]:
    """The one that the model's own file defines."""
    own: Attend = sys.modules[type(module).__module__].eager_attention_forward
    return own(module, *rest, **words)


def _by_sequence(attend: Attend, *, additive: bool) -> Attend:
    """Returns ``attend`` for packed rows.

    Args:
        attend: For one sequence; its mask is ``None`` for all before and itself.
        additive: Whether it wants a mask at all times, of floats to be added to the scores.
    """

    def packed(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        *rest: Any,
        sequences: Sequences | None = None,
        **words: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if sequences is None:
            return attend(module, query, key, value, mask, *rest, **words)
        window: int | None = words.get("sliding_window")
        if not rest and _kernel_can(query, key, value, words):
            return _varlen(query, key, value, sequences, words.get("scaling"), window), None
        lengths = list(sequences.lengths)
        parts = zip(*(torch.split(x, lengths, 2) for x in (query, key, value)), strict=True)
        found = []
        for one in parts:
            length = one[0].shape[2]
            look = None
            if additive or (window is not None and length > window):
                look = _mask(length, window, query.device)
                if additive:
                    look = torch.where(look, 0.0, torch.finfo(query.dtype).min).to(query.dtype)
            found.append(attend(module, *one, look, *rest, **words)[0])
        return torch.cat(found, 1), None

    return packed


def _mask(length: int, window: int | None, device: torch.device) -> Tensor:
    """(1, 1, length, length) bool, True where a token, by row, looks at another."""
    places = torch.arange(length, device=device)
    behind = places[:, None] - places
    look = behind >= 0
    return (look if window is None else look & (behind < window))[None, None]


def _kernel_can(query: Tensor, key: Tensor, value: Tensor, words: dict[str, Any]) -> bool:
    """Whether torch's kernel for sequences of many lengths does the same: on CUDA, in 16 bits."""
    size = query.shape[-1]
    return (
        query.is_cuda
        and _computes_in(query) in (torch.float16, torch.bfloat16)
        and size == key.shape[-1] == value.shape[-1] <= 256
        and size % 8 == 0
        and not words.get("dropout")
        and all(words.get(name) is None for name in _MIXED_IN)
        and "window_size" in _varlen_words()
    )


def _computes_in(query: Tensor) -> torch.dtype:
    if torch.is_autocast_enabled(query.device.type):
        return torch.get_autocast_dtype(query.device.type)
    return query.dtype


@cache
def _varlen_words() -> frozenset[str]:
    """Arguments of torch's kernel, none where it has no such: it came with 2.10, and changed."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def _varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """(1, T, A, D) of causal attention by torch's kernel."""
    from torch.nn.attention.varlen import varlen_attn

    groups = query.shape[1] // key.shape[1]
    ends, longest = sequences.ends, sequences.longest
    words: dict[str, Any] = {
        "scale": scaling,
        # A window of w tokens is the token itself and w - 1 before it.
        "window_size": (-1, 0) if window is None else (window - 1, 0),
    }
    if groups > 1 and "enable_gqa" in _varlen_words():
        words["enable_gqa"] = True
    elif groups > 1:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    dtype = _computes_in(query)
    q, k, v = (x[0].transpose(0, 1).to(dtype).contiguous() for x in (query, key, value))
    found: Any = varlen_attn(q, k, v, ends, ends, longest, longest, **words)
    return found[None]  # type: ignore[no-any-return]


def read(model: PreTrainedModel, packed: Packed) -> Tensor:
    """Runs a model without its head on what is packed, or on rows where it is not.

    Args:
        model: ``can_pack`` is true of it where ``packed.position_ids`` are given.
        packed: On the model's device.

    Returns:
        (R, T, H) last hidden states.
    """
    words: dict[str, Any] = {}
    if packed.position_ids is not None:
        # A mask of four dimensions is taken as it is by all that makes masks. So none is made: it
        # would take T * T bytes, and look at the positions first, that is, wait for the device.
        words["attention_mask"] = packed.token_ids.new_zeros((1, 1, 1, 1), dtype=torch.bool)
        words["position_ids"] = packed.position_ids
        words["sequences"] = packed.sequences
    # Rows have no mask: padding stands on the right, where causal attention never looks.
    found: Tensor = model(input_ids=packed.token_ids, use_cache=False, **words).last_hidden_state
    return found


def can_pack(model: PreTrainedModel) -> bool:
    """Whether ``enable_packing`` has found that a model can read packed rows."""
    return model.config._attn_implementation in OWN.values()


def enable_packing(model: PreTrainedModel, precision: Precision = "float32") -> bool:
    """Makes a model read packed rows, if it can; returns whether it does.

    Models with state beside their keys and values (recurrence, convolutions), and those with
    attention by other patterns than all before a token or a window of it (chunks, ALiBi), cannot,
    and are left as they were: they read padded rows. So are those of which a few sequences come
    out otherwise when packed than alone. Copies of the model are like it.

    Args:
        model: A causal language model. Its attention becomes one of ``OWN``.
        precision: In which its passes will run.
    """
    before = model.config._attn_implementation
    name = OWN.get(before)
    if name is None or not getattr(model, "_can_set_attn_implementation", lambda: True)():
        return can_pack(model)
    register()
    was_training = model.training
    model.train(False)
    try:
        if _looks_back_only(model, before) and _reads_packed(model, name, precision):
            return True
        model.set_attn_implementation(before)
        return False
    finally:
        model.train(was_training)


def register() -> None:
    """Makes the functions of ``OWN`` known to ``transformers``."""
    for own, attend, mask in (("sdpa", _sdpa, sdpa_mask), ("eager", _eager, eager_mask)):
        AttentionInterface.register(OWN[own], _by_sequence(attend, additive=own == "eager"))
        AttentionMaskInterface.register(OWN[own], mask)


@torch.no_grad()
def _looks_back_only(model: PreTrainedModel, own: str) -> bool:
    """Whether each layer looks at all tokens before, or at the window that it tells its attention.

    Asks the masks that ``transformers`` makes, far from where a few tokens would show a window.
    """
    attend, make = (_sdpa, sdpa_mask) if own == "sdpa" else (_eager, eager_mask)
    agreed: list[bool] = []

    def probing_mask(**words: Any) -> Tensor:
        mask: Any = make(**words | {"allow_is_causal_skip": False})
        mask.pattern = words["mask_function"]
        return mask  # type: ignore[no-any-return]

    def probe(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Any,
        *rest: Any,
        **words: Any,
    ) -> tuple[Tensor, Tensor | None]:
        window = words.get("sliding_window")
        agreed.append(hasattr(mask, "pattern") and _is_window(mask.pattern, window))
        return attend(module, query, key, value, mask, *rest, **words)

    AttentionInterface.register(_PROBE, probe)
    AttentionMaskInterface.register(_PROBE, probing_mask)
    try:
        model.set_attn_implementation(_PROBE)
        _states(model, [_SAMPLES[0]])
    except Exception:  # of any kind: it is somebody else's file, made for other functions than ours
        return False
    return bool(agreed) and all(agreed)


def _is_window(pattern: Callable[..., Tensor], window: int | None) -> bool:
    """Whether a token looks at itself and all before it, or at the last ``window`` of these."""
    here = 10**7

    def looks(at: int) -> bool:
        return bool(pattern(*(torch.tensor(i) for i in (0, 0, here, at))))

    first = 0 if window is None else here - window + 1
    return (
        looks(first)
        and looks(here)
        and not looks(here + 1)
        and not looks(first - 1 if window else here + 2)
    )


def _reads_packed(model: PreTrainedModel, name: str, precision: Precision) -> bool:
    """Whether a few sequences come out the same packed and one by one."""
    near = 1e-4 if precision == "float32" and model.dtype == torch.float32 else 0.05
    try:
        model.set_attn_implementation(name)
        with autocast(precision, model.device):
            with torch.no_grad():
                alone = torch.cat([_states(model, [ids]) for ids in _SAMPLES])
                together = _states(model, _SAMPLES)
            if model.device.type == "cuda":
                _try_backward(model)
    except Exception:
        return False
    return float((alone - together).abs().max()) <= near * float(alone.abs().max())


def _try_backward(model: PreTrainedModel) -> None:
    """Raises where the kernels have no backward pass on this device."""
    with torch.enable_grad():
        weights = [p for p in model.parameters() if p.requires_grad]
        if weights:
            least = min(weights, key=Tensor.numel)
            torch.autograd.grad(_states(model, _SAMPLES).sum(), least, allow_unused=True)


def _states(model: PreTrainedModel, samples: list[list[int]]) -> Tensor:
    """(tokens, H) float32 last hidden states of sequences, packed where there are several."""
    size = int(model.config.get_text_config().vocab_size)
    lengths = torch.tensor([len(ids) for ids in samples])
    ids = torch.tensor([[i % size for ids in samples for i in ids]])
    none = ids.new_zeros(0)
    packed = Packed(
        token_ids=ids,
        position_ids=torch.cat([torch.arange(length) for length in lengths.tolist()])[None],
        sequences=Sequences.of(lengths, torch.arange(len(samples))),
        states=none,
        places=none,
        shape=(0, 0),
        targets=none,
    )
    if len(samples) == 1:
        packed = replace(packed, position_ids=None)
    return read(body(model), packed.to(model.device))[0].float()
