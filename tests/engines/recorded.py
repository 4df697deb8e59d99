"""What a GPU would do, on a CPU: steps recorded once and replayed, and bytes that live at once."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "lift_fresh")
"""Operations that wait for the device, or bring numbers of the host to it."""


def on_a_gpu(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test that needs a GPU, and skips it where there is none."""
    skip = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    return pytest.mark.gpu(skip(test))  # type: ignore[no-any-return]


class Recording(TorchDispatchMode):
    """Operations in their order, which can be run again on the same tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in _WAITS, func
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, found))
        return found

    def replay(self) -> None:
        """Runs all again; what Python computed between them stays what it was."""
        new: dict[int, Tensor] = {}

        def now(tensor: Tensor) -> Tensor:
            return new.get(id(tensor), tensor)

        for func, args, kwargs, before in self.operations:
            found = func(*tree_map_only(Tensor, now, args), **tree_map_only(Tensor, now, kwargs))
            olds = before if isinstance(before, tuple | list) else (before,)
            news = found if isinstance(found, tuple | list) else (found,)
            new |= {
                id(old): other
                for old, other in zip(olds, news, strict=True)
                if isinstance(old, Tensor)
            }


class ReplayedSteps:
    """Stands for ``StepGraphs``."""

    replays = 0

    def __init__(self, device: torch.device, failed: Callable[[str], None]) -> None:
        self._shapes: tuple[int, int] | None = None
        self._recording = Recording()

    def step(self, run: Callable[[int, int], None], rows: int, slots: int, left: int) -> None:
        if (rows, slots) != self._shapes:
            self._shapes, self._recording = (rows, slots), Recording()
            with self._recording:
                run(rows, slots)
        else:
            self._recording.replay()
            ReplayedSteps.replays += 1


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations made and nobody has dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._seen: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else (found,):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()

        def dropped(_: Any) -> None:
            self.now -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, dropped)
        self.now += size
        self.peak = max(self.peak, self.now)
