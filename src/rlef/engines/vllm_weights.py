"""New weights for a running vLLM: in its own process by reference, in its workers by shared memory.

Everything but ``send`` runs in vLLM's workers, which import this module by its name.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_BUCKET_BYTES = 1 << 28
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a bucket a tensor lies."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def send(
    call: Callable[..., list[Any]], tensors: Iterable[tuple[str, Tensor]], workers: int
) -> None:
    """Replaces the weights of all workers; their storage, and so CUDA graphs on it, stays.

    Args:
        call: ``collective_rpc`` of vLLM's engine.
        tensors: All of the model's, by their names in a checkpoint; read one by one.
        workers: Of vLLM. A single one is in this process and reads the tensors themselves; several
            are other processes and get them through shared memory, 256 MiB at a time.

    Raises:
        ValueError: A parameter of the model got nothing.
    """
    call(_start)
    if workers == 1:
        found = [call(_take, args=(tensors,))[0]]
    else:
        found = [_send_bucket(call, bucket) for bucket in _buckets(tensors)]
    known = [names for names in found if names is not None]
    arrived = set().union(*known) if len(known) == len(found) else None
    missing = call(_finish, args=(arrived,))[0]
    if missing:
        raise ValueError(f"{len(missing)} of its parameters got no weights, {missing[0]} for one")


def _buckets(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[list[tuple[str, Tensor]]]:
    bucket: list[tuple[str, Tensor]] = []
    size = 0
    for name, tensor in tensors:
        if bucket and size + tensor.nbytes > _BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append((name, tensor))
        size += tensor.nbytes
    if bucket:
        yield bucket


def _send_bucket(
    call: Callable[..., list[Any]], bucket: Sequence[tuple[str, Tensor]]
) -> set[str] | None:
    places = []
    start = 0
    for name, tensor in bucket:
        end = start + tensor.nbytes
        places.append(_Place(name, tensor.dtype, tuple(tensor.shape), start, end))
        start = -(-end // 16) * 16  # aligned for every dtype
    number, path = tempfile.mkstemp(prefix="rlef-", dir=_MEMORY if _MEMORY.is_dir() else None)
    os.close(number)
    try:
        flat = torch.from_file(path, shared=True, size=start, dtype=torch.uint8)
        for place, (_, tensor) in zip(places, bucket, strict=True):
            flat[place.start : place.end].view(place.dtype).copy_(tensor.detach().flatten())
        found: set[str] | None = call(_take_bucket, args=(path, start, places))[0]
    finally:
        os.unlink(path)
    return found


def _start(worker: Any) -> None:
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

    with set_current_vllm_config(worker.vllm_config):
        initialize_layerwise_reload(worker.get_model())


def _take(worker: Any, tensors: Iterable[tuple[str, Tensor]]) -> set[str] | None:
    """Returns the names of the worker's parameters that got something, if its model says so."""
    from vllm.config import set_current_vllm_config

    with torch.no_grad(), set_current_vllm_config(worker.vllm_config):
        found = worker.get_model().load_weights((name, t.detach()) for name, t in tensors)
    return None if found is None else set(found)


def _take_bucket(worker: Any, path: str, size: int, places: Sequence[_Place]) -> set[str] | None:
    flat = torch.from_file(path, shared=True, size=size, dtype=torch.uint8)
    # vLLM keeps tensors until their layer is complete; the bucket does not live so long
    return _take(
        worker,
        (
            (place.name, flat[place.start : place.end].view(place.dtype).view(place.shape).clone())
            for place in places
        ),
    )


def _finish(worker: Any, arrived: set[str] | None) -> list[str]:
    """Puts the new weights in use; returns the names of parameters that got nothing."""
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

    model = worker.get_model()
    with set_current_vllm_config(worker.vllm_config):
        finalize_layerwise_reload(model, worker.model_config)
        for layer in model.modules():
            # a head that is tied to the embedding gets no weights of its own, and vLLM 0.32 leaves
            # the copy that it packed for the CPU as it was
            if hasattr(layer, "cpu_linear") and layer.weight.numel():
                layer.quant_method.process_weights_after_loading(layer)
    if arrived is None:
        return []
    return sorted({name for name, _ in model.named_parameters()} - arrived)
