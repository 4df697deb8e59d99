"""Single-turn GRPO, ours beside TRL's GRPOTrainer: same model, prompts, batch, tokens and judge.

    python benchmarks/trl_compare.py PYTHON [RECIPE] [KEY=VALUE ...] [--batches 5]

PYTHON is one that has TRL. Exit status 0: ours is as fast as the target says.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import rlef
from rlef.bench.rows import Row, machine_facts, skipped
from rlef.bench.train import Setting, trained_batches
from rlef.cli.bench import print_table
from rlef.cli.common import quiet_transformers
from rlef.engines.load import model_path
from rlef.environment import Prompts
from rlef.environment.feedback import first_message
from rlef.problems import load_problems
from rlef.train.recipe import TrainConfig

TIMES_TRL = 1.5
PER_PROBLEM = 4


def trl(setting: Setting, python: Path) -> list[Row]:
    """Single-turn GRPO, ours and TRL's: same model, prompts, batch, tokens and judge."""
    name, unit = "single-turn GRPO, to TRL's GRPOTrainer", "times the tokens/s"
    target = f"{TIMES_TRL:g} or more"
    words = ["learner.advantage=grpo", "learner.kl=loss_k3", "rollout.turn_limit=1"]
    words += [f"rollout.per_problem={PER_PROBLEM}"]
    with trained_batches(setting, words, setting.batches) as (_, lines, config):
        pass
    ours = [line["action_tokens"] / (line["rollout_s"] + line["update_s"]) for line in lines]
    try:
        theirs = _trl_rates(setting, config, python)
    except PeerFailed as error:
        return [skipped(name, unit, target, str(error))]
    ratio = statistics.median(ours) / statistics.median(theirs)
    return [
        Row(
            name=name,
            value=ratio,
            unit=unit,
            target=target,
            met=ratio >= TIMES_TRL,
            note=f"{statistics.median(ours):.0f} and {statistics.median(theirs):.0f} tokens/s, "
            f"medians of {setting.batches} batches of {config.rollout.batch}",
        )
    ]


class PeerFailed(Exception):
    """TRL did not run; one line says why."""


def _trl_rates(setting: Setting, config: TrainConfig, python: Path) -> list[float]:
    """TRL's tokens per second, batch by batch, without the first one."""
    prompts = Prompts.load(config.rollout.prompts)
    count = config.rollout.batch // PER_PROBLEM * (setting.batches + 1)
    problems = load_problems(config.data.train)[:count]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.json"
        path.write_text(
            json.dumps(
                {
                    "model": str(model_path(config.model.name)),
                    "data": config.data.train,
                    "prompts": [(p.name, first_message(p.public, prompts)) for p in problems],
                    "batch": config.rollout.batch,
                    "minibatch": config.learner.minibatch,
                    "per_problem": PER_PROBLEM,
                    "max_new_tokens": config.rollout.max_new_tokens,
                    "batches": setting.batches + 1,
                    "beta": config.learner.beta,
                    "lr": config.learner.lr,
                    "device": config.device,
                    "threads": torch.get_num_threads(),
                    "out": folder,
                }
            )
        )
        script = Path(__file__).with_name("trl_peer.py")
        source = str(Path(rlef.__file__).parents[1])
        done = subprocess.run(
            [str(python), str(script), str(path)],
            env={**os.environ, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PeerFailed(f"{python} failed: {last[:160]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    rates = [n / s for n, s in zip(found["tokens"], found["seconds"], strict=True)]
    return rates[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("python", type=Path, help="a Python that has TRL")
    parser.add_argument("recipe", nargs="?", default="mini")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--batches", type=int, default=5)
    given = parser.parse_args()
    if not os.access(given.python, os.X_OK):
        parser.error(f"{given.python} is no program; allowed: a Python that has TRL")
    quiet_transformers()
    setting = Setting(recipe=given.recipe, words=tuple(given.words), batches=given.batches)
    rows = trl(setting, given.python)
    print_table(rows, machine_facts())
    sys.exit(any(row.met is False for row in rows))


if __name__ == "__main__":
    main()
