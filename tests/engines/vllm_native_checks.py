"""Run by the Python that has vLLM, with GPUs: weights by vLLM's own backends.

usage: vllm_native_checks.py nccl|ipc; prints one line of JSON. The learner is on the first GPU, the
engine in another process, on the second GPU (nccl) or on the same (ipc).
"""

import json
import multiprocessing
import os
import socket
import sys
from multiprocessing.connection import Connection
from typing import Any

from vllm_policy_checks import CHAT, update

from rlef.engines.load import load_model
from rlef.engines.transfer import StreamedWeights
from rlef.engines.vllm import VLLMEngine
from rlef.engines.vllm_native import EnginesClient, Group, Source, open_sender
from rlef.engines.vllm_settings import VLLMSettings
from rlef.engines.weights import ModelWeights


def serve(pipe: Connection, kind: Any, device: str) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = device
    settings = VLLMSettings(transfer=kind, eager=True, gpu_memory_utilization=0.3)
    engine = VLLMEngine(
        "mini", stop_token_ids=CHAT.stop_token_ids, dtype="float32", settings=settings
    )

    def logprobs(*words: Any) -> Any:
        pipe.send(("logprobs", words))
        return pipe.recv()

    pipe.send(("done", None))
    while (asked := pipe.recv()) is not None:
        if asked[0] == "compare":
            pipe.send(("done", engine.compare(StreamedWeights(asked[1], (), logprobs))))
        else:
            pipe.send(("done", engine.transfer(*asked)))
    engine.close()


def main(kind: Any) -> None:
    model = load_model("mini", "cuda:0")
    weights = ModelWeights(version=1, model=model)
    pipe, theirs = multiprocessing.Pipe()
    device = "1" if kind == "nccl" else "0"
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, kind, device)
    )
    process.start()

    def answer() -> Any:
        while (found := pipe.recv())[0] == "logprobs":
            pipe.send(weights.logprobs(*found[1]))
        return found[1]

    def call(phase: str, words: Any) -> None:
        pipe.send((phase, words[0]))
        answer()

    answer()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    group = Group(rank=0, address="127.0.0.1", port=port, engines=1, workers=1)
    client = EnginesClient(call, group)
    sender = open_sender(kind, group, Source(lambda: weights), client)
    gaps = []
    for version in (1, 2, 3):
        update(model, 1e-3, version)
        client.version = version
        sender.send_weights()
        pipe.send(("compare", version))
        gaps.append(answer())
    pipe.send(None)
    process.join()
    print(json.dumps(gaps))


if __name__ == "__main__":
    main(sys.argv[1])
