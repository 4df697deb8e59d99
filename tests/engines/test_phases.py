import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from rlef.engines import EngineError
from rlef.engines.phases import Phases


def test_work_may_take_long_if_none_of_its_phases_does() -> None:
    phases = Phases("vLLM", 0.2)

    def work() -> int:
        for _ in range(5):
            with phases.phase("a step"):
                time.sleep(0.05)
        time.sleep(0.3)  # in no phase
        return 7

    with ThreadPoolExecutor(1) as pool:
        assert phases.wait(pool.submit(work)) == 7


def test_a_phase_that_hangs_is_named() -> None:
    phases, go_on = Phases("vLLM", 0.1), Event()

    def work() -> None:
        with phases.phase("start_weight_update"):
            pass
        with phases.phase("update_weights"):
            go_on.wait(20)

    with ThreadPoolExecutor(1) as pool:
        try:
            with pytest.raises(EngineError, match=r"vLLM hangs: update_weights has .* 0\.1 s"):
                phases.wait(pool.submit(work))
        finally:
            go_on.set()


def test_what_the_work_itself_raises_comes_through() -> None:
    work: Future[None] = Future()
    work.set_exception(TimeoutError("of its own"))
    with pytest.raises(TimeoutError, match="of its own"):
        Phases("vLLM", 0.1).wait(work)
