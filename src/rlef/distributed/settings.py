"""What may be set of a cluster. Needs neither ray nor torch."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ALLOWED = "allowed: null, local, auto (a cluster that this machine is of), HOST:PORT"


class ClusterSettings(BaseModel):
    """Where a run's parts are, and how many of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        None, json_schema_extra={"allowed": "local, auto, HOST:PORT, or null"}
    )
    """Where Ray is. ``null``: no Ray, all in this process. ``local``: a Ray of the run's own on
    this machine, which ends with it. ``auto`` or ``HOST:PORT``: a Ray that runs already."""
    rollout_actors: int = Field(1, ge=1)
    """Processes that sample, each with an engine of its own."""
    judge_actors: int = Field(0, ge=0)
    """Processes that judge, with ``rollout.judge_workers`` cores each. 0: each rollout actor judges
    on its own machine."""
    learner_ranks: int = Field(1, ge=1)
    """Processes that learn together, each with a part of the model."""
    colocate: bool = False
    """Whether each rollout actor shares the GPU of a learner rank; they take turns."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds after which a remote call counts as hung, and so does a rollout actor that has ended
    no episode for so long. Its process is replaced."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.colocate and self.rollout_actors != self.learner_ranks:
            raise ValueError(
                f"cluster.colocate is true, but rollout_actors is {self.rollout_actors} and "
                f"learner_ranks {self.learner_ranks}; allowed: as many of each, or colocate=false"
            )
        return self
