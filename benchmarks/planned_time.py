"""The plan's seconds beside measured ones, on this CPU, with speeds measured just before.

usage: python benchmarks/planned_time.py [TIMES]

A small Llama, one thread: an update of eight rollouts, and a decoding step of 1 and of 8 rows.
Prints planned to measured, which is 1 where ``rlef plan`` is right.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlef.config import load_config
from rlef.engines import HFEngine, SamplingParams
from rlef.engines.hf_settings import HFSettings
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.train.cluster_time import Clock, make_clock
from rlef.train.hardware import Hardware, Workload
from rlef.train.recipe import TrainConfig

LAYERS, WIDTH, WIDE = 4, 256, 704
SHAPE: dict[str, Any] = {
    "vocab_size": 800, "hidden_size": WIDTH, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False,
}  # fmt: skip
WORDS = [
    "device=cpu", "updates=1", "checkpoint_every=1", "rollout.batch=8", "learner.minibatch=8",
    "learner.micro_batch_tokens=512", "rollout.turn_limit=2", "rollout.max_context=512",
]  # fmt: skip
ROLLOUT = Workload(prompt_tokens=40, feedback_tokens=30, answer_tokens=40, turns=2, spread=1e-9)


def seconds(call: Callable[[], Any], repeat: int = 3) -> float:
    """The best of some."""
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)


def products(rows: int) -> float:
    """Operations per second in products as wide as the model's."""
    a, b = torch.randn(rows, WIDTH), torch.randn(WIDTH, WIDE)
    return 20 * 2 * rows * WIDTH * WIDE / seconds(lambda: [a @ b for _ in range(20)])


def sample(model: LlamaForCausalLM, rows: int, tokens: int) -> float:
    """Seconds of the engine for so many tokens of each row, the prompt's pass taken off."""

    async def all_rows(engine: HFEngine, count: int) -> None:
        async def one(seed: int) -> None:
            with engine.seat() as generate:
                await generate([1] * 40, SamplingParams(max_new_tokens=count), seed)

        await asyncio.gather(*(one(row) for row in range(rows)))

    def run(count: int) -> float:
        engine = HFEngine(
            model, stop_token_ids=(10**6,), max_context=256, max_batch=rows, settings=HFSettings()
        )
        try:
            return seconds(lambda: asyncio.run(all_rows(engine, count)), repeat=2)
        finally:
            engine.close()

    return run(tokens + 1) - run(1)


def make_batch(rows: int) -> RolloutBatch:
    """Rollouts of two turns: prompts of 40 and 30 tokens, each with an answer of 40."""
    turn = [-1] * 40 + [0] * 40 + [-1] * 30 + [1] * 40
    shape = (rows, len(turn))
    turn_ids = torch.tensor(turn).repeat(rows, 1)
    return RolloutBatch(
        token_ids=torch.randint(2, SHAPE["vocab_size"], shape),
        token_mask=torch.ones(shape, dtype=torch.bool),
        sequence_ids=torch.zeros(shape, dtype=torch.int64),
        turn_ids=turn_ids,
        behavior_logprobs=torch.where(turn_ids < 0, 0.0, -4 * torch.rand(shape)),
        prompt_ends=torch.tensor([39, 109]).repeat(rows, 1),
        turn_mask=torch.ones((rows, 2), dtype=torch.bool),
        rewards=torch.tensor([0.0, 1.0]).repeat(rows, 1),
        versions=torch.zeros((rows, 2), dtype=torch.int64),
        groups=torch.arange(rows),
        solved=torch.ones(rows, dtype=torch.bool),
    )


def make_cpu_clock() -> Clock:
    """With the speeds of this CPU, as they are now."""
    numbers = torch.randn(8_000_000)
    thin = LlamaForCausalLM(
        LlamaConfig(**SHAPE | {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16})
    )
    hardware = Hardware(
        name="this CPU",
        flops=products(400),
        bandwidth=numbers.nbytes / seconds(numbers.sum),
        train_share=0.7,
        prefill_share=0.7,
        step_s=0.0,
        eager_layer_s=sample(thin, 1, 40) / 40 / LAYERS,
    )
    config = load_config(TrainConfig, "mini", WORDS)
    return make_clock(config, LlamaConfig(**SHAPE), hardware, ROLLOUT, 1)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| | planned | measured | ratio |\n|---|---:|---:|---:|")
    for _ in range(times):
        clock = make_cpu_clock()
        model = LlamaForCausalLM(LlamaConfig(**SHAPE)).train(False)
        found = [
            (f"a step of {rows} rows", clock.step(rows, 1), sample(model, rows, 40) / 40)
            for rows in (1, 8)
        ]
        learner, batch = LocalLearner(model, clock.config.learner, seed=0), make_batch(8)
        update = seconds(lambda: learner.update(batch, 1))  # noqa: B023  (called at once)
        found.append(("an update", sum(clock.update(1).values()), update))
        for name, planned, measured in found:
            ratio = planned / measured
            print(f"| {name} | {1000 * planned:.2f} ms | {1000 * measured:.2f} ms | {ratio:.2f} |")


if __name__ == "__main__":
    main()
