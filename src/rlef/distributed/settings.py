"""What may be set of a cluster. Needs neither ray nor torch."""

from pydantic import BaseModel, ConfigDict, Field


class ClusterSettings(BaseModel):
    """Where a run's parts are, and how many of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    """``null``: all in this process. ``local``: a Ray of its own on this machine, which ends with
    the run. ``auto`` or ``HOST:PORT``: a Ray that runs."""
    rollout_actors: int = Field(1, ge=1)
    """Processes that sample, each with an engine of its own."""
    judge_actors: int = Field(0, ge=0)
    """Processes that judge, with ``rollout.judge_workers`` cores each. 0: each rollout actor judges
    on its own machine."""
    learner_ranks: int = Field(1, ge=1)
    """Processes that learn together, each with a part of the model."""
    colocate: bool = False
    """Rollout actors and learner ranks share GPUs, and take turns."""
    timeout_s: float = Field(600.0, gt=0)
    """A remote call that takes longer is a hang, and so is a rollout actor that ends none of its
    episodes for so long: its process is replaced."""
