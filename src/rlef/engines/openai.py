"""The engine on a server with OpenAI's chat completions: messages in, text out."""

import asyncio
import json
import os
import queue
import random
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from rlef.engines.types import (
    ChatCompletion,
    EngineError,
    FinishReason,
    Message,
    ModelError,
    SamplingParams,
    check_params,
)

KEY_VARIABLE = "OPENAI_API_KEY"
_NO_KEY = "none"
_MAX_SEED = 2**31
"""Servers differ in how large a seed may be; all take 31 bits."""
_MAX_DELAY_S = 30.0
_MAX_RETRY_AFTER_S = 120.0
_TOO_LONG = re.compile(
    r"context.{0,20}(length|size|window)|(prompt|input).{0,20}too long|input token.{0,40}maximum",
    re.IGNORECASE,
)
_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""What turns off the settings that a server may take from a model's ``generation_config.json``, or
have by itself: of vLLM, SGLang and llama.cpp. OpenAI's own models know none of these."""
_Result = tuple[int, ChatCompletion | EngineError]


class OpenAIEngine:
    """Asks a server. A ``StreamingEngine`` of messages: token ids and log-probabilities unknown.

    What may pass by itself (429, 5xx, no connection, no answer in time, an answer that is none) is
    asked again, after a delay that doubles each time, or as long as the server says.

    Nothing but what ``SamplingParams`` says shapes the draws: ``min_p``, ``repetition_penalty`` and
    ``top_k`` are sent as off. A server that refuses a request with these is asked without them from
    then on, and its own settings hold.

    Args:
        model: The server's name of it.
        base_url: Usually ends in ``/v1``; ``None``: ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: ``None``: ``OPENAI_API_KEY``; not needed with a ``base_url``.
        concurrency: Requests at once, at most.
        timeout_s: Longest wait for an answer.
        tries: How often a request is sent, at most.
        first_delay_s: Before the second try.

    Raises:
        ModelError: The package ``openai`` is not installed, there is no key, the server cannot be
            reached, or it refuses the key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        concurrency: int = 16,
        timeout_s: float = 600.0,
        tries: int = 7,
        first_delay_s: float = 1.0,
    ) -> None:
        self.model = model
        self.concurrency = concurrency
        self.max_context: int | None = None
        self._tries = tries
        self._first_delay_s = first_delay_s
        self._limit_name = "max_tokens"
        self._sends_plain = True
        self._client = _client(base_url, api_key, timeout_s)
        self._address = str(self._client.base_url).rstrip("/")
        self._asked: dict[int, Future[None]] = {}
        self._done: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._failure: EngineError | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="rlef-openai", daemon=True
        )
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._check_server(), self._loop).result()
        except BaseException:
            self.close()
            raise

    def submit(
        self, key: int, prompt: Sequence[Message], params: SamplingParams, seed: int
    ) -> None:
        """Sends messages.

        Args:
            key: Their name.
            prompt: All messages so far, the last one the user's.
            params: How to sample.
            seed: Sent along; what it means is up to the server.

        Raises:
            ValueError: A parameter is out of range.
        """
        check_params(params)
        self._asked[key] = asyncio.run_coroutine_threadsafe(
            self._answer(key, [dict(message) for message in prompt], params, seed), self._loop
        )

    def collect(self, timeout_s: float) -> list[tuple[int, ChatCompletion]]:
        """Waits for an answer, at most ``timeout_s``; returns all that have come.

        Raises:
            EngineError: A request failed for good. Answers that came before it are returned first.
        """
        found: list[tuple[int, ChatCompletion]] = []
        try:
            while self._failure is None:
                key, answer = self._done.get(timeout=0 if found else timeout_s)
                self._asked.pop(key, None)
                if isinstance(answer, EngineError):
                    self._failure = answer
                else:
                    found.append((key, answer))
        except queue.Empty:
            pass
        if self._failure is not None and not found:
            raise self._failure
        return found

    def cancel(self) -> None:
        """Drops all requests."""
        for future in self._asked.values():
            future.cancel()
        self._asked.clear()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result()
        while not self._done.empty():
            self._done.get()
        self._failure = None

    def close(self) -> None:
        """Drops all requests and closes the connections."""
        if self._loop.is_closed():
            return
        self.cancel()
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _check_server(self) -> None:
        """Raises ModelError where no request can succeed; what may pass by itself is let pass."""
        import openai

        try:
            await self._client.models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ModelError(str(self._refused(error))) from None
        except openai.APITimeoutError:
            pass
        except openai.APIConnectionError as error:
            raise ModelError(
                f"no server at {self._address}: {_cause(error)}; allowed: the address of a running "
                "server, such as http://127.0.0.1:8000/v1"
            ) from None
        except (openai.APIError, json.JSONDecodeError):
            pass  # many servers have no list of models

    async def _answer(
        self, key: int, messages: list[Message], params: SamplingParams, seed: int
    ) -> None:
        """Puts the answer, or why there is none, where ``collect`` finds it."""
        try:
            async with self._slots:
                self._done.put((key, await self._ask(messages, params, seed)))
        except EngineError as error:
            self._done.put((key, error))
        except Exception as error:  # a request must not vanish
            self._done.put((key, EngineError(f"{self._address}: {error!r}")))

    async def _ask(
        self, messages: list[Message], params: SamplingParams, seed: int
    ) -> ChatCompletion:
        """Sends a request until it is answered.

        Raises:
            EngineError: It cannot be answered, or was not after all tries.
        """
        import openai

        attempt, sends_plain = 1, self._sends_plain
        while attempt <= self._tries:
            headers: Mapping[str, str] = {}
            request = self._request(messages, params, seed, plain=sends_plain)
            try:
                reply = await self._client.chat.completions.create(**request)
                self._sends_plain &= sends_plain  # without them it works
                return _completion(reply)
            except openai.APIStatusError as error:
                if _too_long(error):
                    return ChatCompletion(text="", finish=FinishReason.NO_ROOM)
                if "max_completion_tokens" in str(error) and "max_tokens" in request:
                    self._limit_name = "max_completion_tokens"  # newer models of OpenAI
                    continue
                if sends_plain and error.status_code in (400, 422):
                    sends_plain = False
                    continue
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    raise self._refused(error) from None
                why, headers = _said(error), error.response.headers
            except openai.APITimeoutError:
                why = "no answer in time"
            except openai.APIConnectionError as error:
                why = _cause(error)
            except (openai.APIError, _NoCompletionError, json.JSONDecodeError) as error:
                why = f"an answer that is no chat completion ({_line(error)})"
            if attempt < self._tries:
                await asyncio.sleep(_delay_s(attempt, self._first_delay_s, headers))
            attempt += 1
        raise EngineError(
            f"{self._address} failed {self._tries} times: {why}; finished episodes are kept: when "
            "the server is well, the same command goes on"
        )

    def _request(
        self, messages: list[Message], params: SamplingParams, seed: int, *, plain: bool
    ) -> dict[str, Any]:
        words = {
            "model": self.model,
            "messages": messages,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": seed % _MAX_SEED,
            self._limit_name: params.max_new_tokens,
        }
        extra: dict[str, float] = dict(_PLAIN) if plain else {}
        if params.top_k:
            extra["top_k"] = params.top_k
        return words | ({"extra_body": extra} if extra else {})

    def _refused(self, error: Any) -> EngineError:
        """Returns what a status means that another try would not change."""
        said, status = _said(error), error.status_code
        if status in (401, 403):
            return EngineError(
                f"{self._address} refuses the key ({said}); allowed: a valid key in {KEY_VARIABLE}"
            )
        if status == 404:
            return EngineError(
                f"{self._address} has no model {self.model!r}, or no chat completions ({said}); "
                "allowed: a name that GET /models lists, and an address that usually ends in /v1"
            )
        return EngineError(f"{self._address} refuses the request ({said})")


class _NoCompletionError(ValueError):
    """An answer that has not the shape of a chat completion."""


def _client(base_url: str | None, api_key: str | None, timeout_s: float) -> Any:
    try:
        import openai
    except ImportError:
        raise ModelError(
            "the engine openai needs the package openai: pip install -e '.[openai]' in a clone"
        ) from None
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ModelError(
            f"the base URL is {base_url!r}; allowed: http://... or https://..., such as "
            "http://127.0.0.1:8000/v1"
        )
    api_key = api_key or os.environ.get(KEY_VARIABLE) or (base_url and _NO_KEY)
    if not api_key:
        raise ModelError(
            f"{KEY_VARIABLE} is not set; allowed: a key in it, or the base URL of another server"
        )
    return openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=openai.Timeout(timeout_s, connect=10.0),
    )


def _completion(reply: Any) -> ChatCompletion:
    """Raises _NoCompletionError where the reply is none."""
    try:
        choice = reply.choices[0]
        text, finish, usage = choice.message.content, choice.finish_reason, reply.usage
    except (AttributeError, IndexError, TypeError):
        raise _NoCompletionError(f"{str(reply)[:80]!r}") from None
    if text is not None and not isinstance(text, str):
        raise _NoCompletionError(f"content is {text!r:.80}")
    return ChatCompletion(
        text=text or "",
        finish=FinishReason.LENGTH if finish == "length" else FinishReason.STOP,
        prompt_tokens=getattr(usage, "prompt_tokens", None),
        completion_tokens=getattr(usage, "completion_tokens", None),
    )


def _too_long(error: Any) -> bool:
    """Whether the prompt is too long for the model, as the servers in use say it."""
    if error.status_code not in (400, 413, 422):
        return False
    return error.code == "context_length_exceeded" or bool(_TOO_LONG.search(str(error)))


def _delay_s(attempt: int, first_delay_s: float, headers: Mapping[str, str]) -> float:
    """Returns seconds until the next try: what the server asks for, else doubled, with jitter."""
    asked = headers.get("retry-after")
    if asked is not None:
        try:
            delay_s = float(asked)
        except ValueError:
            try:
                delay_s = parsedate_to_datetime(asked).timestamp() - time()
            except ValueError:
                delay_s = -1.0
        if delay_s >= 0:
            return min(delay_s, _MAX_RETRY_AFTER_S)
    return min(first_delay_s * 2.0 ** (attempt - 1), _MAX_DELAY_S) * random.uniform(0.75, 1.25)


def _said(error: Any) -> str:
    """Returns the status and what the server says about it, in one line."""
    body = error.body
    words = (body.get("message") if isinstance(body, dict) else "") or error.response.reason_phrase
    return f"{error.status_code} {' '.join(str(words).split())[:200]}".rstrip()


def _cause(error: Exception) -> str:
    """Returns the innermost reason of a failed connection."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    return _line(inner)


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
