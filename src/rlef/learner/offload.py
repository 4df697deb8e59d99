"""Tensors that leave the device while nobody needs them."""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class Resting:
    """Keeps tensors in host memory but within ``awake``.

    They stay the same objects under the same names, so modules and optimizers notice nothing; no
    value changes on the way. On a CPU nothing moves, as there is no other memory.

    Args:
        tensors: Returns them; asked each time, since an optimizer makes its states at its first
            step. Not needed, and not looked at, outside ``awake``.
        device: Where they are awake.
        constant: They never change, so that one copy in host memory will do.
    """

    def __init__(
        self,
        tensors: Callable[[], Iterable[Tensor]],
        device: torch.device,
        *,
        constant: bool = False,
    ) -> None:
        self._tensors = tensors
        self._device = device
        self._constant = constant
        self._moves = has_own_memory(device)
        self._copies: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Within it, the tensors are on the device."""
        self.wake()
        try:
            yield
        finally:
            self.rest()

    def wake(self) -> None:
        """Brings the tensors to the device."""
        for tensor in self._all():
            copy = self._copies.get(tensor)
            if copy is not None and tensor.data_ptr() == copy.data_ptr():
                tensor.data = torch.empty_like(copy, device=self._device)
                tensor.data.copy_(copy, non_blocking=True)

    def rest(self) -> None:
        """Gives their memory on the device back."""
        moved = []
        for tensor in self._all():
            copy = self._copies.get(tensor)
            if copy is None:
                pinned = self._device.type == "cuda"
                copy = torch.empty_like(tensor, device="cpu", pin_memory=pinned)
                self._copies[tensor] = copy
            elif self._constant or tensor.data_ptr() == copy.data_ptr():
                moved.append((tensor, copy))
                continue
            copy.copy_(tensor.detach(), non_blocking=True)
            moved.append((tensor, copy))
        if self._device.type == "cuda":
            # The copies may be read from here on. Not all streams: one may be recording a graph.
            torch.cuda.current_stream(self._device).synchronize()
        for tensor, copy in moved:
            tensor.data = copy

    def host_tensors(self) -> list[Tensor]:
        """Returns the copies in host memory."""
        return list(self._copies.values())

    def _all(self) -> Iterable[Tensor]:
        # of a scalar there is nothing to gain, and fused AdamW wants its step on the device
        return (t for t in self._tensors() if t.ndim) if self._moves else ()


def has_own_memory(device: torch.device) -> bool:
    """Whether a device's memory is not the host's."""
    return device.type != "cpu"
