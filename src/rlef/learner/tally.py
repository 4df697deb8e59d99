"""Counting the bytes of all tensors that are alive, real ones or such as only have a shape."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tally(TorchDispatchMode):
    """Counts bytes of storages that come to be within it, until they are freed.

    Args:
        known: Tensors that were there before, and do not count.

    Attributes:
        now: bytes alive.
        peak: most bytes that were alive since ``begin``.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}
        for tensor in known:
            self._add(tensor, counts=False)

    def begin(self) -> None:
        """Forgets the peak so far."""
        self.peak = self.now

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._add(value, counts=True)
        return found

    def _add(self, tensor: Tensor, *, counts: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = size = storage.nbytes() if counts else 0
        weakref.finalize(storage, self._freed, key).atexit = False
        self.now += size
        self.peak = max(self.peak, self.now)

    def _freed(self, key: int) -> None:
        self.now -= self._sizes.pop(key)
