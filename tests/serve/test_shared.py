"""The judge of a process that is handed none."""

import pytest

from rlef.sandbox import Sandbox
from rlef.serve import RemoteJudge, shared_judge


def test_one_judge_here_or_at_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLEF_JUDGE_URL", raising=False)
    here = shared_judge()
    assert isinstance(here.pool, Sandbox) and shared_judge() is here
    monkeypatch.setenv("RLEF_JUDGE_URL", "http://127.0.0.1:9")
    there = shared_judge()
    assert isinstance(there.pool, RemoteJudge) and shared_judge() is there
    here.pool.close()
    there.pool.close()


def test_a_url_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLEF_JUDGE_URL", "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        shared_judge()
