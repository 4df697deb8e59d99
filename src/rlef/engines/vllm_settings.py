"""What may be set of vLLM. Needs no torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class VLLMSettings(BaseModel):
    """How vLLM runs in this process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes, weights, keys and values together; in training the
    rest is the learner's, and 0.3 to 0.5 is more like it. No word on a CPU."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs that a layer is cut over."""
    seed_requests: bool = True
    """Each request draws by its own seed: row by row, which costs time at each token when many rows
    run. Without it the engine's seed and the order of requests decide."""
    eager: bool = False
    """Compile nothing: vLLM starts sooner and samples slower."""
    sleep: bool = False
    """Give the GPU's memory back while the learner updates: weights and cache are dropped, and
    come with the new weights. Not while rollouts go on beside the learner. No word on a CPU."""
    transfer: Literal["buckets", "nccl", "ipc"] = "buckets"
    """How weights come from a learner in another process: through memory, or by vLLM's own
    backends, from GPU to GPU or within one."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds that a phase of a change of weights may take: vLLM hangs then, and the run stops."""
