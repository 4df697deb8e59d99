"""What generates tokens: token ids in, token ids and log-probabilities out; or text, of a server.

Importing this package imports no torch, vLLM or client; the engines do, when first asked for.
Start at ``open.py``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlef.engines.types import (
    ChatCompletion,
    Completion,
    Engine,
    EngineError,
    FinishReason,
    Generate,
    Message,
    ModelError,
    PolicyEngine,
    SamplingParams,
    Weights,
)

if TYPE_CHECKING:
    from rlef.engines.hf import HFEngine
    from rlef.engines.open import open_engine
    from rlef.engines.openai import OpenAIEngine
    from rlef.engines.vllm import VLLMEngine

__all__ = [
    "ChatCompletion",
    "Completion",
    "Engine",
    "EngineError",
    "FinishReason",
    "Generate",
    "HFEngine",
    "Message",
    "ModelError",
    "OpenAIEngine",
    "PolicyEngine",
    "SamplingParams",
    "VLLMEngine",
    "Weights",
    "open_engine",
]
_MODULES = {
    "HFEngine": "hf",
    "OpenAIEngine": "openai",
    "VLLMEngine": "vllm",
    "open_engine": "open",
}


def __getattr__(name: str) -> Any:
    """Imports an engine on first use (PEP 562)."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
