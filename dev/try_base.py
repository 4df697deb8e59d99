"""Tries what ``pip install rlef`` alone can do, and what the commands say that need more.

usage: python dev/try_base.py        (by the Python that rlef is installed for)

Commands run one after another in this process. At the end nothing that only training needs may have
been imported, installed or not. Prints a line for each; exit status 1 if one is wrong.
"""

import importlib
import io
import json
import os
import pkgutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import rlef
from rlef import extras
from rlef.cli.main import main

LIGHT = ("problems", "sandbox", "environment", "curation", "evaluation", "report", "run")
"""Layers of which every module can be imported."""
DOUBLE = "print(2 * int(input()))"
RATE = {"mean": 0.5, "low": 0.4, "high": 0.6}


class Server(BaseHTTPRequestHandler):
    """A model that gets the second problem right at its second turn."""

    def do_GET(self) -> None:
        """The list of models."""
        self._answer({"object": "list", "data": []})

    def do_POST(self) -> None:
        """A chat completion."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = request["messages"]
        is_right = len(messages) > 1 or "double" in messages[0]["content"]
        text = f"```python\n{DOUBLE if is_right else 'print(0)'}\n```"
        self._answer({
            "id": "1", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        })  # fmt: skip

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def fine(url: str) -> Iterator[tuple[list[str], str]]:
    """Commands, and what they print if they are right."""
    yield ["--version"], f"rlef {rlef.__version__}"
    yield ["--help"], "judge"
    if extras.missing("train"):  # else it asks torch for GPUs
        yield ["env"], "works"
    yield ["recipe", "ls"], "paper-8b"
    yield ["train", "mini", "--dry-run"], "updates"
    yield ["data", "show", "mini:test"], "public test 1"
    yield ["data", "check", "jsonl:problems.jsonl"], "0 errors"
    yield ["judge", "double.py", "--data", "jsonl:problems.jsonl", "--problem", "double"], "AC"
    yield ["judge", "double.py", "--input", "in.txt", "--expected", "out.txt"], "1 of 1 tests"
    asked = ["--engine", "openai", "--base-url", url, "--data", "jsonl:problems.jsonl"]
    yield ["eval", "m", *asked, "--out", "runs/asked"], "1@3"
    samples = ["--samples-file", "samples.jsonl", "--data", "jsonl:problems.jsonl"]
    yield ["eval", *samples, "--out", "runs/samples"], "pass@1"
    yield ["runs"], "asked"
    yield ["show", "runs/asked"], "asked"
    yield ["show", "runs/asked", "--stage", "eval", "--repaired"], "1 of 2 episodes"
    yield ["show", "runs/asked", "eval/0"], DOUBLE
    yield ["compare", "runs/asked", "runs/asked"], "1@3"
    yield ["report", "runs/asked"], "1@3"
    make_training(Path("runs/asked"), Path("runs/mini"))
    yield ["show", "runs/mini"], "solve_rate"
    yield ["show", "runs/mini", "--stage", "eval-after"], "2 of 2 episodes"
    yield ["compare", "runs/mini", "runs/asked"], "1@3"
    yield ["report", "runs/mini"], "report.html"


def refused() -> Iterator[tuple[list[str], str]]:
    """Commands, and the extra that they need."""
    for words in (
        *(["train", "mini"], ["eval", "mini", "--data", "mini:test"], ["plan", "mini"]),
        *(["export", "mini", "--to", "whole"], ["study"], ["warmstart", "made"]),
        *(["bench", "train"], ["bench", "scale"]),
    ):
        yield words, "train"
    yield ["view", "runs"], "view"
    yield ["serve"], "serve"
    yield ["bench", "serve"], "serve"


def make_training(asked: Path, path: Path) -> None:
    """Makes the folder of a training of what an evaluation left."""
    from rlef.config import dump_config, load_config
    from rlef.run import RunFolder
    from rlef.train.recipe import TrainConfig

    run = RunFolder.create(path, dump_config(load_config(TrainConfig, "mini", ["updates=4"])))
    episodes = list(RunFolder.open(asked).read_rollouts("eval"))
    for update in (1, 2, 3, 4):
        run.append_metrics({"update": update, "solve_rate": update / 4, "kl": None})
    run.append_rollouts("eval-before", episodes)
    run.append_rollouts("eval-after", episodes)
    stage = {"solve": RATE, "solve_rate_by_turn": [RATE] * 3, "repair_rate": RATE}
    run.write_summary({
        "recipe": "mini", "seed": 0, "updates": 4, "wall_s": 1.0, "parameters": 1,
        "turn_limit": 3, "test_problems": 2, "samples_per_problem": 1, "masked_infra": 0,
        "before": stage, "after": stage, "gain": RATE,
        "temperature": 0.2, "top_p": 0.95, "also": None,
    })  # fmt: skip


def write_files() -> None:
    """Problems, a program, and samples, in this folder."""
    tests = {"public_tests": [{"input": "2\n", "output": "4\n"}]}
    tests["private_tests"] = [{"input": "7\n", "output": "14\n"}]
    problems = [
        {"name": name, "statement": f"Read n, print it times two ({name}).", **tests}
        for name in ("double", "twice")
    ]
    Path("problems.jsonl").write_text("".join(json.dumps(one) + "\n" for one in problems))
    lines = (json.dumps({"task_id": one["name"], "solution": DOUBLE}) for one in problems)
    Path("samples.jsonl").write_text("\n".join(lines))
    Path("double.py").write_text(DOUBLE)
    Path("in.txt").write_text("4\n")
    Path("out.txt").write_text("8\n")


def run(words: list[str]) -> tuple[int, str, str]:
    """Runs a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    return code if isinstance(code, int) else 0, out.getvalue(), err.getvalue()


def wrong_commands(url: str) -> Iterator[str]:
    """Prints each command; yields what is wrong with it."""
    for words, expected in fine(url):
        code, out, err = run(words)
        print("rlef", *words)
        if code or expected not in out:
            yield f"{' '.join(words)}: exit status {code}, {expected!r} not in {out!r}; {err!r}"
    for words, extra in refused():
        if not extras.missing(extra):
            continue
        code, out, err = run(words)
        print("rlef", *words, "->", err.strip())
        is_a_line = err.count("\n") == 1 and extras.how_to_install(extra) in err
        if code != 2 or not is_a_line or out:
            yield f"{' '.join(words)}: exit status {code}, {out!r}, {err!r}"


def wrong_imports() -> Iterator[str]:
    """What a layer cannot import, and what has been imported that only training needs."""
    for layer in LIGHT:
        package = importlib.import_module(f"rlef.{layer}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] == "_native":
                continue
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                yield f"{module.name}: {error}"
    for name in extras.NEEDS["train"]:
        if sys.modules.get(name):
            yield f"{name} has been imported"


@contextmanager
def serving() -> Iterator[str]:
    """A server of OpenAI's chat completions on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def check() -> int:
    """Tries all in a folder of its own; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder, serving() as url:
        os.chdir(folder)
        write_files()
        found = [*wrong_commands(url), *wrong_imports()]
        os.chdir("/")
    for line in found:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(check())
