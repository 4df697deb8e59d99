"""A model whose weights are only read, a tensor at a time, from the files that hold them.

Its parameters are parts of the files, in the files' dtypes: they take no memory that the machine
could not take back. The first rank of several has one, to send to the others.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.initialization import guard_torch_init_functions

from rlef.engines.load import StoredTensor, load_model, stored_tensors


def load_to_read(name: str, dtype: torch.dtype) -> PreTrainedModel:
    """Loads a model on the CPU whose weights are only read, to become weights of some dtype.

    Those of 16 bits are not made float32 for that, see the module; run its passes ``in_float32``.
    Buffers that no file holds have the values that they have in float32 (Gemma's scale of
    embeddings).

    What ``transformers`` joins when it loads a model (fused experts) lies in memory, as joined; and
    all of a model does whose files are in an unusual dtype, or whose weights become bfloat16 and
    are something else in its files.

    Args:
        name: As for ``load_model``.
        dtype: What the weights will become.

    Raises:
        ModelError: It cannot be loaded.
    """
    stored = stored_tensors(name) if dtype is torch.float32 else {}
    loading = _most(stored)
    if loading in (None, dtype):
        return load_model(name, "cpu", dtype)
    model = load_model(name, "cpu", loading)
    apart = {key: tensor for key, tensor in stored.items() if tensor.dtype is not loading}
    if not (_widen_buffers(model) and _read_apart(model, apart)):
        return load_model(name, "cpu", dtype)
    model.config.dtype = dtype
    return model


def _most(stored: Mapping[str, StoredTensor]) -> torch.dtype | None:
    """The dtype that most numbers of the files have."""
    counts: dict[torch.dtype, int] = {}
    for tensor in stored.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.size
    return max(counts, key=counts.__getitem__, default=None)


@torch.no_grad()
def _widen_buffers(model: PreTrainedModel) -> bool:
    """Makes buffers float32; returns whether all came to what rounds to the ones before.

    Those of no file were rounded when they were made. ``transformers`` makes them anew as it does
    when it loads a model: what it has loaded it leaves alone.
    """
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    owners = {module: part for part in parts for module in part.modules()}  # the innermost one
    for module, owner in owners.items():
        for name in module._non_persistent_buffers_set:
            rounded = module._buffers[name]
            if rounded is None or not rounded.is_floating_point() or rounded.itemsize > 2:
                continue
            module._buffers[name] = None
            for loaded in (*module.parameters(), *module.buffers()):
                setattr(loaded, "_is_hf_initialized", True)  # noqa: B010
            module._buffers[name] = made = rounded.float()
            try:
                with guard_torch_init_functions():
                    owner._init_weights(module)  # type: ignore[no-untyped-call]
            except Exception:  # of any kind: it is somebody else's file
                return False
            if not torch.equal(made.to(rounded.dtype), rounded):
                return False
    return True


@torch.no_grad()
def _read_apart(model: PreTrainedModel, stored: Mapping[str, StoredTensor]) -> bool:
    """Takes tensors from their files that were rounded in loading; returns whether all are found.

    A few of a model are in another dtype than the rest: norms, routers, states of Mamba.
    """
    ours: dict[str, Tensor] = model.state_dict(keep_vars=True)
    for name, tensor in stored.items():
        with safe_open(tensor.file, "pt") as file:
            theirs = file.get_tensor(name)
        there = ours.get(name)
        if there is None or not torch.equal(theirs.to(there.dtype), there):
            return False  # it has another name or shape in the model
        there.data = theirs
    return True


@contextmanager
def in_float32(model: PreTrainedModel, layers: list[nn.Module]) -> Iterator[None]:
    """Within it passes of the model run as if its weights were float32: a layer at a time is.

    Args:
        model: As ``load_to_read`` returns it.
        layers: Its layers; all else is float32 all the time.
    """
    inside = {id(parameter) for layer in layers for parameter in layer.parameters()}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    with ExitStack() as stack:
        _widen(outside, stack)
        for layer in layers:
            for handle in _hooks(layer):
                stack.callback(handle.remove)
        yield


def _hooks(layer: nn.Module) -> list[RemovableHandle]:
    parameters, passing = list(layer.parameters()), ExitStack()
    before = lambda *_: _widen(parameters, passing)  # noqa: E731
    after = lambda *_: passing.close()  # noqa: E731
    return [
        layer.register_forward_pre_hook(before),
        layer.register_forward_hook(after, always_call=True),
    ]


@torch.no_grad()
def _widen(parameters: list[nn.Parameter], until: ExitStack) -> None:
    for parameter in parameters:
        if parameter.is_floating_point() and parameter.itemsize < 4:
            until.callback(setattr, parameter, "data", parameter.data)
            parameter.data = parameter.data.float()
