"""Run by the Python that has vLLM: what the engines ``vllm`` and ``hf`` make of one model.

usage: vllm_checks.py MODEL_FOLDER; prints one line of JSON.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import torch

from rlef.engines import Completion, Engine, FinishReason, HFEngine, SamplingParams
from rlef.engines.load import load_model, load_tokenizer
from rlef.engines.sampling import all_logprobs
from rlef.engines.vllm import VLLMEngine
from rlef.engines.vllm_settings import VLLMSettings
from rlef.environment import ChatFormat

ASKED = (
    "Write a Python program that reads n and prints the n-th Fibonacci number.",
    "Read two integers and print their sum. Answer with a program in ```python.",
    "What is a binary search? Be brief.",
    "Name three colours.",
)
SAMPLING = {
    "plain": SamplingParams(max_new_tokens=48),
    "paper": SamplingParams(temperature=0.2, top_p=0.95, max_new_tokens=48),
    "top-k": SamplingParams(temperature=0.7, top_k=20, top_p=0.8, max_new_tokens=48),
}
CONTEXT = 256


def complete(
    engine: Engine, prompts: list[list[int]], params: SamplingParams, seed: int
) -> list[Completion]:
    async def all_of_them() -> list[Any]:
        with engine.seat() as generate:
            asked = [generate(prompt, params, seed + key) for key, prompt in enumerate(prompts)]
            return await asyncio.gather(*asked)

    return asyncio.run(all_of_them())


def differences(
    model: torch.nn.Module, prompt: list[int], completion: Completion, params: SamplingParams
) -> list[float]:
    """Per token, its log-probability as ``transformers`` sees it less that of the engine."""
    ids = torch.tensor([[*prompt, *completion.token_ids]])
    with torch.inference_mode():
        logits = model(ids).logits[0, len(prompt) - 1 : -1]
    logprobs = all_logprobs(logits, params)
    chosen = logprobs.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
    return (chosen - torch.tensor(completion.logprobs)).tolist()


def main(folder: str) -> None:
    chat = ChatFormat(load_tokenizer(folder))
    engine = VLLMEngine(
        folder,
        stop_token_ids=chat.stop_token_ids,
        dtype="float32",
        max_context=CONTEXT,
        concurrency=8,
        settings=VLLMSettings(eager=True),
    )
    prompts = [chat.prompt_ids(message) for message in ASKED]
    sampled = {name: complete(engine, prompts, params, 1) for name, params in SAMPLING.items()}
    again = complete(engine, prompts, SAMPLING["plain"], 1)
    other = complete(engine, prompts, SAMPLING["plain"], 77)
    greedy = SamplingParams(temperature=0, max_new_tokens=24)
    greedily = complete(engine, prompts, greedy, 1)
    full = [prompt * (CONTEXT // len(prompt) + 1) for prompt in prompts]
    at_limit = complete(engine, [ids[: CONTEXT - 3] for ids in full], SAMPLING["plain"], 1)
    refused = ""
    try:
        complete(engine, [full[0][:CONTEXT]], greedy, 0)
    except ValueError as error:
        refused = str(error)
    engine.close()

    model = load_model(folder, "cpu")
    hf = HFEngine(model, stop_token_ids=chat.stop_token_ids)
    found = {
        name: [
            difference
            for prompt, completion in zip(prompts, sampled[name], strict=True)
            for difference in differences(model, prompt, completion, params)
        ]
        for name, params in SAMPLING.items()
    }
    result: Mapping[str, object] = {
        "differences": found,
        "same_seed": [c.token_ids for c in again] == [c.token_ids for c in sampled["plain"]],
        "other_seed": [c.token_ids for c in other] == [c.token_ids for c in sampled["plain"]],
        "greedy_vllm": [c.token_ids for c in greedily],
        "greedy_hf": [c.token_ids for c in hf.generate_batch(prompts, greedy, [0] * len(prompts))],
        "greedy_logprobs": sorted({x for c in greedily for x in c.logprobs}),
        "stops": [
            (c.token_ids[-1] in chat.stop_token_ids) == (c.finish is FinishReason.STOP)
            for some in sampled.values()
            for c in some
        ],
        "at_limit": [len(c.token_ids) for c in at_limit],
        "refused": refused,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
