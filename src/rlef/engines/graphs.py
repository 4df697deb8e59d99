"""CUDA graphs of the decode loop: a step is recorded once for its shapes, then replayed.

Launches of a step's kernels take longer than the kernels of a small model do. Graphs live as long
as the batch, whose tensors they are recorded on: none can be replayed on another one's.
"""

from collections.abc import Callable

import torch

_EAGER_STEPS = 2
"""Steps of new shapes that run as they are first: libraries set themselves up in them."""
_WORTH = 16
"""Steps to come, at least, for a recording to pay."""
Step = Callable[[int, int], None]
"""(rows, slots) -> ..."""


class StepGraphs:
    """The graphs of one batch.

    Args:
        device: Of the steps.
        failed: Called with the reason where a step cannot be recorded; from then on steps run as
            they are.
    """

    def __init__(self, device: torch.device, failed: Callable[[str], None]) -> None:
        self._device = device
        self._failed = failed
        self._shapes: tuple[int, int] | None = None
        self._seen = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._able = True

    def step(self, run: Step, rows: int, slots: int, left: int) -> None:
        """Runs a step, of so many that are left."""
        if (rows, slots) != self._shapes:
            self._shapes, self._seen, self._graph = (rows, slots), 0, None
        self._seen += 1
        if self._graph is None:
            if not self._able or self._seen <= _EAGER_STEPS or left < _WORTH:
                run(rows, slots)
                return
            self._graph = self._record(run, rows, slots)
            if self._graph is None:
                run(rows, slots)
                return
        self._graph.replay()

    def _record(self, run: Step, rows: int, slots: int) -> torch.cuda.CUDAGraph | None:
        """Records a step, which does not run it.

        Each graph has a pool of memory of its own: torch refuses one that only dropped graphs
        had, where something in it lives on, as the workspace of cuBLAS does.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.device(
                    self._device
                ),  # or it would record another GPU, which does nothing
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                run(rows, slots)
        except RuntimeError as error:
            self._able = False
            self._failed(" ".join(str(error).split())[:150])
            return None
        return graph
