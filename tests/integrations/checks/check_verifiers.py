"""verifiers' real environment, harness and traces, with scripted answers and the mini model."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mini_server
import pytest
import rlef_verifiers
import verifiers.v1 as vf
import verifiers_mini
from common import RIGHT, SECRET, WRONG, broken_judge, secret_problem
from verifiers.v1.utils.loaders import resolve_env_config


@contextmanager
def scripted(*answers: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these answers, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(mini_server.Handler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            message = {"role": "assistant", "content": answers[len(asked) - 1]}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self.reply(
                {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
                | {"choices": [choice], "usage": used}
            )

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        server.shutdown()


async def played(url: str, data: str, **settings: Any) -> Any:
    words = {"taskset": {"id": "rlef-verifiers", "data": data}, **settings}
    env = vf.load_environment(resolve_env_config(words))
    assert isinstance(env, rlef_verifiers.RLEFEnv)
    client = vf.EvalClientConfig(base_url=url, api_key_var="HOME")
    model = vf.ModelContext(model="m", client=client, sampling=vf.SamplingConfig())
    async with env.serving():
        [task] = env.taskset
        return await env.run_episode(task, model)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return secret_problem(tmp_path)


def test_an_episode_on_the_trace(data: str) -> None:
    with scripted("nothing", WRONG, RIGHT) as (url, asked):
        episode = asyncio.run(played(url, data))
    assert episode.ok, episode.errors
    [trace] = episode.traces
    assert trace.reward == pytest.approx(0.8) and trace.ok
    assert trace.metrics["solved"] == trace.metrics["solved_by_turn_3"] == 1
    assert trace.metrics["turns"] == 3 and trace.metrics["solved_by_turn_2"] == 0
    assert trace.info["rlef"]["record"]["solved"] and trace.task.key == f"{data}/shout"
    roles = [[m["role"] for m in one["messages"]] for one in asked]
    assert roles == [
        ["user"],
        ["user", "assistant"] * 1 + ["user"],
        ["user", "assistant"] * 2 + ["user"],
    ]
    assert len(trace.branches) == 1  # one dialogue, so one training sample


def test_private_tests_are_in_no_trace_and_no_prompt(data: str) -> None:
    always = "```python\nprint('AB!')\n```"  # passes the public test only
    with scripted(WRONG, always) as (url, asked):
        episode = asyncio.run(played(url, data, turns=2))
    assert "AB!" in asked[1]["messages"][-1]["content"]  # feedback quotes public tests
    assert SECRET not in (json.dumps(episode.model_dump(mode="json")) + json.dumps(asked)).lower()
    [trace] = episode.traces
    assert trace.reward == -1 and trace.metrics["passed_public"] == 1


def test_not_judged_is_an_error_and_no_reward(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlef_verifiers, "shared_judge", broken_judge)
    with scripted(RIGHT) as (url, _):
        episode = asyncio.run(played(url, data))
    [trace] = episode.traces
    assert not episode.ok and not trace.ok and "judge" in trace.errors[-1].message
    assert trace.errors[-1].type == "TaskError"
    assert all(reward is None for reward in trace.rewards.values())


def test_a_not_judged_episode_is_played_again(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = iter([broken_judge()])
    good = rlef_verifiers.shared_judge()
    monkeypatch.setattr(rlef_verifiers, "shared_judge", lambda: next(judges, good))

    async def retried(url: str) -> Any:
        words = {"taskset": {"id": "rlef-verifiers", "data": data}, "retries": {"max_retries": 2}}
        env = vf.load_environment(resolve_env_config(words))
        client = vf.EvalClientConfig(base_url=url, api_key_var="HOME")
        model = vf.ModelContext(model="m", client=client, sampling=vf.SamplingConfig())
        async with env.serving():
            [slot] = env.slots(next(iter(env.taskset)))
            return await env.run_slot(slot, model)

    with scripted(RIGHT, RIGHT) as (url, _):
        episode = asyncio.run(retried(url))
    assert episode.ok and episode.traces[0].reward == 1


def test_the_mini_model() -> None:
    episodes = verifiers_mini.main(problems=2)
    assert all(episode.ok for episode in episodes), [episode.errors for episode in episodes]
    assert all(1 <= episode.traces[0].metrics["turns"] <= 3 for episode in episodes)


def test_its_command_line(data: str, tmp_path: Path) -> None:
    with scripted(RIGHT) as (url, _):
        words = ["vf-eval", "rlef-verifiers", "--env.taskset.data", data, "--env.turns", "2"]
        words += ["-m", "m", "--client.base-url", url, "--client.api-key-var", "HOME"]
        words += ["--no-rich", "--no-push", "-n", "1", "-r", "1"]
        script = Path(sys.executable).parent / words[0]
        done = subprocess.run(
            [script, *words[1:]], cwd=tmp_path, capture_output=True, text=True, env={**os.environ}
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [line] = [
        json.loads(line)
        for file in tmp_path.rglob("traces.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert line["traces"][0]["metrics"]["solved"] == 1
