"""Where the time of a training step goes, and what padding costs."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlef.bench.rows import Row, machine_facts, skipped
from rlef.bench.steps import Steps, watch_steps
from rlef.config import dump_config, join_words, load_config
from rlef.engines.load import load_model, resolve_device
from rlef.learner.flops import pass_cost, peak_flops
from rlef.learner.precision import autocast, resolve_precision
from rlef.learner.update import LocalLearner
from rlef.run import RunFolder
from rlef.train.loop import Trainer
from rlef.train.parts import build_parts
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig

USEFUL = 0.95
GROWTH = 0.05
UTILISATION = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What to measure with.

    Attributes:
        recipe: A shipped recipe's name or a YAML file.
        words: Settings on it.
        batches: Batches of rollouts, after one that warms up.
        steps: Optimizer steps over which memory must not grow.
    """

    recipe: str = "mini"
    words: tuple[str, ...] = ()
    batches: int = 5
    steps: int = 500


def phases(setting: Setting) -> list[Row]:
    """A step of the recipe as it is: seconds by phase, and tokens per second."""
    config, run, folder = _open(setting, [], setting.batches + 1)
    with folder, build_parts(config, run, Silent()) as parts:
        learner = parts.learner
        assert isinstance(learner, LocalLearner)
        updates = watch_steps(learner)
        Trainer(parts).train_to_the_end()
        lines, updates = run.read_metrics()[1:], updates[1:]
        used = _utilisation(learner, updates, config)
    tokens = statistics.median(line["action_tokens"] for line in lines)
    whole = [line["rollout_s"] + line["update_s"] for line in lines]
    rows = _shares(lines, updates, whole, config)
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
    return [*rows, _useful(updates), *used]


def _shares(
    lines: Sequence[dict[str, Any]],
    updates: Sequence[Steps],
    whole: Sequence[float],
    config: TrainConfig,
) -> list[Row]:
    """Parts of a batch's time; nothing else goes on while one of them does."""
    name = "share of a batch's time"
    if config.rollout.max_staleness > 0:
        why = "so sampling goes on while the learner updates, and parts do not add up"
        return [skipped(f"parts, {name}", "%", "", _staleness(config, why))]
    named: dict[str, list[float]] = {
        "sampling": [line["generate_s"] for line in lines],
        "waiting for the judge": [line["judge_wait_s"] for line in lines],
        "rest of the rollouts": [
            line["rollout_s"] - line["generate_s"] - line["judge_wait_s"] for line in lines
        ],
        "scores": [line["score_s"] for line in lines],
        "optimizer steps": [steps.seconds for steps in updates],
        "rest of the update": [
            line["update_s"] - line["score_s"] - steps.seconds
            for line, steps in zip(lines, updates, strict=True)
        ],
    }
    return [
        Row(
            name=f"{part}, {name}",
            value=100 * statistics.median(a / b for a, b in zip(values, whole, strict=True)),
            unit="%",
            note=f"{statistics.median(values):.2f} s",
        )
        for part, values in named.items()
    ]


def _staleness(config: TrainConfig, why: str) -> str:
    return f"rollout.max_staleness is {config.rollout.max_staleness}, {why}"


def _useful(updates: Sequence[Steps]) -> Row:
    """Tokens that policy and critic read in optimizer steps and that are no padding."""
    passes = [one for steps in updates for one in (steps.policy, steps.critic)]
    share = sum(sum(one.lengths) for one in passes) / sum(one.computed for one in passes)
    return Row(
        name="useful tokens of those computed in the learner",
        value=100 * share,
        unit="%",
        target=f"{100 * USEFUL:g} or more",
        met=share >= USEFUL,
    )


def _utilisation(learner: LocalLearner, updates: Sequence[Steps], config: TrainConfig) -> list[Row]:
    """Operations that the optimizer steps need, to what a product of matrices reaches here."""
    model, on_gpu = learner.policy.model, learner.policy.model.device.type == "cuda"
    name = "model FLOPs utilisation in the optimizer steps"
    target = f"{100 * UTILISATION:g} or more" if on_gpu else ""
    rows = []
    if on_gpu:
        most = torch.cuda.max_memory_allocated() / 2**30
        rows.append(Row(name="peak memory of the GPU", value=most, unit="GiB"))
    if config.rollout.max_staleness > 0:
        why = "so the sampler takes a part of the device while the learner updates"
        return [skipped(name, "%", target, _staleness(config, why)), *rows]
    needed = 0.0
    for steps in updates:
        needed += pass_cost(model, steps.policy.lengths, steps.policy.states).both
        if learner.critic is not None:
            needed += pass_cost(learner.critic.backbone, steps.critic.lengths, 0).both
    dtype = torch.bfloat16 if learner.precision == "bfloat16" else torch.float32
    peak = peak_flops(model.device, dtype)
    reached = needed / sum(steps.seconds for steps in updates)
    used = Row(
        name=name,
        value=100 * reached / peak,
        unit="%",
        target=target,
        met=reached / peak >= UTILISATION if on_gpu else None,
        note=f"{reached / 1e9:,.0f} GFLOP/s; a product of {learner.precision} matrices "
        f"{peak / 1e9:,.0f}",
    )
    return [used, *rows]


def memory(setting: Setting) -> list[Row]:
    """Growth of the process's memory over many optimizer steps of a small recipe."""
    words = ["rollout.batch=8", "learner.minibatch=2", "rollout.max_new_tokens=48"]
    words += ["rollout.turn_limit=2", "rollout.group=8"]
    config, run, folder = _open(setting, words, setting.steps // 4 + 1)
    sizes: list[float] = []
    with folder, build_parts(config, run, Silent()) as parts:
        trainer = Trainer(parts)
        while parts.learner.version < setting.steps:
            trainer.train_on_one_batch()
            if parts.learner.version * 5 >= setting.steps * (len(sizes) + 1):
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
from rlef.learner.models import Policy
from rlef.rollout import RolloutBatch
V, N = 150_000, 4096
model = LlamaForCausalLM(LlamaConfig(vocab_size=V, hidden_size=32, intermediate_size=32,
    num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, tie_word_embeddings=True))
policy = Policy(model)
ids = torch.randint(0, V, (8, N // 8 + 1))
turn_ids = torch.zeros_like(ids); turn_ids[:, 0] = -1
none = torch.zeros((8, 0))
batch = RolloutBatch(token_ids=ids, token_mask=ids >= 0,
    sequence_ids=torch.zeros_like(ids), turn_ids=turn_ids,
    behavior_logprobs=torch.zeros(ids.shape), prompt_ends=none.long(), turn_mask=none.bool(),
    rewards=none, versions=none.long(), groups=torch.arange(8),
    solved=torch.ones(8, dtype=torch.bool))
few = batch.select(torch.tensor([0]))
policy(few, with_entropy=True).logprobs.sum().backward()
model.zero_grad()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
policy(batch, with_entropy=True).logprobs.sum().backward()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / 1024, N * V * 4 / 2**20)
"""


def compiled(setting: Setting) -> list[Row]:
    """What ``torch.compile`` would save of forward and backward passes, and what it costs first."""
    config = load_config(TrainConfig, setting.recipe, setting.words)
    model = load_model(config.model.name, resolve_device(config.device))
    precision = resolve_precision(config.learner.precision, model.device)
    vocabulary = int(model.config.get_text_config().vocab_size)
    lengths = (240, 200, 300, 150, 260)
    size = config.learner.micro_batch_tokens
    shapes = [(max(1, size // length), length) for length in lengths] * setting.batches
    parts = [torch.randint(vocabulary, shape, device=model.device) for shape in shapes]
    trunk = model.base_model

    def seconds(call: Callable[..., Any], ids: Tensor) -> float:
        started = time.perf_counter()
        with autocast(precision, model.device):
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


@contextmanager
def trained_batches(
    setting: Setting, words: Sequence[str], batches: int
) -> Iterator[tuple[Trainer, list[dict[str, Any]], TrainConfig]]:
    """Trains on some batches after one that warms up.

    Yields:
        What trained, the metrics of these batches, and the recipe.
    """
    config, run, folder = _open(setting, words, batches + 1)
    with folder, build_parts(config, run, Silent()) as parts:
        trainer = Trainer(parts)
        trainer.train_to_the_end()
        yield trainer, run.read_metrics()[1:], config


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


MEASURES: dict[str, Callable[[Setting], list[Row]]] = {
    "phases": phases,
    "compile": compiled,
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
