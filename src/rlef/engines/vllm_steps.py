"""vLLM in a thread of its own: step after step while it has requests, all else between two."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from rlef.engines.busy import BusyClock
from rlef.engines.phases import Phases
from rlef.engines.types import EngineError
from rlef.engines.vllm_start import in_words

_GRACE_S = 5.0
"""More than a call of vLLM's workers has, which says by itself that it took too long."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Request:
    name: str
    read: Callable[[Any], Any]
    """Of its output, what the future is to hold."""
    future: "Future[Any]"


class Steps:
    """Requests of any thread, answered by vLLM in its own.

    Args:
        begin: Returns vLLM's engine, and is called in its thread.
        timeout_s: Seconds that a call of vLLM's workers may take.

    Attributes:
        engine: vLLM's, for what is done in its thread.
        busy: how long it has been in steps.
        asleep: it has no weights, so requests are refused; set in its thread, as is ``updating``.
        updating: requests wait.
    """

    def __init__(self, begin: Callable[[], Any], timeout_s: float) -> None:
        self.busy = BusyClock()
        self.asleep = self.updating = False
        self._timeout_s = timeout_s
        self._names = map(str, count())
        self._phases = Phases("vLLM", timeout_s + _GRACE_S)
        self.phase = self._phases.phase
        self.wait = self._phases.wait
        self._running: dict[str, _Request] = {}
        self._stepping = False
        self._broken: EngineError | None = None
        # threads of a CPU, the stream of a GPU and more belong to the thread that starts vLLM
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vllm")
        try:
            self.engine = self._thread.submit(begin).result()
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    def submit(
        self, read: Callable[[Any], _T], prompt: Sequence[int], words: dict[str, Any]
    ) -> "Future[_T]":
        """Adds a request.

        Args:
            read: Makes the result of vLLM's output.
            prompt: Token ids.
            words: Of vLLM's ``SamplingParams``.

        Returns:
            The result to come, or an ``EngineError``. Cancelled, it takes the request back.
        """
        request = _Request(next(self._names), read, Future())
        self._thread.submit(self._add, request, list(prompt), words)
        return request.future

    def do(self, work: Callable[[], _T]) -> _T:
        """Does something in vLLM's thread, between two steps.

        Raises:
            EngineError: The thread hangs in it, or in what is before it.
        """
        return self.wait(self._thread.submit(work))

    def change(self, work: Callable[[], None], version: int | str) -> None:
        """Does something with weights; an engine that could not samples no more.

        Raises:
            EngineError: It could not, or could not earlier.
        """

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
            self.do(change)
        except EngineError as error:
            if self._broken is None:  # the thread hangs, and cannot say so itself
                raise failed(error) from None
            raise

    def close(self) -> None:
        """Answers what is left with an error, and drops the model."""
        hangs = False
        with suppress(RuntimeError):  # closed already
            try:
                self.do(self._stop)
            except EngineError:
                hangs = True
        self._thread.shutdown(wait=not hangs)

    # All below runs in vLLM's thread.

    def call(self, method: str, **words: Any) -> list[Any]:
        """Calls a method of all workers; returns what they say.

        Raises:
            EngineError: It takes too long.
        """
        with self.phase(method):
            try:
                found = self.engine.collective_rpc(method, timeout=self._timeout_s, kwargs=words)
                return list(found)
            except TimeoutError:
                line = f"vLLM hangs: {method} has taken more than {self._timeout_s:g} s"
                raise EngineError(line) from None

    def go_on(self) -> None:
        """Puts the next step behind what else is to be done."""
        if self._running and not (self._stepping or self.asleep or self.updating):
            self._stepping = True
            with suppress(RuntimeError):  # the interpreter ends
                self._thread.submit(self._step)

    def _add(self, request: _Request, prompt: list[int], words: dict[str, Any]) -> None:
        from vllm import SamplingParams as VLLMSamplingParams
        from vllm.sampling_params import RequestOutputKind

        try:
            if self._broken is not None:
                raise self._broken
            if self.asleep:
                raise EngineError("vLLM sleeps and has no weights; load_weights must come first")
            params = VLLMSamplingParams(
                **words,
                ignore_eos=True,
                detokenize=False,
                flat_logprobs=True,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            tokens = {"type": "token", "prompt_token_ids": prompt}
            self.engine.add_request(request.name, tokens, params)
        except Exception as error:
            _fail([request], _engine_error(error))
            return
        self._running[request.name] = request
        request.future.add_done_callback(lambda future: self._notice(request.name, future))
        self.go_on()

    def _notice(self, name: str, future: "Future[Any]") -> None:
        """Takes a request back that its caller has cancelled; runs in the caller's thread."""
        if future.cancelled():
            with suppress(RuntimeError):  # closed already
                self._thread.submit(self._drop, [name])

    def _drop(self, names: Iterable[str]) -> None:
        dropped = [name for name in names if self._running.pop(name, None)]
        self.engine.abort_request(dropped)

    def _step(self) -> None:
        self._stepping = False
        try:
            if self._running and not (self.asleep or self.updating):
                with self.busy, self.phase("a step"):
                    outputs = self.engine.step()
                for output in outputs:
                    if output.finished and (request := self._running.get(output.request_id)):
                        answer = request.read(output)  # if it fails, so do all that run
                        del self._running[output.request_id]
                        _answer(request, answer)
        except Exception as error:  # vLLM says by many types that it is dead
            self._break(error)
        self.go_on()

    def _break(self, error: Exception) -> EngineError:
        """Answers all requests, and all later ones, with an error."""
        self._broken = _engine_error(error)
        _fail(self._running.values(), self._broken)
        self._running.clear()
        return self._broken

    def _stop(self) -> None:
        self._break(EngineError("the engine is closed"))
        self.engine.engine_core.shutdown()


def _answer(request: _Request, answer: Any) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_result(answer)


def _fail(requests: Iterable[_Request], error: EngineError) -> None:
    for request in requests:
        if request.future.set_running_or_notify_cancel():
            request.future.set_exception(error)


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    return EngineError(f"vLLM stopped: {in_words(error)}")
