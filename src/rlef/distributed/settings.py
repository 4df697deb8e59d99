"""What may be set of a cluster. Needs neither ray nor torch."""

import os
import socket
from importlib.util import find_spec
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlef.config import ConfigError

ALLOWED = "allowed: null, local, auto (a cluster that this machine is of), HOST:PORT"
_HINT = "pip install 'rlef[ray]' on each machine"
_PRINTED = "allowed: what ray start --head has printed"
_REACH_S = 3.0


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


def check_address(address: str | None) -> None:
    """Looks whether ray is installed and something listens, where Ray itself tries for a minute.

    Raises:
        ConfigError: It is not, nothing does, or this is no address.
    """
    if address is None:
        return
    if find_spec("ray") is None:
        raise ConfigError(
            f"cluster.address is {address!r}, but ray is not installed; {_HINT}, or "
            "cluster.address=null"
        )
    if address == "local":
        return
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        if not address:
            return  # Ray knows
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConfigError(f"cluster.address is {address!r}; {ALLOWED}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S) as one:
            is_ray = "RAY_USE_TLS" in os.environ or _speaks_grpc(one)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cluster.address is {address!r}, but nothing answers there ({why}); {_PRINTED}"
        ) from None
    if not is_ray:
        raise ConfigError(f"cluster.address is {address!r}, but no Ray answers there; {_PRINTED}")


def _speaks_grpc(one: socket.socket) -> bool:
    """Whether an HTTP/2 server answers, as Ray's is: with a frame of settings (RFC 9113, 3.4)."""
    one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    try:
        found = one.recv(9)
    except OSError:
        return False
    return len(found) > 3 and found[3] == 4
