"""What generates tokens: token ids in, token ids and log-probabilities out; or text, of a server.

Importing this package imports no torch, vLLM or client; the engines do, when first asked for.
Start at ``open.py``.
"""

from typing import TYPE_CHECKING, Any

from rlef.engines.types import (
    ChatCompletion,
    Completion,
    Engine,
    EngineError,
    FinishReason,
    Message,
    ModelError,
    SamplingParams,
    StreamingEngine,
)

if TYPE_CHECKING:
    from rlef.engines.hf import HFEngine

__all__ = [
    "ChatCompletion",
    "Completion",
    "Engine",
    "EngineError",
    "FinishReason",
    "HFEngine",
    "Message",
    "ModelError",
    "SamplingParams",
    "StreamingEngine",
]


def __getattr__(name: str) -> Any:
    """Imports what needs torch on first use (PEP 562)."""
    if name == "HFEngine":
        from rlef.engines.hf import HFEngine

        return HFEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
