"""A Ray is reached: what is none is told, and what it needs to let a user in is sent."""

import os
import signal
import socket
import time
from functools import partial
from pathlib import Path

import pytest
import raylets  # noqa: F401  # skips where there is no Ray; tells actors where tests are
from scripted_actors import make_or_die

from rlef.config import ConfigError
from rlef.distributed.actors import LearnerActor
from rlef.distributed.learner import RayLearner
from rlef.distributed.session import _send_token, sigterm_kept
from rlef.distributed.settings import check_address
from rlef.engines import EngineError


def test_a_port_of_something_else_is_no_ray(ray_address: str) -> None:
    check_address(ray_address)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="but no Ray answers there; allowed: what ray start"):
            check_address(address)  # which listens and says nothing


def test_who_has_a_token_sends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["HOME"] = str(tmp_path)
    for name in [name for name in os.environ if name.startswith("RAY_AUTH_")]:
        del os.environ[name]
    _send_token()
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    _send_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_handler_of_sigterm_outlives_the_start_of_ray() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_rank_that_dies_is_told_though_others_wait_for_it(ray_address: str) -> None:
    import ray

    said: list[str] = []
    learner = RayLearner(
        lambda _: ray.remote(LearnerActor).options(num_cpus=0).remote(),
        lambda rank, *_: partial(make_or_die, rank),
        2,
        timeout_s=90.0,
        say=said.append,
    )
    began = time.monotonic()
    try:
        with pytest.raises(EngineError, match="the learner did not start: its process died"):
            learner.wait_until_ready()
        assert time.monotonic() - began < 60
    finally:
        learner.close()
