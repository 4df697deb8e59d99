"""A learner on GPUs that sends weights by vLLM's own backends: NCCL, or CUDA's shared memory.

vLLM's side of these (``TrainerWeightTransferEngine``) runs on every rank of the learner and goes
through the four phases; the engines are ``VLLMEngine``s in other processes. Written from the
sources of vLLM 0.32, for one machine's GPUs (``ipc``) or several machines (``nccl``); not run yet.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from vllm.distributed.weight_transfer import (
    ParamMeta,
    TrainerWeightTransferEngine,
    WeightSource,
    WeightTransferTrainerFactory,
)

from rlef.engines.types import Weights

CallAll = Callable[[str, Sequence[Mapping[str, Any]]], None]
"""(phase, keywords for each engine): calls ``VLLMEngine.transfer`` of all, and waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Who takes part in a transfer.

    Attributes:
        rank: of this process among the learner's; the first one sends.
        address: of the first one's machine.
        port: of that machine, which nothing listens on.
        engines: how many there are.
        workers: GPUs of each.
    """

    rank: int
    address: str
    port: int
    engines: int
    workers: int


class Source(WeightSource):  # type: ignore[misc]
    """A learner's weights as vLLM reads them: all ranks at once, one tensor after the other.

    Args:
        weights: Returns those of now.
    """

    def __init__(self, weights: Callable[[], Weights]) -> None:
        self._weights = weights
        self._metadata: list[ParamMeta] | None = None

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and shapes; they stay the same, so the weights are read once for them."""
        if self._metadata is None:
            self._metadata = [
                ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self
            ]
        return self._metadata

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return self._weights().tensors()


class EnginesClient:
    """vLLM's ``VLLMWeightSyncClient`` for several engines with one worker group each.

    Args:
        call: Reaches all engines.
        group: Who they are.
    """

    def __init__(self, call: CallAll, group: Group) -> None:
        self._call, self._group = call, group
        self.version = 0
        """Of the weights that are sent next."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Lets the engines meet the learner; each has ranks of its own behind the sender's."""
        words: list[dict[str, Any]] = []
        for engine in range(self._group.engines):
            own = dict(init_info)
            if "rank_offset" in own:  # vLLM knows of one engine only
                own["rank_offset"] += engine * self._group.workers
            words.append({"init_info": own})
        self._call("init_weight_transfer_engine", words)

    def start_weight_update(self) -> None:
        """Stops sampling in all engines."""
        self._all("start_weight_update", {})

    def update_weights(self, update_info: Any) -> None:
        """Lets all engines take a part."""
        self._all("update_weights", {"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Puts the weights in use, under the version that the learner says."""
        self._all("finish_weight_update", {"weight_version": weight_version or str(self.version)})

    def _all(self, phase: str, words: Mapping[str, Any]) -> None:
        self._call(phase, [words] * self._group.engines)


def open_sender(
    kind: Literal["nccl", "ipc"], group: Group, source: Source, client: EnginesClient
) -> TrainerWeightTransferEngine:
    """Meets the engines; called on every rank of the learner at once, as is ``send_weights``.

    Args:
        kind: ``ipc`` where each engine is on a GPU of a rank, else ``nccl``.
        group: Who takes part.
        source: The learner's weights.
        client: Reaches the engines; used by the first rank only.
    """
    if kind == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        info: Any = IPCTrainerInitInfo(rank=group.rank, packed=True)
    else:
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        info = NCCLTrainerInitInfo(
            master_address=group.address,
            master_port=group.port,
            world_size=1 + group.engines * group.workers,
            rank=group.rank,
        )
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)
