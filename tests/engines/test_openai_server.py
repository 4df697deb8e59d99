"""The engine ``openai`` on a real server: vLLM on loopback."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from vllm_here import environment, model_folder, vllm_python

from rlef.engines import EngineError, ModelError, SamplingParams
from rlef.engines.open import open_engine
from rlef.engines.openai import OpenAIEngine
from rlef.environment import (
    ChatFormat,
    Prompts,
    StopReason,
    TurnRecord,
)
from rlef.environment.feedback import first_message
from rlef.problems import Problem, load_problems
from rlef.rollout import EpisodeRequest, EpisodeSettings, LocalRollouts, run_requests
from rlef.sandbox import Sandbox

pytestmark = pytest.mark.slow
START_S = 300
CONTEXT = 1024


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    url: str
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    python, folder = vllm_python(), model_folder("smollm2-135m")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1",
        "--port", str(port), "--model", str(folder), "--served-model-name", "small",
        "--api-key", "secret", "--dtype", "float32", "--max-model-len", str(CONTEXT),
        "--max-num-seqs", "8", "--enforce-eager", "--no-enable-chunked-prefill",
        "--generation-config", "vllm",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            words,
            env=environment() | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + START_S
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(1)
        yield Server(process, f"http://127.0.0.1:{port}/v1", folder)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def engine(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIEngine]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    opened, chat = open_engine("openai", "small", base_url=server.url, concurrency=4)
    assert isinstance(opened, OpenAIEngine) and chat is None
    yield opened
    opened.close()


def chat_of(server: Server) -> ChatFormat:
    _, chat = open_engine("hf", str(server.folder), device="cpu")
    assert chat is not None
    return chat


def rollouts_on(engine: OpenAIEngine, sandbox: Sandbox, max_new: int = 24) -> LocalRollouts:
    settings = EpisodeSettings(
        sampling=SamplingParams(temperature=0.2, top_p=0.95, max_new_tokens=max_new),
        max_turns=2, max_context=None, prompts=Prompts.load("default"),
    )  # fmt: skip
    return LocalRollouts(engine, None, sandbox, settings)


def requests(problems: list[Problem]) -> list[EpisodeRequest]:
    return [EpisodeRequest(problem=problem, seed=i) for i, problem in enumerate(problems)]


def test_episodes_run_and_tokens_are_counted_as_we_count_them(
    server: Server, engine: OpenAIEngine
) -> None:
    chat = chat_of(server)
    problems = list(load_problems("mini:test")[:5])
    templates = Prompts.load("default")
    first = [chat.prompt_ids(first_message(problem.public, templates)) for problem in problems]
    with Sandbox(workers=1) as sandbox, rollouts_on(engine, sandbox) as service:
        rollouts = run_requests(service, requests(problems))
        again = run_requests(service, requests(problems))
    for rollout, prompt in zip(rollouts, first, strict=True):
        turn: TurnRecord = rollout.record.turns[0]
        assert turn.prompt_tokens == len(prompt)
        assert turn.completion_tokens is not None and 1 <= turn.completion_tokens <= 24
        assert rollout.record.stop in (StopReason.PUBLIC_PASSED, StopReason.TURN_LIMIT)
        if len(rollout.record.turns) == 2:
            assert rollout.record.turns[1].prompt_tokens > turn.prompt_tokens
    same = [
        a.record.turns[0].response == b.record.turns[0].response
        for a, b in zip(rollouts, again, strict=True)
    ]
    assert sum(same) >= 4  # a seed decides the draws, up to the last bits of the logits


def test_the_server_says_what_hf_says(server: Server, engine: OpenAIEngine) -> None:
    hf, chat = open_engine("hf", str(server.folder), device="cpu")
    assert chat is not None
    message = "Name three colours."
    greedy = SamplingParams(temperature=0, max_new_tokens=24)
    found = asyncio.run(engine.generate([{"role": "user", "content": message}], greedy, 0))
    [completion] = hf.generate_batch([chat.prompt_ids(message)], greedy, [0])
    assert found.text == chat.decode(completion.token_ids)
    assert found.completion_tokens == len(completion.token_ids)


def test_a_prompt_that_is_too_long_ends_its_episode_only(engine: OpenAIEngine) -> None:
    short, long = load_problems("mini:test")[:2]
    long = replace(long, statement="word " * 2 * CONTEXT)
    with Sandbox(workers=1) as sandbox, rollouts_on(engine, sandbox) as service:
        rollouts = run_requests(service, requests([long, short]))
    assert rollouts[0].record.stop is StopReason.CONTEXT_LIMIT and not rollouts[0].record.turns
    assert len(rollouts[1].record.turns) >= 1


def test_a_wrong_key_or_model_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with pytest.raises(ModelError, match=r"refuses the key \(401"):
        open_engine("openai", "small", base_url=server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    engine, _ = open_engine("openai", "large", base_url=server.url)
    assert isinstance(engine, OpenAIEngine)
    with pytest.raises(EngineError, match="has no model 'large'"):
        asyncio.run(engine.generate([{"role": "user", "content": "Hi."}], SamplingParams(), 0))
    engine.close()


def test_a_server_that_dies_is_one_line_and_finished_episodes_are_kept(server: Server) -> None:
    engine = OpenAIEngine("small", base_url=server.url, api_key="secret", concurrency=2, retries=2)
    kept = 0
    with (
        Sandbox(workers=1) as sandbox,
        rollouts_on(engine, sandbox, max_new=200) as rollouts,
        pytest.raises(EngineError) as caught,
    ):
        for index, request in enumerate(requests(list(load_problems("mini:test")[:30]))):
            rollouts.submit(index, request)
        while True:
            kept += len(rollouts.finished(1.0))
            if kept:
                server.process.kill()
    assert 1 <= kept < 30
    assert f"{server.url} failed in up to 3 tries" in str(caught.value)
    assert "\n" not in str(caught.value)
