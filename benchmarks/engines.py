"""Tokens per second of an engine: 32 prompts, 16 at once, answers of up to 128 tokens.

usage: engines.py hf|vllm MODEL [dtype]
"""

import sys
import time

from rlef.engines import HFEngine, SamplingParams, StreamingEngine
from rlef.engines.open import open_engine
from rlef.environment import ChatFormat, Prompts
from rlef.environment.feedback import first_message
from rlef.problems import load_problems

COUNT = 32
SAMPLING = SamplingParams(temperature=0.2, top_p=0.95, max_new_tokens=128)


def sample(engine: HFEngine | StreamingEngine, prompts: list[list[int]], seed: int) -> int:
    """Samples an answer to each prompt; returns how many tokens that were."""
    if isinstance(engine, StreamingEngine):
        for key, prompt in enumerate(prompts):
            engine.submit(key, prompt, SAMPLING, seed + key)
        found = []
        while len(found) < len(prompts):
            found += [completion for _, completion in engine.collect(0.1)]
    else:
        engine.clear_cache()
        found = engine.generate(prompts, SAMPLING, range(seed, seed + len(prompts)))
    return sum(len(completion.token_ids) for completion in found)


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


if __name__ == "__main__":
    main(*sys.argv[1:])
