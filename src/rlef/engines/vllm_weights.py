"""New weights for a running vLLM, by its own four phases with a transfer engine of ours.

The learner may be in vLLM's process, or send buckets there (``transfer``). If vLLM has one worker,
that is the same process and reads the tensors themselves; several are other processes and get
buckets through shared memory.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.distributed.weight_transfer import WeightTransferEngine, WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import WeightTransferInitInfo, WeightTransferUpdateInfo

from rlef.engines.transfer import BUCKET_BYTES, Bucket, Unpacker, in_buckets
from rlef.engines.types import Weights

BACKEND = "rlef"
"""Name of our transfer engine in vLLM's settings."""
WORKER_EXTENSION = f"{__name__}.Registered"
_MEMORY = Path("/dev/shm")


def send(call: Callable[..., Any], weights: Weights, workers: int) -> None:
    """Replaces the weights of all workers; their storage, and so CUDA graphs on it, stays.

    Args:
        call: Calls a method of vLLM's workers: (name, **keywords).
        weights: Read one by one.
        workers: Of vLLM.

    Raises:
        ValueError: A parameter of the model got nothing.
    """
    call("start_weight_update")
    if workers == 1:
        for part in _parts(weights.tensors()):
            call("update_weights", update_info={"tensors": part})
    else:
        for bucket in in_buckets(weights, checkpoint_names=True):
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


@dataclass
class Nothing(WeightTransferInitInfo):  # type: ignore[misc]
    """What our engine has to be told before the first weights."""


@dataclass
class Part(WeightTransferUpdateInfo):  # type: ignore[misc]
    """Tensors of a learner in this process, or a bucket and the file that holds its bytes."""

    tensors: Sequence[tuple[str, Tensor]] = ()
    bucket: Bucket | None = None
    path: str = ""


class TransferEngine(WeightTransferEngine):  # type: ignore[misc]
    """vLLM's side of ``send``, in each worker."""

    init_info_cls = Nothing
    update_info_cls = Part

    def init_transfer_engine(self, init_info: Nothing) -> None:
        """There is nobody to meet."""

    def start_weight_update(self) -> None:
        """Lets the model take weights by their names in checkpoints, as when it was loaded."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        self._unpacker = Unpacker()
        self._arrived: set[str] | None = set()
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
        found = self.model.load_weights((name, tensor.detach()) for name, tensor in tensors)
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
