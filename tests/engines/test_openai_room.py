"""A server that has room for a prompt, but not for a whole answer as well."""

import asyncio
from typing import Any

import pytest
from chat_server import Behaviour, ChatServer, Reply, answer, failure, serving

from rlef.engines import ChatCompletion, FinishReason, SamplingParams
from rlef.engines.openai import OpenAIEngine

CONTEXT = 8192
OVER = [
    "This model's maximum context length is {context} tokens. However, you requested {sum} tokens "
    "({prompt} in the messages, {limit} in the completion). Please reduce the length of the "
    "messages or completion.",
    "'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context "
    "length is {context} tokens and your request has {prompt} input tokens ({limit} > {context} - "
    "{prompt}).",
    "Requested token count exceeds the model's maximum context length of {context} tokens. You "
    "requested a total of {sum} tokens: {prompt} tokens from the input messages and {limit} tokens "
    "for the completion. Please reduce the number of tokens in the input messages or the "
    "completion to fit within the limit.",
    "This model's maximum context length is {context} tokens. However, you requested {limit} "
    "output tokens and your prompt contains {prompt} input tokens, for a total of {sum} tokens.",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context}. Given: "
    "{prompt} `inputs` tokens and {limit} `max_new_tokens`",
]
"""Of OpenAI's and older vLLM, vLLM, SGLang, newer vLLM, TGI."""
BOUND = [
    "You passed {bound} input tokens and requested {limit} output tokens. However, the model's "
    "context length is only {context} tokens, resulting in a maximum input length of {most} "
    "tokens.",
    "This model's maximum context length is {context} tokens. However, you requested {limit} "
    "output tokens and your prompt contains at least {bound} input tokens, for a total of at least "
    "{total} tokens.",
]
"""Of newer vLLM, which reads no more of a prompt than one token too many."""
UNCOUNTED = ["the request exceeds the available context size, try increasing it"]


def ask_once(behaviour: Behaviour, limit: int) -> tuple[ChatCompletion, ChatServer]:
    with serving(behaviour) as server:
        engine = OpenAIEngine("m", base_url=server.url, retries=0)
        messages = [{"role": "user", "content": "Hello."}]
        completion = asyncio.run(engine.generate(messages, SamplingParams(max_new_tokens=limit), 0))
    return completion, server


def full(said: str, prompt: int) -> Behaviour:
    """A server that has no room for prompt and answer together, and says so."""

    def behaviour(request: dict[str, Any], before: int) -> Reply:
        limit = request["max_tokens"]
        if prompt + limit <= CONTEXT:
            return answer("Hi.", "length")
        numbers = {"context": CONTEXT, "prompt": prompt, "limit": limit, "sum": prompt + limit}
        most = CONTEXT - limit
        bounds = {"bound": most + 1, "most": most, "total": CONTEXT + 1}
        status = 422 if said in OVER[-1:] else 400  # TGI's
        return failure(status, said.format(**numbers, **bounds))

    return behaviour


@pytest.mark.parametrize(
    ("said", "prompt", "tried"),
    [
        *((said, CONTEXT - 516, [1024, 516]) for said in OVER),
        *((said, CONTEXT - 256, [1024, 256]) for said in OVER),
        *((said, CONTEXT - 516, [1024, 256]) for said in BOUND + UNCOUNTED),
    ],
)
def test_an_answer_is_cut_to_the_room_that_is_left(
    said: str, prompt: int, tried: list[int]
) -> None:
    completion, server = ask_once(full(said, prompt), 1024)
    assert completion.text == "Hi." and completion.finish is FinishReason.LENGTH
    assert [request["max_tokens"] for request in server.requests] == tried
    assert all(request["top_k"] == -1 for request in server.requests)


@pytest.mark.parametrize(
    ("said", "tried"),
    [*((said, [1024]) for said in OVER), *((said, [1024, 256]) for said in BOUND + UNCOUNTED)],
)
def test_less_room_than_the_least_answer_is_none(said: str, tried: list[int]) -> None:
    completion, server = ask_once(full(said, CONTEXT - 255), 1024)
    assert completion == ChatCompletion(text="", finish=FinishReason.NO_ROOM)
    assert [request["max_tokens"] for request in server.requests] == tried


def test_room_is_asked_for_once_more_and_no_more_than_that() -> None:
    def wrong(request: dict[str, Any], before: int) -> Reply:
        return failure(400, OVER[0].format(context=CONTEXT, sum=0, limit=0, prompt=7000 + before))

    completion, server = ask_once(wrong, 2048)
    assert completion.finish is FinishReason.NO_ROOM
    assert [request["max_tokens"] for request in server.requests] == [2048, 1192]
    completion, server = ask_once(lambda *_: failure(400, UNCOUNTED[0]), 1)
    assert completion.finish is FinishReason.NO_ROOM and len(server.requests) == 1
