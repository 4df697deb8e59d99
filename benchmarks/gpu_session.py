"""A recipe within so many minutes of a GPU: the number of updates is measured, not guessed.

Two batches in a run of their own say what a batch takes; the recipe then gets the updates that fit,
with its evaluations before and after. What is worth keeping goes to OUT, weights do not.

usage: python benchmarks/gpu_session.py OUT MINUTES RECIPE [KEY=VALUE ...]

such as  python benchmarks/gpu_session.py "$OUT" 8.5 qwen2.5-coder-0.5b-mbpp model=FOLDER \
             data.train=mbpp:mbpp.jsonl:601-974 data.valid=mbpp:mbpp.jsonl:511-600 \
             data.test=mbpp:mbpp.jsonl:11-510
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rlef.config import join_words, load_config
from rlef.run import RunFolder
from rlef.train.recipe import TrainConfig

STARTS_S = 40.0
"""Two processes that load everything, the evaluation's own engine, the report."""
KEPT = ("config.yaml", "metrics.jsonl", "summary.json", "report.html", "rollouts/eval-*")
DIALOGUES = 10


def main() -> None:
    out, minutes, recipe, *words = sys.argv[1:]
    end = time.monotonic() + 60 * float(minutes)
    config = load_config(TrainConfig, recipe, words)
    folder = Path(tempfile.mkdtemp(prefix="gpu-session-"))
    batch_s, episode_s = probe(folder / "probe", recipe, words, config)
    updates = that_fit(config, end - time.monotonic() - STARTS_S, batch_s, episode_s)
    print(
        f"a batch takes {batch_s:.1f} s, an evaluated episode {1000 * episode_s:.1f} ms: "
        f"{updates} updates fit",
        flush=True,
    )
    own = [f"updates={updates}", f"checkpoint_every={updates}", "checkpoint_dtype=bfloat16"]
    rlef("train", recipe, *join_words(words, own), "--out", folder / "run")
    rlef("report", folder / "run")
    keep(folder / "run", Path(out))
    shutil.rmtree(folder)


def probe(folder: Path, recipe: str, words: list[str], config: TrainConfig) -> tuple[float, float]:
    """Seconds of a whole batch, and of an episode of an evaluation: those of the second batch."""
    updates = 2 * config.updates_per_batch
    own = [
        *(f"updates={updates}", f"checkpoint_every={updates}", "learner.critic_warmup_updates=0"),
        *("data.valid=null", "eval.every=null", "eval.problems=2", "eval.samples=1"),
        *("eval.also=null", "eval.random_feedback=false"),
    ]
    rlef("train", recipe, *join_words(words, own), "--out", folder)
    line = RunFolder.open(folder).read_metrics()[-1]
    rollout_s, update_s = float(line["rollout_s"]), float(line["update_s"])
    shutil.rmtree(folder)
    return rollout_s + update_s, rollout_s / config.rollout.batch


def that_fit(config: TrainConfig, seconds: float, batch_s: float, episode_s: float) -> int:
    """Updates with their evaluations, a multiple of those between two looks at ``data.valid``."""
    from rlef.problems import load_problems

    test = load_problems(config.data.test)[: config.eval.problems]
    valid = load_problems(config.data.valid) if config.data.valid else []
    stages = (3 if config.eval.random_feedback else 2) * len(config.eval.samplings)
    problem_s = config.eval.samples * episode_s
    left = seconds - stages * len(test) * problem_s
    every = config.eval.every or config.updates_per_batch
    looks_s = len(valid) * problem_s
    rounds = left / (every // config.updates_per_batch * batch_s + looks_s)
    if rounds < 1:
        sys.exit(f"too little time: the evaluations leave {left:.0f} s for training")
    return min(config.updates, every * math.floor(rounds))


def keep(run: Path, out: Path) -> None:
    """Copies what is small, and writes dialogues to read."""
    for pattern in KEPT:
        for path in run.glob(pattern):
            target = out / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    records = RunFolder.open(run).read_rollouts("eval-after")
    (out / "dialogues.md").write_text(dialogues(records), encoding="utf-8", errors="replace")


def dialogues(records: list[dict[str, Any]]) -> str:
    """The first ten episodes with a second turn, half of them solved, as Markdown."""
    later = [record for record in records if len(record["turns"]) > 1]
    solved = [record for record in later if record["solved"]][: DIALOGUES // 2]
    failed = [record for record in later if not record["solved"]][: DIALOGUES - len(solved)]
    parts = []
    for record in [*solved, *failed]:
        outcome = "solved" if record["solved"] else f"not solved ({record['stop']})"
        parts.append(f"## {record['problem']}: {outcome}\n")
        for number, turn in enumerate(record["turns"], start=1):
            parts.append(
                f"**Answer {number}** ({', '.join(turn['public_verdicts']) or 'no code'})\n"
            )
            parts.append(quoted(turn["response"]))
            if turn["feedback"]:
                parts.append(f"**Feedback**\n\n{quoted(turn['feedback'])}")
    return "\n".join(parts)


def quoted(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def rlef(*words: object) -> None:
    """Runs a command; where it fails, so does this."""
    command = [sys.executable, "-m", "rlef.cli.main", *map(str, words)]
    started = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    print(json.dumps({"rlef": words[0], "s": round(time.monotonic() - started, 1)}), flush=True)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
