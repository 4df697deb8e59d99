"""The plan's seconds beside measured ones, on this CPU, with speeds measured just before."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hand_batch import make_rollout
from transformers import LlamaConfig, LlamaForCausalLM

from rlef.config import load_config
from rlef.engines import HFEngine, SamplingParams
from rlef.engines.hf_settings import HFSettings
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.train.cluster_time import Clock, make_clock
from rlef.train.hardware import Hardware, Workload
from rlef.train.recipe import TrainConfig

FACTOR = 2.5
"""Planned to measured, either way; seen were 0.6 to 1.5, with others at work beside it."""
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


@pytest.fixture(scope="module")
def clock() -> Clock:
    """With the speeds of this CPU, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
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
    yield make_clock(config, LlamaConfig(**SHAPE), hardware, ROLLOUT, 1)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).train(False)


@pytest.mark.slow
def test_an_update(clock: Clock, model: LlamaForCausalLM) -> None:
    rollouts = [make_rollout([(40, 40), (30, 40)], seed=seed) for seed in range(8)]
    batch = RolloutBatch.from_rollouts(rollouts, num_turns=2)
    learner = LocalLearner(model, clock.config.learner, seed=0)
    measured = seconds(lambda: learner.update(batch, 1))
    planned = sum(clock.update(1).values())
    assert measured / FACTOR < planned < FACTOR * measured, (planned, measured)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 8])
def test_decoding(clock: Clock, model: LlamaForCausalLM, rows: int) -> None:
    measured = sample(model, rows, 40) / 40
    planned = clock.step(rows, 1)
    assert measured / FACTOR < planned < FACTOR * measured, (planned, measured)
