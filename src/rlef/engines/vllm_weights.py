"""New weights for a running vLLM, by its own four phases with a transfer engine of ours.

The learner may be in vLLM's process, or send buckets there (``transfer``). If vLLM has one worker,
that is the same process and reads the tensors themselves; several are other processes and get
buckets through shared memory.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from vllm.distributed.weight_transfer import WeightTransferEngine, WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import WeightTransferInitInfo, WeightTransferUpdateInfo

from rlef.engines.transfer import BUCKET_BYTES, Bucket, Dtypes, Unpacker, in_buckets
from rlef.engines.types import Weights

BACKEND = "rlef"
"""Name of our transfer engine in vLLM's settings."""
WORKER_EXTENSION = f"{__name__}.Registered"
_MEMORY = Path("/dev/shm")
_UNKNOWN: Dtypes = {}


def send(
    call: Callable[..., Any], weights: Weights, workers: int, dtypes: Dtypes = _UNKNOWN
) -> None:
    """Replaces the weights of all workers; their storage, and so CUDA graphs on it, stays.

    Args:
        call: Calls a method of vLLM's workers: (name, **keywords).
        weights: Read one by one.
        workers: Of vLLM.
        dtypes: See ``transfer.buckets``. One worker reads the tensors themselves, and rounds them
            as it copies them.

    Raises:
        ValueError: A parameter of the model got nothing.
    """
    call("start_weight_update")
    if workers == 1:
        for part in _parts(weights.tensors()):
            call("update_weights", update_info={"tensors": part})
    else:
        for bucket in in_buckets(weights, checkpoint_names=True, dtypes=dtypes):
            with _shared(bucket) as there:
                call("update_weights", update_info=there)
    call("finish_weight_update")


def _parts(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[list[tuple[str, Tensor]]]:
    part: list[tuple[str, Tensor]] = []
    size = 0
    for name, tensor in tensors:
        if part and size + tensor.nbytes > BUCKET_BYTES:
            yield part
            part, size = [], 0
        part.append((name, tensor))
        size += tensor.nbytes
    if part:
        yield part


@contextmanager
def _shared(bucket: Bucket) -> Iterator[dict[str, Any]]:
    number, path = tempfile.mkstemp(prefix="rlef-", dir=_MEMORY if _MEMORY.is_dir() else None)
    os.close(number)
    try:
        bucket.data.tofile(path)
        yield {"bucket": replace(bucket, data=np.empty(0, np.uint8)), "path": path}
    finally:
        os.unlink(path)


# All below runs in vLLM's workers.


class Registered:
    """vLLM's workers import it by its name, and so this module, which registers the engine."""

    def held_dtypes(self) -> Dtypes:
        """See ``TransferEngine.held``; of vLLM's own backends nothing is known."""
        engine: Any = getattr(self, "weight_transfer_engine", None)
        return dict(engine.held) if isinstance(engine, TransferEngine) else {}


@dataclass
class Nothing(WeightTransferInitInfo):  # type: ignore[misc]
    """What our engine has to be told before the first weights."""


@dataclass
class Part(WeightTransferUpdateInfo):  # type: ignore[misc]
    """Tensors of a learner in this process, or a bucket and the file that holds its bytes."""

    tensors: Sequence[tuple[str, Tensor]] = ()
    bucket: Bucket | None = None
    path: str = ""


class Destinations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it: in which dtypes tensors arrive that a model loads.

    vLLM joins and cuts what it loads (three projections are one parameter), so its own names do not
    tell. But each tensor is copied, as it is or a part of it, into a parameter of some dtype.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name = ""
        self._memory = range(0)
        self._found: defaultdict[str, set[torch.dtype]] = defaultdict(set)

    def watch(self, named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Passes tensors on, and remembers which one is loaded now."""
        for name, tensor in named:
            self._name, start = name, tensor.data_ptr()
            self._memory = range(start, start + tensor.nbytes)
            yield name, tensor
        self._memory = range(0)

    def dtypes(self) -> dict[str, str]:
        """Returns that of each tensor which was copied into parameters of one dtype only."""
        return {
            name: str(*found).removeprefix("torch.")
            for name, found in self._found.items()
            if len(found) == 1
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Looks at copies; what was computed of a tensor first lies elsewhere, and counts not."""
        if func is torch.ops.aten.copy_.default:
            to, of = args[:2]
            if of.device.type != "meta" and of.data_ptr() in self._memory:
                self._found[self._name].add(to.dtype)
        return func(*args, **(kwargs or {}))


class TransferEngine(WeightTransferEngine):  # type: ignore[misc]
    """vLLM's side of ``send``, in each worker.

    Attributes:
        held: see ``PolicyEngine.held_dtypes``; known once weights have come.
    """

    init_info_cls = Nothing
    update_info_cls = Part

    def init_transfer_engine(self, init_info: Nothing) -> None:
        """There is nobody to meet."""
        self.held: dict[str, str] = {}
        self._destinations: Destinations | None = None

    def start_weight_update(self) -> None:
        """Lets the model take weights by their names in checkpoints, as when it was loaded."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        self._unpacker = Unpacker()
        self._arrived: set[str] | None = set()
        self._destinations = None if self.held else Destinations()
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Loads a part. Base class: it waits for a GPU in any case, which a CPU has not."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    @torch.no_grad()
    def receive_weights(self, update_info: Part) -> None:
        """Loads a part, and notes which parameters got something, if the model says so."""
        tensors: Iterable[tuple[str, Tensor]] = update_info.tensors
        if update_info.bucket is not None:
            # vLLM keeps tensors until their layer is complete, and the file does not live so long
            data = np.fromfile(update_info.path, np.uint8)
            tensors = self._unpacker.take(replace(update_info.bucket, data=data))
        tensors = ((name, tensor.detach()) for name, tensor in tensors)
        watch = self._destinations
        with watch or nullcontext():
            found = self.model.load_weights(tensors if watch is None else watch.watch(tensors))
        if found is None:
            self._arrived = None
        elif self._arrived is not None:
            self._arrived |= set(found)

    def finish_weight_update(self) -> None:
        """Puts the new weights in use.

        Raises:
            ValueError: A parameter got nothing.
        """
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        if self._destinations is not None:
            self.held = self._destinations.dtypes()
        finalize_layerwise_reload(self.model, self.model_config)
        for layer in self.model.modules():
            # a head that is tied to the embedding gets no weights of its own, and vLLM 0.32 leaves
            # the copy that it packed for the CPU as it was
            if hasattr(layer, "cpu_linear") and layer.weight.numel():
                layer.quant_method.process_weights_after_loading(layer)
        if self._arrived is None:
            return
        missing = sorted({name for name, _ in self.model.named_parameters()} - self._arrived)
        if missing:
            raise ValueError(
                f"{len(missing)} of its parameters got no weights, {missing[0]} for one"
            )

    def shutdown(self) -> None:
        """There is nothing to give back."""


WeightTransferEngineFactory.register_engine(BACKEND, TransferEngine)
