"""Settings of the warm start; importing them needs no torch."""

from pydantic import BaseModel, ConfigDict, Field


class WarmstartConfig(BaseModel):
    """Settings of ``rlef warmstart``; the defaults made the weights that come with rlef."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(0, ge=0)
    """Seed of every random draw."""
    vocab_size: int = Field(1024, ge=300)
    """Tokens of the tokenizer that is trained first."""
    parts: int = Field(12, ge=1)
    """Parts of the training, each with problems that no other part has."""
    problems_per_topic: int = Field(1000, ge=1)
    """Problems of each topic in each part."""
    max_turns: int = Field(3, ge=1)
    """Most answers in a dialogue."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate after the warm-up."""
    min_lr: float = Field(1e-5, ge=0)
    """Learning rate at the end."""
    warmup_steps: int = Field(50, ge=1)
    """Steps in which the learning rate rises linearly from 0."""
    weight_decay: float = Field(0.1, ge=0)
    """Weight decay of AdamW."""
    batch_tokens: int = Field(3072, ge=1024)
    """Padded tokens per step."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
