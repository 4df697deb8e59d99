"""What generates tokens: token ids in, token ids and log-probabilities out.

Importing this package does not import torch; ``HFEngine`` does, when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from rlef.engines.types import Completion, Engine, FinishReason, ModelError, SamplingParams

if TYPE_CHECKING:
    from rlef.engines.hf import HFEngine

__all__ = ["Completion", "Engine", "FinishReason", "HFEngine", "ModelError", "SamplingParams"]


def __getattr__(name: str) -> Any:
    """Imports what needs torch on first use (PEP 562)."""
    if name == "HFEngine":
        from rlef.engines.hf import HFEngine

        return HFEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
