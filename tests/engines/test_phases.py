import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import pytest

from rlef.engines import EngineError
from rlef.engines.phases import Phases


def test_work_may_take_long_if_none_of_its_phases_does() -> None:
    """Each wait takes all the time that it may; behind it another phase has begun, or none."""
    phases, waits = Phases("vLLM", 0.01), 0
    with ExitStack() as phase:

        class Work(Future[int]):
            def result(self, timeout: float | None = None) -> int:
                nonlocal waits
                waits += 1
                time.sleep(timeout or 0.0)
                phase.close()
                if waits == 9:
                    return 7
                if waits % 3:
                    phase.enter_context(phases.phase("a step"))
                raise TimeoutError

        assert phases.wait(Work()) == 7


def test_a_phase_that_hangs_is_named() -> None:
    phases, begun, go_on = Phases("vLLM", 0.1), Event(), Event()

    def work() -> None:
        with phases.phase("start_weight_update"):
            pass
        with phases.phase("update_weights"):
            begun.set()
            go_on.wait(20)

    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(work)
            assert begun.wait(20)
            with pytest.raises(EngineError, match=r"vLLM hangs: update_weights has .* 0\.1 s"):
                phases.wait(future)
        finally:
            go_on.set()


def test_what_the_work_itself_raises_comes_through() -> None:
    work: Future[None] = Future()
    work.set_exception(TimeoutError("of its own"))
    with pytest.raises(TimeoutError, match="of its own"):
        Phases("vLLM", 0.1).wait(work)
