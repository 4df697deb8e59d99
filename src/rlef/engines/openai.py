"""The engine on a server with OpenAI's chat completions: messages in, text out."""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from rlef.engines.busy import BusyClock
from rlef.engines.types import (
    ChatCompletion,
    EngineError,
    FinishReason,
    Generate,
    Message,
    ModelError,
    SamplingParams,
    check_params,
)
from rlef.environment.room import least_answer
from rlef.text import whole_characters

KEY_VARIABLE = "OPENAI_API_KEY"
_NO_KEY = "none"
_MAX_SEED = 2**31
"""Servers differ in how large a seed may be; all take 31 bits."""
_TRANSIENT = (408, 409, 429)
_NONSENSE_DELAY_S = 1.0
_TOO_LONG = re.compile(
    r"context.{0,20}(length|size|window)|(prompt|input).{0,20}too long|input token.{0,40}maximum"
    r"|`inputs`.{0,30}must (be <=|have less)",
    re.IGNORECASE,
)
_PROMPT_ALONE = re.compile(
    r"(prompt|input|messages)\b.{0,60}(too long|exceed|longer than|resulted in)"
    r"|`inputs` must have less",
    re.IGNORECASE,
)
_CONTEXT_TOKENS = re.compile(
    r"(?:context (?:length|size|window)\D{0,20}|`max_new_tokens` must be <= )(\d+)", re.IGNORECASE
)
_PROMPT_TOKENS = re.compile(
    r"(\d+) (?:in (?:the|your) (?:messages|prompt)|`?inputs?`? tokens|tokens from the input)"
)
"""As OpenAI, vLLM, SGLang and TGI count them where prompt and answer together are too long."""
_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""What turns off the settings that a server may take from a model's ``generation_config.json``, or
have by itself: of vLLM, SGLang and llama.cpp. OpenAI's own models know none of these."""


class _Here(NamedTuple):
    """What belongs to one event loop."""

    client: Any
    slots: asyncio.Semaphore
    open: AsyncGenerator[Any]
    """Closes the connections when the loop ends, as it ends all generators that it began."""


class OpenAIEngine:
    """Asks a server. An ``Engine`` of messages: token ids and log-probabilities are unknown.

    What may pass by itself (408, 409, 429, 5xx, no connection, no answer in time) the package
    ``openai`` asks again, after a delay that doubles each time up to 8 s, or as long as the server
    says, up to two minutes. An answer that is no chat completion is asked again as often.

    Nothing but what ``SamplingParams`` says shapes the draws: ``min_p``, ``repetition_penalty`` and
    ``top_k`` are sent as off. A server that refuses a request with these is asked without them from
    then on, and its own settings hold.

    Where the server has no room for a prompt with an answer of ``max_new_tokens``, it is asked once
    more for a shorter one: for what its error says is left, else for ``least_answer``. Where less
    is left than that, or is refused as well, the answer is ``NO_ROOM``.

    Args:
        model: The server's name of it.
        system: Stands before all messages, as the system's; ``None``: there is none.
        template_arguments: What the server's chat template is told, as ``chat_template_kwargs``,
            which vLLM and SGLang take.
        base_url: Usually ends in ``/v1``; ``None``: ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: ``None``: ``OPENAI_API_KEY``; not needed with a ``base_url``.
        concurrency: Requests at once, at most.
        timeout_s: Longest wait for an answer.
        retries: How often a request is sent again, at most; 12 last for about a minute.

    Raises:
        ModelError: There is no key, the server cannot be reached, or it refuses the key.
    """

    def __init__(
        self,
        model: str,
        *,
        system: str | None = None,
        template_arguments: Mapping[str, Any] | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        concurrency: int = 16,
        timeout_s: float = 600.0,
        retries: int = 12,
    ) -> None:
        self.model = model
        self.concurrency = concurrency
        self.max_context: int | None = None
        self._retries = retries
        self._limit_name = "max_tokens"
        self._sends_plain = True
        self._before = [] if system is None else [{"role": "system", "content": system}]
        self._template_arguments = dict(template_arguments or {})
        self._words = _client_words(base_url, api_key, timeout_s)
        self._busy = BusyClock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = WeakKeyDictionary()
        self._address = self._check_server()

    @property
    def busy_s(self) -> float:
        """Seconds so far in which it waited for an answer."""
        return self._busy.seconds

    def seat(self) -> AbstractContextManager[Generate]:
        """No seat is needed."""
        return nullcontext(self.generate)

    def close(self) -> None:
        """Nothing is left to close: connections end with the event loop that opened them."""

    async def generate(
        self, prompt: Sequence[Message], params: SamplingParams, seed: int
    ) -> ChatCompletion:
        """Asks for an answer.

        Args:
            prompt: All messages so far, the last one the user's.
            params: How to sample.
            seed: Sent along; what it means is up to the server.

        Raises:
            EngineError: It cannot be answered, or was not after all tries.
            ValueError: A parameter is out of range.
        """
        check_params(params)
        here = await self._here()
        async with here.slots:
            with self._busy:
                return await self._ask(here.client, list(prompt), params, seed)

    async def _here(self) -> _Here:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            opened = self._opened()
            client = await anext(opened)
            self._loops[loop] = _Here(client, asyncio.Semaphore(self.concurrency), opened)
        return self._loops[loop]

    async def _opened(self) -> AsyncGenerator[Any]:
        import openai

        async with openai.AsyncOpenAI(**self._words, max_retries=self._retries) as client:
            yield client

    def _check_server(self) -> str:
        """Returns its address.

        Raises:
            ModelError: No request can succeed; what may pass by itself is let pass.
        """
        import openai

        with openai.OpenAI(**self._words, max_retries=0) as client:
            self._address = str(client.base_url).rstrip("/")
            try:
                client.models.list()
            except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
                raise ModelError(str(self._refused(error))) from None
            except openai.APITimeoutError:
                pass
            except openai.APIConnectionError as error:
                raise ModelError(
                    f"no server at {self._address}: {_cause(error)}; allowed: the address of a "
                    "running server, such as http://127.0.0.1:8000/v1"
                ) from None
            except (openai.APIError, json.JSONDecodeError):
                pass  # many servers have no list of models
        return self._address

    async def _ask(
        self, client: Any, messages: list[Message], params: SamplingParams, seed: int
    ) -> ChatCompletion:
        import openai

        sends_plain, nonsense, whole = self._sends_plain, 0, params.max_new_tokens
        while True:
            request = self._request(messages, params, seed, plain=sends_plain)
            try:
                answer = _completion(await client.chat.completions.create(**request))
                self._sends_plain &= sends_plain  # without them it works
                return answer
            except openai.APIStatusError as error:
                if _too_long(error):
                    left = _room(error, whole) if params.max_new_tokens == whole else 0
                    if not left:
                        return ChatCompletion(text="", finish=FinishReason.NO_ROOM)
                    params = replace(params, max_new_tokens=left)
                    continue
                if "max_completion_tokens" in str(error) and "max_tokens" in request:
                    self._limit_name = "max_completion_tokens"  # newer models of OpenAI
                    continue
                if sends_plain and error.status_code in (400, 422):
                    sends_plain = False
                    continue
                if error.status_code not in _TRANSIENT and error.status_code < 500:
                    raise self._refused(error) from None
                why = _said(error)
            except openai.APITimeoutError:
                why = "no answer in time"
            except openai.APIConnectionError as error:
                why = _cause(error)
            except (openai.APIError, _NoCompletionError, json.JSONDecodeError) as error:
                why = f"an answer that is no chat completion ({_line(error)})"
                nonsense += 1
                if nonsense <= self._retries:
                    await asyncio.sleep(_NONSENSE_DELAY_S)
                    continue
            raise EngineError(
                f"{self._address} failed in up to {self._retries + 1} tries: {why}; finished "
                "episodes are kept: when the server is well, the same command goes on"
            )

    def _request(
        self, messages: list[Message], params: SamplingParams, seed: int, *, plain: bool
    ) -> dict[str, Any]:
        words = {
            "model": self.model,
            "messages": [_sendable(message) for message in (*self._before, *messages)],
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": seed % _MAX_SEED,
            self._limit_name: params.max_new_tokens,
        }
        extra: dict[str, Any] = dict(_PLAIN) if plain else {}
        if params.top_k:
            extra["top_k"] = params.top_k
        if self._template_arguments:
            extra["chat_template_kwargs"] = self._template_arguments
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


def _client_words(base_url: str | None, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    import openai

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
    timeout = openai.Timeout(timeout_s, connect=10.0)
    return {"api_key": api_key, "base_url": base_url, "timeout": timeout}


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


def _room(error: Any, limit: int) -> int:
    """Returns how long an answer to ask for after an error of ``_too_long``; 0: there is no room.

    Args:
        error: What the server said.
        limit: Tokens of the answer that it was asked for.
    """
    least, text = least_answer(limit, None), str(error)
    context, prompt = _CONTEXT_TOKENS.search(text), _PROMPT_TOKENS.search(text)
    if context and prompt:
        left = int(context[1]) - int(prompt[1])
        # newer vLLM reads no more of a prompt than one token too many, whatever its length
        if left < limit - 1:
            return left if left >= least else 0
    elif _PROMPT_ALONE.search(text):
        return 0
    return least if least < limit else 0


def _sendable(message: Message) -> Message:
    """Replaces halves of surrogate pairs, which an answer may have and no request can."""
    return {name: whole_characters(text) for name, text in message.items()}


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
