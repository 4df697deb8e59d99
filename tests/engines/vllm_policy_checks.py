"""Run by the Python that has vLLM: new weights for the mini model while vLLM runs.

usage: vllm_policy_checks.py DTYPE FOLDER, or vllm_policy_checks.py two; prints one line of JSON.
"""

import asyncio
import json
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

import rlef.engines.vllm_weights
from rlef.engines import Completion, EngineError, SamplingParams
from rlef.engines.load import load_chat, load_model
from rlef.engines.transfer import Dtypes, StreamedWeights, buckets
from rlef.engines.vllm import VLLMEngine
from rlef.engines.vllm_native import EnginesClient, Group, Source
from rlef.engines.vllm_settings import VLLMSettings
from rlef.engines.weights import ModelWeights, checkpoint_tensors

CHAT = load_chat("mini")
ROWS = [
    CHAT.prompt_ids(f"Read n and print {what}. " * 20)[-190:]  # vLLM caches blocks of 128 on a CPU
    for what in ("n * n", "the sum of the digits of n", "all numbers up to n", "n")
]
LONG = SamplingParams(max_new_tokens=300)


def start(model: str, dtype: str, **words: Any) -> VLLMEngine:
    return VLLMEngine(
        model,
        stop_token_ids=(words.pop("stops", True) and CHAT.stop_token_ids) or (),
        dtype=dtype,
        max_context=512,
        concurrency=8,
        settings=VLLMSettings(eager=True, **words),
    )


@torch.no_grad()
def update(model: PreTrainedModel, size: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight += size * torch.randn(weight.shape, generator=generator).sign()


def streamed(model: PreTrainedModel, version: int, dtypes: Dtypes | None = None) -> StreamedWeights:
    """As from another process, in buckets that no embedding fits in."""
    weights = ModelWeights(version=version, model=model)
    parts = buckets(weights, checkpoint_names=True, dtypes=dtypes or {}, limit=1 << 16)
    there = [pickle.dumps(bucket) for bucket in parts]
    return StreamedWeights(version, map(pickle.loads, there), weights.logprobs)


def rounded(engine: VLLMEngine, model: PreTrainedModel, rows: list[list[int]]) -> dict[str, Any]:
    """Sends weights whole, and in the dtypes that the engine holds: what it samples from then."""
    holds, names = engine.held_dtypes(), {name for name, _ in checkpoint_tensors(model)}
    found = []
    for dtypes in ({}, holds):
        sent = list(streamed(model, 104, dtypes)._buckets or ())
        engine.load_weights(
            StreamedWeights(104, sent, ModelWeights(version=104, model=model).logprobs)
        )
        found.append((sum(bucket.data.nbytes for bucket in sent), engine.score(rows, 4)))
    (whole, theirs), (half, ours) = found
    return {
        "holds": sorted(set(holds.values())),
        "unknown": sorted(names - holds.keys()),
        "bytes": half / whole,
        "moved": float(np.abs(ours - theirs).max()),
    }


class Partly(ModelWeights):
    """Without one layer."""

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, t) for name, t in checkpoint_tensors(self.model) if "layers.2." not in name)


def send_as_a_trainer(engine: VLLMEngine, model: PreTrainedModel) -> list[float]:
    """Goes through the phases as vLLM's own trainers do; theirs need GPUs."""
    weights = ModelWeights(version=105, model=model)
    source = Source(lambda: weights)
    group = Group(rank=0, address="", port=0, engines=1, workers=1)
    client = EnginesClient(lambda phase, words: engine.transfer(phase, words[0]), group)
    client.version = 105
    client.start_weight_update()
    assert [m.name for m in source.metadata()] == [name for name, _ in source]
    client.update_weights({"tensors": list(source)})
    client.finish_weight_update()
    gap = engine.compare(weights)
    return [gap, *(done.version for done in ask(engine, ROWS[:1], SamplingParams()))]


def ranks_of_two_engines() -> list[int]:
    asked: list[Any] = []
    group = Group(rank=0, address="", port=0, engines=2, workers=4)
    client = EnginesClient(lambda _, words: asked.extend(words), group)
    client.init_weight_transfer_engine({"rank_offset": 1})
    return [words["init_info"]["rank_offset"] for words in asked]


def ask(
    engine: VLLMEngine, rows: Sequence[Sequence[int]], params: SamplingParams
) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        return await asyncio.gather(*(engine.generate(row, params, 7) for row in rows))

    return asyncio.run(all_of_them())


def cached(engine: VLLMEngine) -> list[int]:
    """Tokens of each prompt whose keys and values vLLM had already."""
    words = {"max_tokens": 1}
    submit = engine._steps.submit
    asked = [submit(lambda output: output.num_cached_tokens, row, words) for row in ROWS]
    return [future.result() for future in asked]


def gap(completions: Sequence[Completion], model: PreTrainedModel) -> float:
    """Largest distance of log-probabilities at sampling from those of ``transformers``."""
    found = []
    for row, done in zip(ROWS, completions, strict=True):
        ids = torch.tensor([[*row, *done.token_ids]])
        with torch.inference_mode():
            logprobs = model(ids).logits[0, len(row) - 1 : -1].log_softmax(-1)
        theirs = logprobs.gather(1, ids[0, len(row) :, None])[:, 0]
        found.append((theirs - torch.tensor(done.logprobs)).abs())
    return float(torch.cat(found).max())


async def load_in_flight(engine: VLLMEngine, weights: ModelWeights) -> list[Completion]:
    """Loads while requests run."""
    asked = [asyncio.ensure_future(engine.generate(row, LONG, 7)) for row in ROWS]
    await asyncio.sleep(0.15)
    running = len(engine._steps._running)
    await asyncio.to_thread(engine.load_weights, weights)
    assert running == len(ROWS), f"{running} requests ran when the weights came"
    return list(await asyncio.gather(*asked))


async def cancel(engine: VLLMEngine) -> int:
    asked = [asyncio.ensure_future(engine.generate(row, LONG, 7)) for row in ROWS]
    await asyncio.sleep(0.1)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await asyncio.to_thread(engine._steps.do, lambda: None)
    return len(engine._steps._running) + engine._engine.get_num_unfinished_requests()


def main(dtype: str, folder: str) -> None:
    result: dict[str, object] = {}
    model = load_model("mini", "cpu")
    engine = start("mini", dtype)
    first = ask(engine, ROWS, SamplingParams(max_new_tokens=40))
    result["first_versions"] = [done.version for done in first]
    result["cached"] = cached(engine)
    update(model, 3e-3, 0)
    engine.load_weights(ModelWeights(version=4, model=model))
    result["cached_after"] = cached(engine)
    engine.load_weights(ModelWeights(version=4, model=model))  # again: of the cache
    assert engine.following is not None
    result["gap"] = engine.following.gap
    after = ask(engine, ROWS, SamplingParams(max_new_tokens=40))
    result["versions"] = [done.version for done in after]
    result["sampled_gap"] = gap(after, model)
    model.save_pretrained(folder)
    CHAT.tokenizer.save_pretrained(folder)
    rows = [[*row, *done.token_ids] for row, done in zip(ROWS, after, strict=True)]
    scored = engine.score(rows, 4)

    peaks, started = [], time.perf_counter()
    for version in range(5, 105):
        update(model, 1e-4, version)
        engine.load_weights(ModelWeights(version=version, model=model))
        if version in (24, 104):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    result["grown_mb"] = (peaks[1] - peaks[0]) / 1024
    result["load_s"] = (time.perf_counter() - started) / 100
    result["unfinished"] = asyncio.run(cancel(engine))

    result["rounded"] = rounded(engine, model, rows)
    update(model, 1e-3, 105)
    engine.load_weights(streamed(model, 105))
    result["streamed_gap"] = engine.following.gap
    update(model, 1e-3, 105)
    result["ranks"] = ranks_of_two_engines()
    result["native"] = send_as_a_trainer(engine, model)
    real = rlef.engines.vllm_weights.send
    rlef.engines.vllm_weights.send = lambda *_: None  # says that it did, and does nothing
    update(model, 1e-3, 106)
    result["stale"] = []
    for weights in (ModelWeights(version=106, model=model), streamed(model, 106)):
        try:
            engine.load_weights(weights)
        except EngineError as error:
            result["stale"].append(str(error))
    rlef.engines.vllm_weights.send = real
    try:
        engine.load_weights(Partly(version=107, model=model))
    except EngineError as error:
        result["partly"] = str(error)
    try:
        ask(engine, ROWS, LONG)
    except EngineError as error:
        result["broken"] = str(error)
    engine.close()

    endless = start(folder, dtype, stops=False, seed_requests=False)
    fresh = endless.score(rows, 4)
    result["fresh_engine"] = float(np.abs(fresh - scored).max())
    update(model, 1e-3, 108)
    done = asyncio.run(load_in_flight(endless, ModelWeights(version=3, model=model)))
    result["flight"] = [[answer.version, len(answer.token_ids)] for answer in done]
    result["after_flight"] = [
        c.version for c in ask(endless, ROWS, SamplingParams(max_new_tokens=4))
    ]
    endless.close()
    print(json.dumps(result))


def process(worker: Any) -> int:
    return os.getpid()


def two_workers() -> None:
    """Layers are cut over two processes, which get the weights through shared memory."""
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "0|1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    model = load_model("mini", "cpu")
    engine = start("mini", "float32", tensor_parallel_size=2, timeout_s=10.0)
    found = []
    for version in (1, 2, 3):
        update(model, 1e-3, version)
        here = ModelWeights(version=version, model=model)
        engine.load_weights(streamed(model, version) if version == 3 else here)
        assert engine.following is not None
        found.append([engine.following.gap, engine.following.share])
    left = [path for path in os.listdir("/dev/shm") if path.startswith("rlef-")]
    hung = engine._engine.collective_rpc(process)[0]
    print(json.dumps({"gaps": found, "left": left, **hang(engine, hung, model)}))


def hang(engine: VLLMEngine, worker: int, model: PreTrainedModel) -> dict[str, Any]:
    """Stops a process, as a machine that swaps would; the engine has to say so and to close."""
    os.kill(worker, signal.SIGSTOP)
    begun, found = time.monotonic(), ""
    try:
        engine.load_weights(ModelWeights(version=4, model=model))
    except EngineError as error:
        found = str(error)
    noticed = time.monotonic() - begun
    engine.close()
    return {"hung": found, "noticed_s": noticed, "closed_s": time.monotonic() - begun - noticed}


if __name__ == "__main__":
    two_workers() if sys.argv[1] == "two" else main(sys.argv[1], sys.argv[2])
