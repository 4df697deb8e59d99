"""All cores taken by processes with a full share of their own: no verdict says so of a program."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rlef.environment import final_job
from rlef.problems import Problem, Test
from rlef.sandbox import JudgeJob, Limits, Verdict
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import Jail
from rlef.sandbox.worker import Worker

LOOPS = 6
"""For each core: a program then gets a seventh of one."""
WORKS = "import time\nwhile time.process_time() < 0.06: pass\nprint('ok')"
IN_A_THREAD = (
    "import threading, time\ndef work():\n    while time.process_time() < 0.06: pass\n"
    "    print('ok')\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()"
)
SLEEPS = "import time\ntime.sleep(60)\nprint('ok')"
NAPS = "import time\nwhile True: time.sleep(0.01)"
TEST = Test("", "ok")
SHORT = Limits(cpu_s=0.1, idle_s=0.3)


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    words = [sys.executable, "-S", "-c", "while True: pass"]
    count = LOOPS * len(os.sched_getaffinity(0))
    loops = [subprocess.Popen(words, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
        for process in loops:
            process.wait()


@pytest.fixture(params=["C", "Python"])
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """On one core, so that the tests beside these keep the others."""
    settings = choose_isolation()[0]
    kept = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(kept)})
    one = Worker(settings if request.param == "C" else replace(settings, native=None))
    yield one
    one.close()
    os.sched_setaffinity(0, kept)


def verdict(worker: Worker, source: str, limits: Limits) -> str:
    job = JudgeJob(source=source, tests=(TEST,), limits=limits)
    return worker.judge(job).verdict.value


def test_a_program_without_a_core_is_never_too_slow_and_a_sleeper_always(worker: Worker) -> None:
    own = {"public_tests": (TEST,), "private_tests": (), "cpu_s": 0.1}
    problem = Problem(name="p", statement="", **own)
    training = final_job(problem, WORKS, Limits(cpu_s=10.0, memory_mb=1024))
    assert training.limits == Limits(cpu_s=0.1, memory_mb=1024)
    sleepers = (SLEEPS, NAPS)
    assert [verdict(worker, source, SHORT) for source in sleepers] == ["TLE"] * 2  # and a warm jail
    with busy_cores():
        busy = [worker.judge(training).verdict.value, verdict(worker, IN_A_THREAD, SHORT)]
        by_wall = verdict(worker, WORKS, Limits(cpu_s=0.1, wall_s=0.3))
        asleep = [verdict(worker, source, SHORT) for source in sleepers]
    assert busy == ["AC"] * 2  # 11 s of wall time are there for what takes 0.4 s
    assert by_wall in ("AC", "IE")
    assert asleep == ["TLE"] * 2


def test_a_starved_program_is_tried_again_and_then_not_judged(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, seen = Jail.finish, []

    def starved(jail: Jail, number: int) -> object:
        seen.append(finish(jail, number))
        return replace(seen[-1], killed="starved")

    monkeypatch.setattr(Jail, "finish", starved)
    for limits in (Limits(), Limits(wall_s=3.0), Limits(idle_s=3.0)):
        seen.clear()
        assert verdict(worker, "print('ok')", limits) == Verdict.IE
        assert len(seen) == 3
    monkeypatch.undo()
    assert verdict(worker, "print('ok')", Limits()) == Verdict.AC
