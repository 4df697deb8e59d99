"""The processes that a learner runs on, and what they tell each other.

Every rank is given the whole batch and takes the same decisions; micro-batches are dealt out. In
one process all of this does nothing, and nothing of ``torch.distributed`` is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks of a learner, as one of them sees them. The default: one process, no others.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        device: of this process; ``None``: that of the model it is given.
        savers: ``torch.distributed``'s group of threads that write checkpoints: they speak to each
            other while the ranks do.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | None = None
    savers: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that reads, writes and speaks for all."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def deal(self, groups: list[list[T]]) -> list[tuple[list[T], bool]]:
        """Returns this rank's part of groups of rollouts, which all ranks know.

        Passes of a sharded model are passes of all ranks. So each gets equally many: where there
        is none left, a rollout stands in that another rank has.

        Returns:
            Groups, and whether each is this rank's own, so that it counts.
        """
        own = [(group, True) for group in groups[self.rank :: self.size]]
        rounds = -(-len(groups) // self.size)
        return own + [(group[:1], False) for group in groups[-1:] * (rounds - len(own))]

    def sum(self, tensor: Tensor) -> Tensor:
        """Returns the sum over all ranks, the same on each."""
        if not self.several:
            return tensor
        import torch.distributed as dist

        found = tensor.clone()
        dist.all_reduce(found)
        return found

    def join(self, found: list[T]) -> list[T]:
        """Returns what all ranks have found, in the order of ranks, with its tensors on the CPU."""
        if not self.several:
            return found
        import torch.distributed as dist

        everywhere: list[Any] = [None] * self.size
        dist.all_gather_object(everywhere, tree_map_only(Tensor, Tensor.cpu, found))
        return [one for part in everywhere for one in part]

    def share(self, value: T) -> T:
        """Returns what the first rank has."""
        if not self.several:
            return value
        import torch.distributed as dist

        box = [value if self.first else None]
        dist.broadcast_object_list(box)
        return box[0]  # type: ignore[return-value]

    def on_first(self, work: Callable[[], T]) -> T | None:
        """Does something on the first rank; what it raises, all ranks raise.

        Returns:
            What it returns there, ``None`` on the others.

        Raises:
            OSError, ValueError, RuntimeError: As it does; what is none of these becomes the last.
        """
        found: T | None = None
        problem: Exception | None = None
        if self.first:
            try:
                found = work()
            except (OSError, ValueError) as error:
                problem = error
            except Exception as error:
                problem = RuntimeError(f"{type(error).__name__}: {error}")
        problem = self.share(problem)
        if problem is not None:
            raise problem
        return found

    def close(self) -> None:
        """Leaves the ranks; the process may open others."""
        if self.several:
            import torch.distributed as dist

            dist.destroy_process_group()


def open_ranks(
    rank: int, size: int, address: str, *, timeout_s: float, device: torch.device | str = "cpu"
) -> Ranks:
    """Joins the ranks of a learner; returns when all have.

    Args:
        rank: Of this process, from 0; it is the only rank of its process.
        size: Ranks in all; 1: nothing is opened.
        address: ``HOST:PORT`` on the first rank's machine, which listens there.
        timeout_s: What takes longer, here or later, is a hang: it raises RuntimeError.
        device: Of this rank: ``cpu`` (ranks speak through gloo), ``cuda`` or ``cuda:N`` (nccl).

    Raises:
        RuntimeError: Not all ranks came.
    """
    where = torch.device(device)
    if where.type == "cuda":
        where = torch.device("cuda", where.index or 0)
        torch.cuda.set_device(where)
    if size == 1:
        return Ranks(device=where)
    import torch.distributed as dist

    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
        init_method=f"tcp://{address}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout_s),
    )
    savers = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))
    return Ranks(rank, size, where, savers)
