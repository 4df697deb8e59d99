"""vLLM's thread, with an engine that stands for vLLM's."""

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rlef.engines import EngineError
from rlef.engines.vllm_steps import Steps


class OneStep:
    """Ends all requests in the step after they came; ``gate`` holds them back."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.gate = 1
        self.engine_core = SimpleNamespace(shutdown=lambda: None)

    def add_request(self, name: str, *_: Any) -> None:
        self.names.append(name)

    def step(self) -> list[Any]:
        if len(self.names) < self.gate:
            return []
        ended, self.names = self.names, []
        return [SimpleNamespace(finished=True, request_id=name) for name in ended]

    def abort_request(self, names: list[str]) -> None:
        self.names = [name for name in self.names if name not in names]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.SamplingParams = dict  # type: ignore[attr-defined]
    params.RequestOutputKind = SimpleNamespace(FINAL_ONLY=0)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    opened = Steps(OneStep, timeout_s=20)
    yield opened
    opened.close()


def name_of(output: Any) -> str:
    return str(output.request_id)


def unreadable(output: Any) -> str:
    raise AttributeError("no weight_versions")


def test_requests_are_answered(steps: Steps) -> None:
    steps.engine.gate = 3
    found = [steps.submit(name_of, [1], {}) for _ in range(3)]
    assert [future.result(20) for future in found] == ["0", "1", "2"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_that_cannot_be_read_is_an_error_of_all_that_wait(
    steps: Steps, place: int
) -> None:
    steps.engine.gate = 3
    reads = [unreadable if i == place else name_of for i in range(3)]
    found = [steps.submit(read, [1], {}) for read in reads]
    for i, future in enumerate(found):
        if i < place:
            assert future.result(20) == str(i)
        else:
            with pytest.raises(EngineError, match="vLLM stopped: no weight_versions"):
                future.result(20)
    with pytest.raises(EngineError, match="vLLM stopped: no weight_versions"):
        steps.submit(name_of, [1], {}).result(20)
