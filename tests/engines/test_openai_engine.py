import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import pytest
from chat_server import Behaviour, ChatServer, Reply, answer, failure, serving

from rlef.engines import (
    ChatCompletion,
    EngineError,
    FinishReason,
    Message,
    ModelError,
    SamplingParams,
)
from rlef.engines.open import open_engine
from rlef.engines.openai import OpenAIEngine
from rlef.environment import ChatSettings

PARAMS = SamplingParams(temperature=0.3, top_p=0.9, max_new_tokens=20)
ASK = [{"role": "user", "content": "Hello."}]
CONTEXT_ERRORS = [
    failure(400, "This model's maximum context length is 8 tokens.", "context_length_exceeded"),
    failure(400, "Input length (9) exceeds model's maximum context length (8)."),
    failure(400, "the request exceeds the available context size, try increasing it"),
    failure(400, "The input (9 tokens) is longer than the model's context length (8 tokens)."),
    failure(413, "prompt is too long: 9 tokens > 8 maximum"),
    failure(400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
    failure(422, "Input validation error: `inputs` must have less than 8 tokens. Given: 9"),
]

PROMPT_TOO_LONG = [CONTEXT_ERRORS[i] for i in (1, 3, 4, 5, 6)]


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlef.engines.openai._NONSENSE_DELAY_S", 0.01)


def ask(
    server: ChatServer | str, *prompts: list[Message], params: SamplingParams = PARAMS, **words: Any
) -> list[ChatCompletion]:
    """Asks for all at once; the seeds are 0, 1, 2, ..."""
    engine = make_engine(server, **words)
    return asyncio.run(ask_all(engine, prompts or [ASK], params))


def make_engine(server: ChatServer | str, **words: Any) -> OpenAIEngine:
    url = server if isinstance(server, str) else server.url
    return OpenAIEngine("m", base_url=url, **{"retries": 3, **words})


async def ask_all(
    engine: OpenAIEngine, prompts: Sequence[list[Message]], params: SamplingParams = PARAMS
) -> list[ChatCompletion]:
    calls = [engine.generate(prompt, params, seed) for seed, prompt in enumerate(prompts)]
    return await asyncio.wait_for(asyncio.gather(*calls), 20)


def ask_once(behaviour: Behaviour, **words: Any) -> tuple[ChatCompletion, ChatServer]:
    with serving(behaviour) as server:
        [found] = ask(server, **words)
    return found, server


def test_what_is_asked_and_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with serving(lambda *_: answer("Hi.")) as server:
        completion = asyncio.run(make_engine(server).generate(ASK, PARAMS, 2**40 + 3))
    assert completion == ChatCompletion(
        text="Hi.", finish=FinishReason.STOP, prompt_tokens=7, completion_tokens=3
    )
    [request] = server.requests
    assert request == {
        "model": "m",
        "messages": ASK,
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 20,
        "seed": 3,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    assert server.keys == ["Bearer secret"]


def test_an_answer_that_was_cut_or_is_empty() -> None:
    cut, _ = ask_once(lambda *_: answer("Hi", "length", usage=False))
    assert cut == ChatCompletion(text="Hi", finish=FinishReason.LENGTH)
    empty, _ = ask_once(lambda *_: answer(None))
    assert empty.text == ""


def test_top_k_is_sent_where_it_is_on() -> None:
    _, server = ask_once(lambda *_: answer("Hi."), params=SamplingParams(top_k=5))
    assert server.requests[0]["top_k"] == 5
    with pytest.raises(ValueError, match="top_k is -1"):
        ask_once(lambda *_: answer("Hi."), params=SamplingParams(top_k=-1))


EXTRAS = {"top_k", "min_p", "repetition_penalty"}


def strict(request: dict[str, Any], before: int) -> Reply:
    """A server that, like OpenAI's, knows no field that is not OpenAI's."""
    if unknown := EXTRAS & request.keys():
        return failure(400, f"Unrecognized request argument supplied: {min(unknown)}")
    if "max_tokens" in request and request["messages"][0]["content"] == "new model":
        return failure(400, "max_tokens is not supported, use max_completion_tokens")
    return answer("Hi.")


def test_a_server_that_knows_no_more_than_openai_is_asked_without_the_rest() -> None:
    new = [{"role": "user", "content": "new model"}]
    with serving(strict) as server:
        engine = make_engine(server)
        for messages in (ASK, ASK, new, ASK):
            [completion] = asyncio.run(ask_all(engine, [messages]))
            assert completion.text == "Hi."
    sent = [bool(EXTRAS & request.keys()) for request in server.requests]
    assert sent == [True, False, False, False, False, False]  # refused once, then never again
    assert "max_completion_tokens" in server.requests[-1]


def test_top_k_that_was_asked_for_is_not_left_out_for_a_strict_server() -> None:
    with pytest.raises(EngineError, match="Unrecognized request argument supplied: top_k"):
        ask_once(strict, params=SamplingParams(top_k=5))


def test_a_request_refused_for_another_reason_leaves_the_settings_on() -> None:
    def picky(request: dict[str, Any], before: int) -> Reply:
        return failure(400, "no such template") if before < 2 else answer("Hi.")

    with serving(picky) as server:
        with pytest.raises(EngineError, match="no such template"):
            ask(server)
        ask(server)
    assert [request.keys() >= EXTRAS for request in server.requests] == [True, False, True]


def test_no_more_requests_at_once_than_allowed() -> None:
    together = threading.Barrier(3)

    def slow(request: dict[str, Any], before: int) -> Reply:
        together.wait(20)  # 12 requests: four times three at once
        time.sleep(0.02)
        return answer(request["messages"][0]["content"])

    prompts = [[{"role": "user", "content": f"{key}"}] for key in range(12)]
    with serving(slow) as server:
        found = ask(server, *prompts, concurrency=3)
    assert [completion.text for completion in found] == [f"{key}" for key in range(12)]
    assert server.most == 3


@pytest.mark.parametrize(
    "trouble",
    [
        failure(429, "slow down"),
        failure(500, "oops"),
        failure(503, "later", Retry_After="0"),
        Reply(status=502, body="<html>bad gateway</html>", headers={"content-type": "text/html"}),
        Reply(body="{'not': json"),
        Reply(body="<html>welcome</html>", headers={"content-type": "text/html"}),
        Reply(body={"choices": []}),
        Reply(body={"choices": [{"message": {"content": ["parts"]}}]}),
        Reply(body={"error": "of another shape"}),
        Reply(body={"choices": [{"message": "?" * 400}]}, cut=50),
        Reply(body="x" * 400, cut=0),
    ],
    ids=lambda reply: f"{reply.status}-{str(reply.body)[:20]}-{reply.cut}",
)
def test_what_may_pass_is_asked_again(trouble: Reply) -> None:
    completion, server = ask_once(lambda _, before: trouble if before < 2 else answer("Hi."))
    assert completion.text == "Hi." and len(server.requests) == 3


def test_an_answer_that_never_comes_is_asked_for_again() -> None:
    held = threading.Event()
    hang = Reply(body="late", hold=held)
    completion, server = ask_once(
        lambda _, before: hang if before == 0 else answer("Hi."), timeout_s=2.0
    )
    held.set()
    assert completion.text == "Hi." and len(server.requests) == 2


@pytest.mark.parametrize("date", [False, True], ids=["seconds", "date"])
def test_the_server_says_when_to_ask_again(date: bool) -> None:
    when = formatdate(time.time() + 1.5, usegmt=True) if date else "0.5"
    started = time.monotonic()
    completion, _ = ask_once(
        lambda _, before: failure(429, "wait", Retry_After=when) if before == 0 else answer("Hi."),
    )
    assert completion.text == "Hi." and 0.3 < time.monotonic() - started < 5


@pytest.mark.parametrize("error", CONTEXT_ERRORS, ids=range(len(CONTEXT_ERRORS)))
def test_a_prompt_that_is_too_long_is_no_failure(error: Reply) -> None:
    completion, server = ask_once(lambda *_: error)
    assert completion.finish is FinishReason.NO_ROOM
    tried = [20] if error in PROMPT_TOO_LONG else [20, 5]  # the text does not say what is too long
    assert [request["max_tokens"] for request in server.requests] == tried


def test_half_of_a_surrogate_pair_is_sent_as_a_replacement() -> None:
    with serving(lambda *_: answer("Hi \ud83d there")) as server:
        engine = make_engine(server, system="A \udc00 B")
        [first] = asyncio.run(ask_all(engine, [ASK]))
        assert first.text == "Hi \ud83d there"
        dialogue = [*ASK, {"role": "assistant", "content": first.text}, *ASK]
        asyncio.run(ask_all(engine, [dialogue]))
        assert dialogue[1]["content"] == "Hi \ud83d there"
    sent = [message["content"] for message in server.requests[1]["messages"]]
    assert sent == ["A \ufffd B", "Hello.", "Hi \ufffd there", "Hello."]


def fails(behaviour: Behaviour, **words: Any) -> tuple[str, ChatServer]:
    with serving(behaviour) as server, pytest.raises(EngineError) as caught:
        ask(server, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value), server


def test_requests_that_no_other_try_would_help() -> None:
    line, server = fails(lambda *_: failure(404, "The model `m` does not exist."))
    assert line == (
        f"{server.url} has no model 'm', or no chat completions (404 The model `m` does not "
        "exist.); allowed: a name that GET /models lists, and an address that usually ends in /v1"
    )
    assert len(server.requests) == 1
    line, server = fails(lambda *_: failure(400, "temperature must be\n at most 2"))
    assert line == f"{server.url} refuses the request (400 temperature must be at most 2)"
    line, server = fails(lambda *_: failure(401, "bad key"))
    assert "refuses the key (401 bad key)" in line and len(server.requests) == 1


def test_a_server_that_stays_ill_is_given_up() -> None:
    line, server = fails(lambda *_: failure(500, "oops"), retries=2)
    assert line == (
        f"{server.url} failed in up to 3 tries: 500 oops; finished episodes are kept: when the "
        "server is well, the same command goes on"
    )
    assert len(server.requests) == 3
    line, _ = fails(lambda *_: Reply(body="garbage"), retries=1)
    assert "failed in up to 2 tries: an answer that is no chat completion" in line


def test_newer_models_have_another_name_for_the_limit() -> None:
    def picky(request: dict[str, Any], before: int) -> Reply:
        if "max_tokens" in request:
            return failure(400, "Unsupported parameter: use 'max_completion_tokens' instead.")
        return answer("Hi.")

    completion, server = ask_once(picky)
    assert completion.text == "Hi." and server.requests[1]["max_completion_tokens"] == 20


def test_a_server_that_dies_is_one_line() -> None:
    reply = answer("Hi.")
    reply.headers["connection"] = "close"
    with serving(lambda *_: reply) as server:
        engine = make_engine(server, retries=1)

        async def main() -> None:
            assert len(await ask_all(engine, [ASK] * 3)) == 3
            server.shutdown()
            server.server_close()
            with pytest.raises(EngineError, match="failed in up to 2 tries: "):
                await ask_all(engine, [ASK])

        asyncio.run(main())


def test_a_cancelled_request_leaves_its_place_to_others() -> None:
    held = threading.Event()

    def behaviour(request: dict[str, Any], before: int) -> Reply:
        return Reply(body="x", hold=held) if before < 2 else answer("Hi.")

    with serving(behaviour) as server:
        engine = make_engine(server, concurrency=2)

        async def main() -> None:
            tasks = [asyncio.create_task(engine.generate(ASK, PARAMS, 0)) for _ in range(2)]
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            [completion] = await ask_all(engine, [ASK])
            assert completion.text == "Hi."

        asyncio.run(main())
        held.set()
    assert engine.busy_s > 0


def opens(url: str | None, **words: Any) -> str:
    with pytest.raises(ModelError) as caught:
        open_engine("openai", "m", base_url=url, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_key_or_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda *_: answer("Hi."), failure(401, "Incorrect API key provided")) as server:
        assert opens(server.url) == (
            f"{server.url} refuses the key (401 Incorrect API key provided); "
            "allowed: a valid key in OPENAI_API_KEY"
        )
    with socket.socket() as deaf:  # bound, so that nobody else listens there
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        assert opens(url).startswith(f"no server at {url}: ")
    assert "no server at http://no.such.host.invalid" in opens("http://no.such.host.invalid/v1")
    assert opens("127.0.0.1:8000") == (
        "the base URL is '127.0.0.1:8000'; allowed: http://... or https://..., such as "
        "http://127.0.0.1:8000/v1"
    )
    assert opens(None) == (
        "OPENAI_API_KEY is not set; allowed: a key in it, or the base URL of another server"
    )


@pytest.mark.parametrize("models", [failure(404, "Not Found"), failure(503, "busy"), Reply()])
def test_a_server_without_a_list_of_models_is_taken(models: Reply) -> None:
    with serving(lambda *_: answer("Hi."), models) as server:
        engine, chat = open_engine("openai", "m", base_url=server.url)
        assert chat is None and engine.max_context is None
        [completion] = asyncio.run(ask_all(engine, [ASK]))
        assert completion.text == "Hi."
        engine.close()
        engine.close()


def test_the_system_message_and_arguments_of_the_template_go_along() -> None:
    with serving(lambda *_: answer("Hi.")) as server:
        settings = ChatSettings(system="Be brief.", template_arguments={"enable_thinking": False})
        engine, _ = open_engine("openai", "m", base_url=server.url, chat_settings=settings)
        asyncio.run(ask_all(engine, [ASK]))  # type: ignore[arg-type]
    [request] = server.requests
    assert request["messages"] == [{"role": "system", "content": "Be brief."}, *ASK]
    assert request["chat_template_kwargs"] == {"enable_thinking": False}


def test_what_a_server_cannot_be_told_is_refused() -> None:
    for name, value in (("chat_template", "f.jinja"), ("turns", "per_turn")):
        with pytest.raises(ModelError, match=f"{name} is set, but a server has a chat template"):
            open_engine("openai", "m", chat_settings=ChatSettings(**{name: value}))
