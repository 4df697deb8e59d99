"""Tensors of which each process holds a part (``DTensor``), beside such as are whole.

By attribute, not by type: ``torch.distributed.tensor`` is not loaded where nothing is sharded.
"""

from typing import Any

from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a sharded tensor, if all ranks ask for it; any other as it is."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def local(tensor: Tensor) -> Tensor:
    """Returns this rank's part of a sharded tensor; any other as it is."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def copy_into(ours: Tensor, theirs: Tensor) -> None:
    """Copies a whole tensor into one that may be sharded; ranks do not speak to each other."""
    mesh: Any = getattr(ours, "device_mesh", None)
    if mesh is not None:
        from torch.distributed.tensor import distribute_tensor

        places: Any = getattr(ours, "placements", None)
        theirs = distribute_tensor(theirs.to(ours.device), mesh, places, src_data_rank=None)
    ours.copy_(theirs)
