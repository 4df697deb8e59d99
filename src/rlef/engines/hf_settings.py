"""What may be set of the engine ``hf``. Needs no torch."""

from pydantic import BaseModel, ConfigDict, Field


class HFSettings(BaseModel):
    """How the engine ``hf`` (``transformers``) samples."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kv_memory_gb: float = Field(4.0, gt=0, le=1e6)
    """Most memory for keys and values, in gigabytes (10^9 bytes): of answers that are sampled, and
    of those remembered for later turns. What does not fit at once is sampled in parts."""
    prefill_tokens: int = Field(8192, ge=1)
    """Tokens of prompts that go through the model at once. This bounds the memory of
    activations."""
    cuda_graphs: bool = False
    """Whether a decode step is recorded as a CUDA graph, once for each number of rows, and then
    replayed; this saves kernel launches on a GPU. A model that cannot be recorded is sampled
    without."""
