import importlib.util
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from rlef.problems import load_problems
from rlef.run import RunFolder
from rlef.run.training import read_training_rollouts

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_an_episode_with_a_sampler_of_ones_own() -> None:
    script = EXAMPLES / "own_sampler.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "solved: True, rewards by turn: (-0.2, 0.0, 1.0)" in done.stdout


def test_training_by_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand = load("train_by_hand")
    monkeypatch.setattr(by_hand, "EPISODES", 4)
    by_hand.main(1)
    lines = capsys.readouterr().out.splitlines()
    words = r"batch \d: \d of 4 solved, reward -?\d\.\d\d, KL -?\d\.\d{4}, .*explained variance .*"
    assert len(lines) == 1 and re.fullmatch(words, lines[0])
    assert "KL 0.0000" in lines[0]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_judging_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    load("judge_a_program").main()
    right, zero, endless, broken = capsys.readouterr().out.splitlines()
    assert right == "right: AC (AC AC AC) []"
    assert zero.startswith("forgets zero: RE (AC AC RE) ['ZeroDivisionError")
    assert endless.startswith("never ends: TLE (TLE TLE TLE)")
    assert broken.startswith("no program: CE (CE") and "SyntaxError" in broken


def test_own_problems_from_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("own_problems").main(tmp_path / "powers.jsonl")
    assert "power-3: no findings\npower-4: no findings\n" in capsys.readouterr().out
    assert len(load_problems(f"jsonl:{tmp_path / 'powers.jsonl'}")) == 3


def test_evaluating_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openai")

    class Stub(BaseHTTPRequestHandler):
        """Prints an s too few until it has been told what was expected."""

        def do_GET(self) -> None:
            self.reply({"object": "list", "data": [{"id": "stub", "object": "model"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            mark = " + '!'" if len(asked["messages"]) > 1 else ""
            text = f"```python\nprint(input().upper(){mark})\n```"
            choice = {"index": 0, "finish_reason": "stop"}
            choice["message"] = {"role": "assistant", "content": text}
            self.reply(
                {"id": "1", "object": "chat.completion", "created": 0, "model": "stub"}
                | {"choices": [choice]}
            )

        def reply(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        spec = f"jsonl:{EXAMPLES / 'problems.jsonl'}?first=2"  # "double", which it cannot; "shout"
        load("evaluate_a_server").main(url, "stub", spec)
        server.shutdown()
    assert capsys.readouterr().out.splitlines() == [
        "solved by turn 1: 0.0%",
        "solved by turn 2: 50.0%",
        "solved by turn 3: 50.0%",
        "repair rate: 33.3%; 0 not judged",
    ]


def test_a_variant_and_its_rollouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["updates=1", "rollout.batch=4", "learner.minibatch=4", "checkpoint_every=1"]
    words += ["rollout.max_new_tokens=64", "rollout.group=4", "learner.warmup_updates=0"]
    words += ["eval.random_feedback=false", "rollout.turn_limit=2", "rollout.max_context=512"]
    words += [f"data.{s}=jsonl:{EXAMPLES / 'problems.jsonl'}" for s in ("train", "test")]
    variant = load("own_variant")
    variant.main(tmp_path / "run", words)
    run = RunFolder.open(tmp_path / "run")
    rewards = read_training_rollouts(run, ["rewards"])["rewards"].to_pylist()
    assert "reward of the last batch" in capsys.readouterr().out
    [line] = run.read_metrics()
    assert line["trained_rollouts"] == 4 and line["policy_steps"] == 1
    assert all(reward[-1] in (-1, 1) for reward in rewards)  # files keep what the recipe says
    variant.main(tmp_path / "run", [])  # it has come to its end
    assert len(run.read_metrics()) == 1
    load("read_rollouts").main(run)
    assert "% of 4 solved" in capsys.readouterr().out


def test_examples_are_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert lengths.pop("train_by_hand.py") <= 80
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_every_example_is_tested() -> None:
    tests = Path(__file__).read_text()
    assert [p.stem for p in EXAMPLES.glob("*.py") if f'"{p.stem}' not in tests] == []
