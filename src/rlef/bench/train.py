"""Where the time of a training step goes, what padding costs, and TRL beside it."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import rlef
from rlef.bench.rows import Row, machine_facts, skipped
from rlef.config import dump_config, join_words, load_config
from rlef.engines.load import load_model, model_path, resolve_device
from rlef.environment import Prompts
from rlef.environment.feedback import first_message
from rlef.learner.microbatch import micro_batches
from rlef.learner.ppo import PPOLearner
from rlef.problems import load_problems
from rlef.rollout.records import rollout_from_json
from rlef.run import RunFolder
from rlef.sandbox import Sandbox
from rlef.train.loop import Trainer
from rlef.train.recipe import TrainConfig

USEFUL = 0.85
TIMES_TRL = 1.5
GROWTH = 0.05
PER_PROBLEM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What to measure with.

    Attributes:
        recipe: A shipped recipe's name or a YAML file.
        words: Settings on it.
        batches: Batches of rollouts, after one that warms up.
        steps: Optimizer steps over which memory must not grow.
        trl: A Python with TRL; ``None``: TRL is left out.
    """

    recipe: str = "mini"
    words: tuple[str, ...] = ()
    batches: int = 5
    steps: int = 500
    trl: Path | None = None


class _Silent:
    """Shows nothing."""

    def message(self, text: str) -> None:
        """Ignores a line."""

    def update(self, metrics: Mapping[str, object]) -> None:
        """Ignores metrics."""


def phases(setting: Setting) -> list[Row]:
    """A step of the recipe as it is: seconds by phase, and tokens per second."""
    lines, rollouts, config = _train(setting, [], setting.batches)
    tokens = statistics.median(line["action_tokens"] for line in lines)
    whole = [line["rollout_s"] + line["update_s"] for line in lines]
    named = {
        "sampling": [line["generate_s"] for line in lines],
        "waiting for the judge": [line["judge_wait_s"] for line in lines],
        "rest of the rollouts": [
            line["rollout_s"] - line["generate_s"] - line["judge_wait_s"] for line in lines
        ],
        "scores": [line["score_s"] for line in lines],
        "optimizer steps": [line["update_s"] - line["score_s"] for line in lines],
    }
    rows = [
        Row(
            name=f"{name}, share of a batch's time",
            value=100 * statistics.median(a / b for a, b in zip(values, whole, strict=True)),
            unit="%",
            note=f"{statistics.median(values):.2f} s",
        )
        for name, values in named.items()
    ]
    rate = statistics.median(
        line["action_tokens"] / s for line, s in zip(lines, whole, strict=True)
    )
    rows.append(
        Row(
            name="sampled tokens trained on",
            value=rate,
            unit="tokens/s",
            note=f"batches of {config.rollout.batch} rollouts, {tokens:.0f} tokens, "
            f"{statistics.median(whole):.1f} s",
        )
    )
    return [*rows, _useful(rollouts, config)]


def _useful(rollouts: Sequence[Sequence[int]], config: TrainConfig) -> Row:
    """Tokens of the learner's micro-batches that are no padding.

    Args:
        rollouts: Lengths, batch by batch.
        config: Says how they are cut.
    """
    real = padded = 0
    for lengths in rollouts:
        size = config.learner.minibatch
        for start in range(0, len(lengths), size):  # problems stand in random order already
            part = torch.tensor(lengths[start : start + size])
            for rows in micro_batches(part, config.learner.micro_batch_tokens):
                real += int(part[rows].sum())
                padded += len(rows) * int(part[rows].max())
    return Row(
        name="useful tokens of those computed in the learner",
        value=100 * real / padded,
        unit="%",
        target=f"{100 * USEFUL:g} or more",
        met=real / padded >= USEFUL,
    )


def memory(setting: Setting) -> list[Row]:
    """Growth of the process's memory over many optimizer steps of a small recipe."""
    words = ["rollout.batch=8", "learner.minibatch=2", "rollout.max_new_tokens=48"]
    words += ["rollout.turn_limit=2", "rollout.group=8"]
    config, run, folder = _open(setting, words, setting.steps // 4 + 1)
    sizes: list[float] = []
    with folder, Sandbox(workers=2) as sandbox:
        trainer = Trainer(config, run, _Silent(), sandbox)
        while trainer.update < setting.steps:
            trainer.train_on_one_batch()
            if trainer.update * 5 >= setting.steps * (len(sizes) + 1):
                sizes.append(_resident_mb())
    growth = max(sizes[1:]) / sizes[0] - 1
    return [
        Row(
            name=f"growth of memory, {setting.steps} steps",
            value=100 * growth,
            unit="%",
            target=f"below {100 * GROWTH:g}",
            met=growth < GROWTH,
            note=f"from {sizes[0]:.0f} MB after a fifth of them",
        )
    ]


def vocabulary(_: Setting) -> list[Row]:
    """Peak memory of log-probabilities with gradient over a vocabulary of 150,000."""
    done = subprocess.run(
        [sys.executable, "-c", _VOCABULARY], capture_output=True, text=True, check=True
    )
    peak_mb, whole_mb = map(float, done.stdout.split())
    return [
        Row(
            name="log-probabilities of 4,096 tokens, vocabulary 150,000: peak",
            value=peak_mb / whole_mb,
            unit="of the logits",
            target="below 1",
            met=peak_mb < whole_mb,
            note=f"{peak_mb:.0f} MB, all logits {whole_mb:.0f} MB",
        )
    ]


_VOCABULARY = """
import resource, torch
from transformers import LlamaConfig, LlamaForCausalLM
from rlef.learner.models import action_logprobs
from rlef.rollout import RolloutBatch
V, N = 150_000, 4096
model = LlamaForCausalLM(LlamaConfig(vocab_size=V, hidden_size=32, intermediate_size=32,
    num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, tie_word_embeddings=True))
ids = torch.randint(0, V, (8, N // 8 + 1))
turn_ids = torch.zeros_like(ids); turn_ids[:, 0] = -1
none = torch.zeros((8, 0))
batch = RolloutBatch(token_ids=ids, token_mask=ids >= 0, turn_ids=turn_ids,
    logprobs=torch.zeros(ids.shape), prompt_ends=none.long(), turn_mask=none.bool(), rewards=none,
    groups=torch.arange(8), solved=torch.ones(8, dtype=torch.bool))
few = batch.select(torch.tensor([0]))
action_logprobs(model, few, with_entropy=True).logprobs.sum().backward()
model.zero_grad()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
action_logprobs(model, batch, with_entropy=True).logprobs.sum().backward()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / 1024, N * V * 4 / 2**20)
"""


def compiled(setting: Setting) -> list[Row]:
    """What ``torch.compile`` would save of forward and backward passes, and what it costs first."""
    config = load_config(TrainConfig, setting.recipe, setting.words)
    model = load_model(config.model, resolve_device(config.device))
    autocast = PPOLearner(model, config.learner, 0).autocast
    vocabulary = int(model.config.get_text_config().vocab_size)
    lengths = (240, 200, 300, 150, 260)
    size = config.learner.micro_batch_tokens
    shapes = [(max(1, size // length), length) for length in lengths] * setting.batches
    parts = [torch.randint(vocabulary, shape, device=model.device) for shape in shapes]
    trunk = model.base_model

    def seconds(call: Callable[..., Any], ids: Tensor) -> float:
        started = time.perf_counter()
        with autocast():
            hidden = call(input_ids=ids, use_cache=False).last_hidden_state
            hidden.float().sum().backward()
        model.zero_grad()
        float(hidden.detach().sum())  # waits for the device
        return time.perf_counter() - started

    faster = torch.compile(trunk, dynamic=True)
    name, unit = "passes through the layers, torch.compile", "times as fast"
    try:
        first = sum(seconds(faster, ids) for ids in parts[: len(lengths)])
    except Exception as error:  # of many kinds, such as where there is no C compiler
        return [skipped(name, unit, "", " ".join(str(error).split())[:160])]
    for ids in parts[: len(lengths)]:
        seconds(trunk, ids)
    pairs = [(seconds(trunk, ids), seconds(faster, ids)) for ids in parts]
    eager, ours = (sum(times) / len(pairs) for times in zip(*pairs, strict=True))
    note = f"{size} tokens in {eager:.2f} and {ours:.2f} s; first passes {first:.0f} s"
    return [Row(name=name, value=eager / ours, unit=unit, note=note)]


def trl(setting: Setting) -> list[Row]:
    """Single-turn GRPO, ours and TRL's: same model, prompts, batch, tokens and judge."""
    name, unit = "single-turn GRPO, to TRL's GRPOTrainer", "times the tokens/s"
    target = f"{TIMES_TRL:g} or more"
    if setting.trl is None:
        return [skipped(name, unit, target, "no Python with TRL was given: --trl PYTHON")]
    words = ["learner.advantage=grpo", "learner.kl=loss_k3", "rollout.turn_limit=1"]
    words += [f"rollout.per_problem={PER_PROBLEM}"]
    lines, _, config = _train(setting, words, setting.batches)
    ours = [line["action_tokens"] / (line["rollout_s"] + line["update_s"]) for line in lines]
    try:
        theirs = _trl_rates(setting, config)
    except _PeerFailed as error:
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


class _PeerFailed(Exception):
    """TRL did not run; one line says why."""


def _trl_rates(setting: Setting, config: TrainConfig) -> list[float]:
    """TRL's tokens per second, batch by batch, without the first one."""
    assert setting.trl is not None
    prompts = Prompts.load(config.rollout.prompts)
    count = config.rollout.batch // PER_PROBLEM * (setting.batches + 1)
    problems = load_problems(config.data.train)[:count]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.json"
        path.write_text(
            json.dumps(
                {
                    "model": str(model_path(config.model)),
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
            [str(setting.trl), str(script), str(path)],
            env={**os.environ, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise _PeerFailed(f"{setting.trl} failed: {last[:160]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    rates = [n / s for n, s in zip(found["tokens"], found["seconds"], strict=True)]
    return rates[1:]


def _open(
    setting: Setting, words: Sequence[str], batches: int
) -> "tuple[TrainConfig, RunFolder, tempfile.TemporaryDirectory[str]]":
    small = ["eval.random_feedback=false", "eval.problems=2", "eval.also=null"]
    own = join_words(setting.words, words, small)
    steps = load_config(TrainConfig, setting.recipe, own).updates_per_batch
    updates = batches * steps
    own = join_words(own, [f"updates={updates}", f"checkpoint_every={updates}"])
    config = load_config(TrainConfig, setting.recipe, own)
    folder = tempfile.TemporaryDirectory()
    return config, RunFolder.create(Path(folder.name) / "run", dump_config(config)), folder


def _train(
    setting: Setting, words: Sequence[str], batches: int
) -> tuple[list[dict[str, Any]], list[list[int]], TrainConfig]:
    """Trains on some batches after one that warms up.

    Returns:
        Their metrics, the lengths of their rollouts, and the recipe.
    """
    config, run, folder = _open(setting, words, batches + 1)
    with folder, Sandbox(workers=config.rollout.judge_workers) as sandbox:
        trainer = Trainer(config, run, _Silent(), sandbox)
        while trainer.update < config.updates:
            trainer.train_on_one_batch()
        lengths = []
        for name in run.rollout_names()[1:]:
            records = sorted(run.read_rollouts(name), key=lambda record: record["place"])
            lengths.append([len(rollout_from_json(record).token_ids) for record in records])
        return run.read_metrics()[1:], lengths, config


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


MEASURES: dict[str, Callable[[Setting], list[Row]]] = {
    "phases": phases,
    "compile": compiled,
    "trl": trl,
    "memory": memory,
    "vocabulary": vocabulary,
}
"""By name, in the order in which they are taken."""


def measure(names: Sequence[str], setting: Setting) -> Iterator[tuple[str, list[Row]]]:
    """Takes measures one after another, with their names."""
    for name in names:
        yield name, MEASURES[name](setting)


def facts() -> dict[str, object]:
    """What belongs beside the numbers."""
    return {**machine_facts(), "torch": torch.__version__, "threads": torch.get_num_threads()}
