"""Tokens per second of an engine: answers of up to 128 tokens, to twice as many prompts as at once.

usage: engines.py hf|vllm MODEL [dtype] [prompts at once, by default 16] [graphs: with CUDA graphs]
"""

import asyncio
import sys
import time

from rlef.engines import Completion, Engine, HFEngine, SamplingParams
from rlef.engines.hf_settings import HFSettings
from rlef.engines.open import open_engine
from rlef.environment import ChatFormat, Prompts
from rlef.environment.feedback import first_message
from rlef.problems import load_problems

SAMPLING = SamplingParams(temperature=0.2, top_p=0.95, max_new_tokens=128)


def sample(engine: Engine, prompts: list[list[int]], seed: int) -> int:
    """Samples an answer to each prompt; returns how many tokens that were."""

    async def answer(place: int) -> Completion:
        with engine.seat() as generate:
            found = await generate(prompts[place], SAMPLING, seed + place)
        assert isinstance(found, Completion)
        return found

    async def answers() -> list[Completion]:
        return await asyncio.gather(*map(answer, range(len(prompts))))

    if isinstance(engine, HFEngine):
        engine.clear_cache()
    return sum(len(completion.token_ids) for completion in asyncio.run(answers()))


def main(kind: str, model: str, dtype: str = "auto", at_once: str = "16", graphs: str = "") -> None:
    started = time.perf_counter()
    rows, settings = int(at_once), HFSettings(cuda_graphs=graphs == "graphs")
    engine, chat = open_engine(
        kind, model, dtype=dtype, concurrency=rows, max_context=1024, hf=settings
    )
    loaded = time.perf_counter()
    assert isinstance(chat, ChatFormat)
    templates = Prompts.load("default")
    problems = load_problems("mini:dev")
    prompts = [chat.prompt_ids(first_message(problem.public, templates)) for problem in problems]
    prompts = [prompts[place % len(prompts)] for place in range(2 * rows)]
    sample(engine, prompts[:4], 1000)  # what is made at the first use
    rates = []
    for seed in (0, 100, 200):
        began = time.perf_counter()
        rates.append(sample(engine, prompts, seed) / (time.perf_counter() - began))
    low, middle, high = sorted(rates)
    print(
        f"{kind} {model} {dtype}, {rows} at once: {middle:.0f} tokens/s ({low:.0f} to {high:.0f}), "
        f"loaded in {loaded - started:.0f} s"
    )
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
