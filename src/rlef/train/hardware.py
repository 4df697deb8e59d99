"""What ``rlef plan --gpus`` takes for granted: speeds of GPUs, and lengths of rollouts.

Nothing here is measured on the cluster that is planned. Every figure has its source beside it, and
``rlef plan --assume NAME=VALUE`` replaces any of them.
"""

import math
from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Speeds of a GPU and of what connects it. The defaults are those of an H100 SXM.

    Attributes:
        name: of the card.
        flops: operations per second in products of bfloat16, dense, as the vendor states them
            (NVIDIA's data sheet: 1,979 TFLOP/s with sparsity, so 989 without).
        bandwidth: bytes per second of the GPU's memory (data sheet: 3.35 TB/s).
        link: bytes per second between GPUs of a node, one way (data sheet: NVLink 900 GB/s, both
            ways together).
        network: bytes per second of a GPU to other nodes: 400 Gb/s each, as in the clusters of the
            Llama 3 report (arXiv 2407.21783, section 3.3.1).
        host: bytes per second between a GPU and the host's memory, one way (PCIe 5, 16 lanes).
        train_share: share of ``flops`` that passes of the learner reach. torchtitan's
            docs/performance.md has 33 to 39 % for FSDP2 with Llama 3.1 8B on 8 and 128 H100.
        prefill_share: the same of the engine, on prompts and where many rows make a step a matter
            of computing; assumed.
        read_share: share of ``bandwidth`` that a decoding step reaches. vLLM on an A100 at one
            request: 75 tokens/s of an 8 B model, 77 %.
        move_share: share of ``link`` and ``network`` that collective operations reach. NCCL on 32
            nodes of 8 H100: all-gathers of 2 GB at 200 of 400 GB/s (NVIDIA/nccl#1218).
        sync_share: share of one GPU's ``network`` that new weights reach on their way from the
            first rank to the engines. 32 B parameters in 2.3 s on 4 nodes of 8 H200 (trl#7131).
        step_s: seconds of a decoding step beside the layers: scheduling and sampling; assumed.
        layer_s: of each layer's launches in vLLM, recorded as a CUDA graph. Llama 8B, batch 1: 5.1
            ms a step, of which 4.8 are reading the weights.
        eager_layer_s: the same of the engine ``hf``, which launches one by one. 15 to 20 ms a step
            of 24 layers.
        cut_s: of an all-reduce where layers are cut over GPUs, two for each layer; assumed.
    """

    name: str = "h100"
    flops: float = 989e12
    bandwidth: float = 3.35e12
    link: float = 450e9
    network: float = 50e9
    host: float = 64e9
    train_share: float = 0.35
    prefill_share: float = 0.5
    read_share: float = 0.75
    move_share: float = 0.5
    sync_share: float = 0.5
    step_s: float = 1e-3
    layer_s: float = 10e-6
    eager_layer_s: float = 0.7e-3
    cut_s: float = 15e-6


CARDS = {
    "a100": Hardware(
        name="a100", flops=312e12, bandwidth=2.04e12, link=300e9, network=25e9, host=32e9
    ),
    "h100": Hardware(),
    "h200": Hardware(name="h200", bandwidth=4.8e12),
}
"""By name; SXM cards, NVIDIA's data sheets. a100: 80 GB, HDR InfiniBand (200 Gb/s) for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What rollouts are like, means over episodes.

    The paper states no lengths. Prompts, feedback and tests are those of 115 problems of
    CodeContests and of 40 episodes of Qwen2.5-Coder-0.5B-Instruct on them: prompts of 550 tokens,
    the largest 1,004, 2.2 public tests, messages with feedback of 140, answers of 276 where 512 was
    the limit.

    Attributes:
        prompt_tokens: of the first message.
        feedback_tokens: of each later one.
        answer_tokens: of each answer. Larger models with more room write more; assumed.
        turns: of an episode. Three of four first answers of the paper's 8 B model fail.
        spread: standard deviation of the logarithm of a rollout's tokens, by which the longest of
            many is known. The episodes above: longest of 40 is 1.6 times the mean.
        public_tests: of a problem.
        private_tests: of a problem, generated ones included (AlphaCode, arXiv 2203.07814, table 1).
        passed_share: of episodes whose last program passes its public tests, so that it meets
            the private ones.
        test_cpu_s: core-seconds of a test, those that run to their limit included; assumed.
    """

    prompt_tokens: float = 600
    feedback_tokens: float = 200
    answer_tokens: float = 400
    turns: float = 2.6
    spread: float = 0.35
    public_tests: float = 2.2
    private_tests: float = 94
    passed_share: float = 0.3
    test_cpu_s: float = 0.1

    @property
    def rollout_tokens(self) -> float:
        """Tokens of a whole conversation."""
        return (
            self.prompt_tokens
            + self.turns * self.answer_tokens
            + (self.turns - 1) * self.feedback_tokens
        )

    @property
    def sampled_tokens(self) -> float:
        """Of these, those that are sampled."""
        return self.turns * self.answer_tokens

    @property
    def tests(self) -> float:
        """Tests that are run for an episode."""
        return self.turns * self.public_tests + self.passed_share * self.private_tests

    def longest(self, count: int) -> float:
        """Returns by how much the longest of so many rollouts exceeds the mean, as a factor."""
        return self.quantile(1 - 0.5 / count)

    def share_above(self, factor: float) -> float:
        """Returns the share of rollouts that are longer than so many times the mean."""
        place = (math.log(factor) + self.spread**2 / 2) / self.spread
        return 1 - NormalDist().cdf(place)

    def quantile(self, share: float) -> float:
        """Returns the length that a share of rollouts stays below, in units of the mean."""
        return math.exp(self.spread * NormalDist().inv_cdf(share) - self.spread**2 / 2)


def assume(hardware: Hardware, workload: Workload, words: str) -> tuple[Hardware, Workload]:
    """Replaces assumptions.

    Args:
        hardware: To start with.
        workload: Likewise.
        words: As ``network=25e9,answer_tokens=800``.

    Raises:
        ValueError: There is no such assumption, or it is no number above 0.
    """
    known = {
        field.name: part
        for part in (hardware, workload)
        for field in fields(part)
        if field.name != "name"
    }
    for word in words.split(","):
        name, _, value = (piece.strip() for piece in word.partition("="))
        if name not in known:
            raise ValueError(f"no assumption {name!r}; allowed: {', '.join(known)}")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise ValueError(f"{name} is {value!r}; allowed: a number above 0")
        change: dict[str, Any] = {name: number}
        if isinstance(known[name], Hardware):
            hardware = replace(hardware, **change)
        else:
            workload = replace(workload, **change)
    return hardware, workload
