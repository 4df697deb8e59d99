"""Settings of the warm start; importing them needs no torch."""

from pydantic import BaseModel, ConfigDict, Field


class WarmstartConfig(BaseModel):
    """Settings of ``rlef warmstart``; the defaults made the weights that come with rlef."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0)
    vocab_size: int = Field(1024, ge=300)
    parts: int = Field(12, ge=1)
    """Parts of the training, each with problems that no other part has."""
    problems_per_topic: int = Field(1000, ge=1)
    """In each part."""
    max_turns: int = Field(3, ge=1)
    lr: float = Field(2e-3, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    warmup_steps: int = Field(50, ge=1)
    weight_decay: float = Field(0.1, ge=0)
    batch_tokens: int = Field(3072, ge=1024)
    """Padded tokens per step."""
    grad_clip: float = Field(1.0, gt=0)
