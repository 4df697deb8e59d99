"""A Ray is reached: what is none is told, and what it needs to let a user in is sent."""

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import raylets  # skips where there is no Ray; tells actors where tests are
from scripted_actors import make_or_die

from rlef.config import ConfigError
from rlef.distributed.actors import LearnerActor
from rlef.distributed.learner import RayLearner
from rlef.distributed.reach import auth_mode, check_address
from rlef.distributed.session import sigterm_kept
from rlef.engines import EngineError


def test_a_port_of_something_else_is_no_ray(ray_address: str) -> None:
    check_address(ray_address)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="but no Ray answers there; allowed: what ray start"):
            check_address(address)  # which listens and says nothing


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, and no word of tokens."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name.startswith("RAY_AUTH_")]:
        del os.environ[name]
    os.environ["HOME"] = str(tmp_path)
    (tmp_path / ".ray").mkdir()
    return tmp_path


def test_who_has_no_token_of_a_ray_that_asks_for_one_is_told(home: Path) -> None:
    with raylets.gcs_with_token("a" * 64, home) as address:
        with pytest.raises(ConfigError, match="Ray asks for a token; allowed: the token it was"):
            check_address(address)
        (home / ".ray" / "auth_token").write_text("b" * 64)
        with pytest.raises(ConfigError, match="Ray refuses the token of this machine; allowed:"):
            check_address(address)
        os.environ["RAY_AUTH_TOKEN"] = "a" * 64
        assert auth_mode(address) == "token"
        del os.environ["RAY_AUTH_TOKEN"]
        (home / ".ray" / "auth_token").write_text("a" * 64 + "\n")
        assert auth_mode(address) == "token"
        os.environ["RAY_AUTH_MODE"] = "disabled"
        with pytest.raises(ConfigError, match="asks for a token, but RAY_AUTH_MODE is disabled"):
            check_address(address)


def test_a_ray_without_tokens_is_met_without_one(home: Path, ray_address: str) -> None:
    (home / ".ray" / "auth_token").write_text("a" * 64)
    assert auth_mode(ray_address) == "disabled"
    os.environ["RAY_AUTH_MODE"] = "token"
    with pytest.raises(ConfigError, match="has no token, but RAY_AUTH_MODE is token; allowed"):
        check_address(ray_address)


DRIVER = """
import sys
from rlef.distributed import ClusterSettings
from rlef.distributed.session import Needs, open_session
one = {"CPU": 1.0}
needs = Needs(rollout=one, judge=one, learner=one)
with open_session(ClusterSettings(address=sys.argv[1], judge_actors=1), lambda _: needs) as session:
    import ray
    from rlef.distributed.judges import JudgeActor
    ray.get(session.judge_actor(0, JudgeActor, 1).where.remote(), timeout=200)
"""


def test_a_ray_without_tokens_keeps_the_actors_of_who_has_one(home: Path, ray_address: str) -> None:
    (home / ".ray" / "auth_token").write_text("a" * 64)
    words = [sys.executable, "-c", DRIVER, ray_address]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr


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
