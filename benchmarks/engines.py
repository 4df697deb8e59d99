"""Tokens per second of an engine: 32 prompts, 16 at once, answers of up to 128 tokens.

usage: engines.py hf|vllm MODEL [dtype]
"""

import asyncio
import sys
import time

from rlef.engines import Completion, Engine, HFEngine, SamplingParams
from rlef.engines.open import open_engine
from rlef.environment import ChatFormat, Prompts
from rlef.environment.feedback import first_message
from rlef.problems import load_problems

COUNT = 32
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


def main(kind: str, model: str, dtype: str = "auto") -> None:
    started = time.perf_counter()
    engine, chat = open_engine(kind, model, dtype=dtype, concurrency=16, max_context=2048)
    loaded = time.perf_counter()
    assert isinstance(chat, ChatFormat)
    templates = Prompts.load("default")
    problems = load_problems("mini:dev")[:COUNT]
    prompts = [chat.prompt_ids(first_message(problem.public, templates)) for problem in problems]
    sample(engine, prompts[:4], 1000)  # what is made at the first use
    rates = []
    for seed in (0, 100, 200):
        began = time.perf_counter()
        rates.append(sample(engine, prompts, seed) / (time.perf_counter() - began))
    low, middle, high = sorted(rates)
    print(
        f"{kind} {model} {dtype}: {middle:.0f} tokens/s ({low:.0f} to {high:.0f}), "
        f"loaded in {loaded - started:.0f} s"
    )
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
