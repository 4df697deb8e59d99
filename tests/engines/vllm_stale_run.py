"""Run by the Python that has vLLM: ``rlef train`` on a cluster whose engine is left stale once.

usage: vllm_stale_run.py WORDS OF RLEF TRAIN...; STALE_AT=VERSION in the environment says when.
"""

import os
import sys
from pathlib import Path
from typing import Any

import rlef.distributed.actors as actors
from rlef.cli.main import main

MARK = Path(os.environ.get("STALE_MARK", "stale.mark")).absolute()
AT = int(os.environ.get("STALE_AT", "-1"))


class SometimesStale(actors.RolloutActor):
    """Once, its engine says that it took new weights, and keeps the old ones."""

    def use(self, transfer: int, version: int, *words: Any) -> float | None:
        import rlef.engines.vllm_weights as there

        real = there.send
        if version == AT and not MARK.exists():
            MARK.touch()

            def read_only(call: Any, weights: Any, *more: Any) -> None:
                for _ in weights.tensors():
                    pass

            there.send = read_only
        try:
            return super().use(transfer, version, *words)
        finally:
            there.send = real


if __name__ == "__main__":
    actors.RolloutActor = SometimesStale  # type: ignore[misc]
    main(["train", *sys.argv[1:]])
