"""On what machines a recipe runs. Needs no torch and no ray."""

from pydantic import BaseModel, ConfigDict, Field


class ClusterSettings(BaseModel):
    """Where rollouts are sampled and where the learner is; in this process unless set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    """``null``: everything in this process. ``local``: a Ray of its own on this machine; ``auto``
    or ``HOST:PORT``: one that runs."""
    rollout_actors: int = Field(1, ge=1)
    """Processes with an engine each."""
    judge_actors: int = Field(0, ge=0)
    """Processes that only judge. 0: each rollout actor judges on its own node."""
    learner_ranks: int = Field(1, ge=1)
    """Devices over which the learner is sharded."""
    colocate: bool = False
    """Rollout actors share the GPUs of learner ranks, and take turns with them."""
    timeout_s: float = Field(600.0, gt=0)
    """A remote call that takes longer is a hang."""
