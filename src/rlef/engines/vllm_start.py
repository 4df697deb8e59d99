"""How vLLM is started: what it has to be told, on a CPU above all."""

import os
from typing import Any

from rlef.engines.names import VLLM_HINT
from rlef.engines.types import ModelError
from rlef.engines.vllm_settings import VLLMSettings

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""In one process with us, quiet, and nothing sent home; what is set already stays."""
_CPU_CACHE_BYTES = 4 << 30
"""Keys and values on a CPU, unless ``VLLM_CPU_KVCACHE_SPACE`` says otherwise."""


def start(model: str, settings: VLLMSettings, **words: Any) -> Any:
    """Returns vLLM's engine.

    Raises:
        ModelError: See ``VLLMEngine``.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        from rlef.engines import vllm_weights
    except ImportError as error:
        raise ModelError(
            f"the engine vllm is not installed ({in_words(error)}); {VLLM_HINT}"
        ) from None
    import torch

    from rlef.engines.load import LOADING_ERRORS, model_path

    backend = vllm_weights.BACKEND if settings.transfer == "buckets" else settings.transfer
    words["tensor_parallel_size"] = settings.tensor_parallel_size
    words["enforce_eager"] = settings.eager
    if settings.transfer != "buckets" and not torch.cuda.is_available():
        raise ModelError(f"transfer is {settings.transfer}; allowed without a GPU: buckets")
    if torch.cuda.is_available():
        words["gpu_memory_utilization"] = settings.gpu_memory_utilization
        words["enable_sleep_mode"] = settings.sleep
    else:
        words |= _cpu_words()
    set_num_threads = torch.set_num_threads
    try:
        engine = LLMEngine.from_engine_args(
            EngineArgs(
                model=model_path(model),
                logprobs_mode="processed_logprobs",
                weight_transfer_config={"backend": backend},
                worker_extension_cls=vllm_weights.WORKER_EXTENSION,
                skip_tokenizer_init=True,
                generation_config="vllm",  # no settings of the model's own
                disable_log_stats=True,
                **words,
            )
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"vLLM cannot load {model!r}: {in_words(error)}") from None
    finally:
        torch.set_num_threads = set_num_threads  # on a CPU it takes that away from everybody
    if backend == vllm_weights.BACKEND:
        engine.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": {}})
    engine.set_weight_version("0")
    return engine


def _cpu_words() -> dict[str, Any]:
    """What vLLM 0.32 needs on a CPU."""
    # what it compiles ahead of time it cannot load again, so each start would compile
    os.environ.setdefault("VLLM_USE_AOT_COMPILE", "0")
    # a prompt in parts winds a seeded generator back, which generators on a CPU cannot do
    words: dict[str, Any] = {"enable_chunked_prefill": False}
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        words["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    return words


def in_words(error: Exception) -> str:
    """Returns an error as a part of one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
