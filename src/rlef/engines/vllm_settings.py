"""What may be set of vLLM. Needs no torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class VLLMSettings(BaseModel):
    """How vLLM samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes for weights, keys and values. In training the
    learner needs the rest: set 0.3 to 0.5. It has no effect on a CPU."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs over which each layer is split."""
    seed_requests: bool = True
    """Whether each request draws by its own seed, which costs time at each token when many rows
    run. If not, the engine's seed and the order of requests decide."""
    eager: bool = False
    """Whether vLLM compiles nothing: it starts sooner and samples slower."""
    sleep: bool = False
    """Whether vLLM gives the GPU's memory back while the learner updates: it drops weights and
    cache, and gets them with the new weights. Needs ``rollout.max_staleness`` 0. It has no effect
    on a CPU."""
    transfer: Literal["buckets", "nccl", "ipc"] = "buckets"
    """How weights come from a learner in another process: through host memory (``buckets``), from
    GPU to GPU (``nccl``), or within one GPU (``ipc``)."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds that each phase of a change of weights may take. After that vLLM counts as hung, and
    the run stops."""
