"""How fast the viewer opens and filters a long training, and how much memory it takes.

Makes a training and an evaluation of made-up episodes, 128 a batch, of 2.2 turns, 600 tokens and
2.6 kB of text in the mean; asks for them with an empty cache, then in a new process with what that
one kept. Wall times and CPU times (of all threads), in seconds; of filters the median of five, each
of other words.

usage: python benchmarks/viewer.py FOLDER [EPISODES]     # 200000; FOLDER is kept, about 2.5 GB
"""

import json
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlef.run import RunFolder
from rlef.run.training import SCHEMA, batch_path

BATCH, TOKENS, PROBLEMS = 128, 600, 4480
WORDS = Path(__file__).read_text().split()
CONFIG = {
    "name": "made-up",
    "seed": 0,
    "model": "mini",
    "data": {"train": "jsonl:nowhere", "test": "jsonl:nowhere"},
    "rollout": {"batch": BATCH, "turn_limit": 3},
    "learner": {"minibatch": 32},
}


def make_run(path: Path, episodes: int) -> None:
    run = RunFolder.create(path, json.dumps(CONFIG))
    run.training_path.mkdir()
    draw = random.Random(0)
    bodies = [" ".join(draw.choices(WORDS, k=110)) for _ in range(5000)]
    numbers = np.random.default_rng(0)
    ids = numbers.zipf(1.2, 4 * BATCH * TOKENS).astype(np.int64) % 32000
    for number in range(-(-episodes // BATCH)):
        rows = [episode(draw, bodies, number * BATCH + i, number) for i in range(BATCH)]
        first = draw.randrange(3 * BATCH * TOKENS)
        tokens = pa.array(ids[first : first + BATCH * TOKENS], pa.int32())
        offsets = pa.array(range(0, BATCH * TOKENS + 1, TOKENS), pa.int32())
        logprobs = pa.array(-numbers.exponential(0.3, BATCH * TOKENS), pa.float32())
        table = pa.Table.from_pylist(rows, SCHEMA)
        for name, values in (("token_ids", tokens), ("turn_ids", tokens), ("logprobs", logprobs)):
            column = pa.ListArray.from_arrays(offsets, values).cast(SCHEMA.field(name).type)
            table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
        pq.write_table(table, batch_path(run.training_path, number), compression="zstd")
        run.append_metrics({"update": 4 * number + 4, "solve_rate": number / 2000, "kl": 0.01})


def make_evaluation(path: Path, episodes: int) -> None:
    options = {"model": "mini", "data": "jsonl:nowhere", "turns": 3}
    run = RunFolder.create(path, json.dumps(options))
    draw = random.Random(1)
    bodies = [" ".join(draw.choices(WORDS, k=110)) for _ in range(5000)]
    for first in range(0, episodes, 10_000):
        rows = [episode(draw, bodies, i, 0) for i in range(first, first + 10_000)]
        more = {"hidden_detail": None, "passed_share": None, "statement": bodies[0]}
        run.append_rollouts("eval", [{**row, **more} for row in rows])


def episode(draw: random.Random, bodies: list[str], index: int, batch: int) -> dict[str, Any]:
    right = 0.2 + 0.5 * index / 200_000
    outcomes: list[str] = []
    while len(outcomes) < 3 and (not outcomes or outcomes[-1] != "AC"):
        outcomes.append("AC" if draw.random() < right else draw.choice(["WA", "WA", "RE", "none"]))
    last = len(outcomes) - 1
    solved = outcomes[-1] == "AC" and draw.random() < 0.9
    problem = draw.randrange(PROBLEMS)
    return {
        "index": index,
        "batch": batch,
        "status": "taken",
        "problem": f"family-{problem % 90}/problem-{problem}",
        "family": f"family-{problem % 90}",
        "stop": "public_passed" if outcomes[-1] == "AC" else "turn_limit",
        "solved": solved,
        "final_verdict": "AC" if solved else None,
        "blind": False,
        "seed": index,
        "turns": [turn(draw, bodies, o, t == last) for t, o in enumerate(outcomes)],
        "rewards": [0.0] * last + [1.0 if solved else -1.0],
        "policy_versions": [batch * 4] * (last + 1),
    }


def turn(draw: random.Random, bodies: list[str], outcome: str, is_last: bool) -> dict[str, Any]:
    program = f"{draw.choice(bodies)}\n# {draw.randrange(10**6)}"
    verdicts = [] if outcome == "none" else ["AC", outcome]
    told = f"Test 2: wrong.\nYour output:\n{draw.choice(bodies)[:250]}"
    return {
        "response": f"```python\n{program}\n```",
        "program": None if outcome == "none" else program,
        "public_verdicts": verdicts,
        "feedback": None if is_last else told,
        "prompt_tokens": 100,
        "completion_tokens": 150,
    }


class Clock:
    """Times a request."""

    def __init__(self, folder: Path, cache: Path) -> None:
        from starlette.testclient import TestClient

        from rlef.view.app import make_app
        from rlef.view.folders import Folders

        self._client = TestClient(make_app(Folders([folder]), cache), base_url="http://localhost")

    def ask(self, path: str, **words: Any) -> tuple[float, float, Any]:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = self._client.get(f"/api/{path}", params={"id": "run", **words})
        took = time.perf_counter() - wall, time.process_time() - cpu
        assert answer.status_code == 200, answer.text
        return *took, answer.json()


def measure_evaluation(folder: Path, cache: Path) -> None:
    clock = Clock(folder, cache)
    run, page = clock.ask("run", id="eval"), clock.ask("episodes", id="eval", stage="eval")
    total = page[2]["total"]
    print(f"evaluation, open: {run[0] + page[0]:.2f} s, CPU {run[1] + page[1]:.2f} s; {total}")
    wall, cpu, _ = clock.ask("episodes", id="eval", stage="eval", text="# 477")
    print(f"evaluation, text: {1000 * wall:.0f} ms, CPU {1000 * cpu:.0f} ms")


def measure(folder: Path, cache: Path) -> None:
    clock = Clock(folder, cache)
    run, page = clock.ask("run"), clock.ask("episodes", stage="train")
    total = page[2]["total"]
    print(f"open: {run[0] + page[0]:.2f} s, CPU {run[1] + page[1]:.2f} s; {total} episodes")
    first = clock.ask("episodes", stage="train", text="nothing like this")
    print(f"first search: {first[0]:.2f} s, CPU {first[1]:.2f} s")
    filters: dict[str, list[dict[str, Any]]] = {
        "problem": [{"problem": f"problem-{n}1"} for n in range(5)],
        "text, rare": [{"text": f"# {n}77"} for n in range(5)],
        "text, frequent": [{"text": word} for word in ("self", "import", "batch", "def ", "time")],
        "verdict and turn": [{"verdict": v, "turn": 2} for v in ("WA", "RE", "none", "AC", "TLE")],
        "solved": [{"solved": n % 2, "from": n} for n in range(5)],
        "repaired": [{"repaired": 1, "from": n} for n in range(5)],
        "reward": [{"min_reward": 0.5, "to": 500 + n} for n in range(5)],
        "all of them": [
            {"problem": f"{n}", "text": f"# {n}9", "verdict": "WA", "turn": 1, "repaired": 1}
            for n in range(5)
        ],
        "sorted, far down": [{"sort": "tokens", "offset": 10**5 + n} for n in range(5)],
        "a text's next page": [{"text": "# 477", "offset": n} for n in range(5)],
    }
    for name, each in filters.items():
        found = [clock.ask("episodes", stage="train", **words) for words in each]
        walls, cpus, pages = zip(*found, strict=True)
        some = median(page["total"] for page in pages)
        print(f"{name}: {1000 * median(walls):.0f} ms, CPU {1000 * median(cpus):.0f} ms, {some}")
    for path, words in (
        ("episode", {"stage": "train", "row": total // 2}),
        ("transitions", {"stage": "train"}),
        ("verdicts", {}),
        ("problems", {"stage": "train"}),
        ("metrics", {}),
    ):
        wall, cpu, _ = clock.ask(path, **words)
        print(f"{path}: {1000 * wall:.0f} ms, CPU {1000 * cpu:.0f} ms")
    print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    status = Path("/proc/self/status").read_text()
    print("; ".join(line for line in status.splitlines() if line.startswith(("RssA", "RssF"))))


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.argv[2:3] == ["measure"]:
        measure(folder / "run", folder / "cache")
        measure_evaluation(folder / "eval", folder / "cache")
        return
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    for name, make in (("run", make_run), ("eval", make_evaluation)):
        if not (folder / name).exists():
            make(folder / name, count)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    for what in ("with an empty cache", "again, in a new process"):
        print(f"--- {what}", flush=True)
        subprocess.run([sys.executable, __file__, str(folder), "measure"], check=True)


if __name__ == "__main__":
    main()
