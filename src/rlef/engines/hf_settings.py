"""What may be set of the engine ``hf``. Needs no torch."""

from pydantic import BaseModel, ConfigDict, Field


class HFSettings(BaseModel):
    """Limits of memory, and how tokens are decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kv_memory_gb: float = Field(4.0, gt=0)
    """Gigabytes (10^9 bytes) of keys and values at most: of the answers that are sampled, and of
    those remembered for later turns. What does not fit at once is sampled in parts."""
    prefill_tokens: int = Field(8192, ge=1)
    """Tokens of prompts that run through the model at once; bounds the memory of activations."""
    cuda_graphs: bool = False
    """On a GPU: record a step of the decode loop once for each number of rows, and replay it,
    which spares the launches. A model that cannot be recorded is sampled without."""
