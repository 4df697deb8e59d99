"""Trouble on the caller's side of the judge: no call hangs, and the next one is judged."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from pathlib import Path
from typing import Any, TypeVar

import pytest
from process_tree import descendants

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox, SandboxError, Verdict

DOUBLE = "print(2 * int(input()))"
TEST = [Test("1", "2")]
LATE_S = 20.0
T = TypeVar("T")


def within(work: Callable[[], T]) -> T:
    """The result of a call that must not hang."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result(LATE_S)
    except Late:
        pytest.fail("the call hangs")
    finally:
        pool.shutdown(wait=False)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as own:
        yield own


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], None]]:
    """Lifts, when called, a limit that leaves no descriptor to open."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)

    resource.setrlimit(resource.RLIMIT_NOFILE, (3, kept[1]))
    yield lift
    lift()


def test_a_judge_that_cannot_be_started_is_tried_again(
    box: Sandbox, no_descriptors: Callable[[], None]
) -> None:
    with pytest.raises(SandboxError, match="Too many open files") as caught:
        box.judge(DOUBLE, TEST)
    assert "\n" not in str(caught.value)
    no_descriptors()
    assert within(lambda: box.judge(DOUBLE, TEST)).passed


def test_a_judge_that_cannot_be_replaced_means_an_infrastructure_error(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert box.judge(DOUBLE, TEST).passed

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    jobs = [
        JudgeJob(source=f"import time; time.sleep(9)  # {i}", tests=(Test("", ""),))
        for i in range(3)
    ]
    futures = [box.submit(job) for job in jobs]
    monkeypatch.setattr(subprocess, "Popen", refuse)
    os.kill(box.judge_pid() or 0, signal.SIGKILL)
    reports = [within(future.result) for future in futures]
    assert [report.verdict for report in reports] == [Verdict.IE] * 3
    assert "temporarily unavailable" in reports[0].tests[0].message
    monkeypatch.undo()
    assert within(lambda: box.judge(DOUBLE, [Test("2", "4")])).passed


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_before_the_job_is_handed_over(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(box, "_send", interrupted)
        box.judge(DOUBLE, TEST)
    assert within(lambda: box.judge(DOUBLE, TEST)).passed


def test_interrupted_in_the_middle_of_a_message(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert box.judge(DOUBLE, TEST).passed
    assert box._judge is not None
    connection: Any = box._judge._connection
    send = connection._send

    def half(data: bytes) -> None:
        send(data[: len(data) // 2])
        raise KeyboardInterrupt

    slow = "import time; time.sleep(1); print('ok')"
    other = box.submit(JudgeJob(source=slow, tests=(Test("", "ok"),)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(connection, "_send", half)
        box.judge(DOUBLE, [Test("7" + " " * 99, "14")])
    assert within(lambda: box.judge(DOUBLE, [Test("8", "16")])).passed
    assert other.result(LATE_S).passed  # the new judge took it over


class Unpicklable(str):
    """Text that cannot be sent."""

    def __reduce__(self) -> str:
        raise MemoryError


def test_tests_that_were_not_sent_do_not_count_as_sent(box: Sandbox) -> None:
    with pytest.raises(MemoryError):
        box.judge(Unpicklable(DOUBLE), TEST)
    assert within(lambda: box.judge(DOUBLE, TEST)).passed


def test_half_a_message_ends_the_judge(box: Sandbox) -> None:
    assert box.judge(DOUBLE, TEST).passed
    assert box._judge is not None
    box._judge._connection.send_bytes(b"no pickle")
    assert within(lambda: box.judge(DOUBLE, [Test("3", "6")])).passed


def test_a_fork_leaves_jobs_and_locks_to_its_parent(box: Sandbox) -> None:
    slow = "import time; time.sleep(1); print('ok')"
    assert box.judge(DOUBLE, TEST).passed
    judge = box.judge_pid()
    with ThreadPoolExecutor(1) as pool:
        mine = pool.submit(box.judge, slow, [Test("", "ok")])
        time.sleep(0.3)
        with box._lock:
            child = os.fork()
        if child == 0:
            signal.alarm(int(LATE_S))
            passed = box.judge(slow, [Test("", "ok")]).passed
            box.close()
            os._exit(0 if passed else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert mine.result(LATE_S).passed
    assert box.judge_pid() == judge


CTRL_C = """
import sys, time
from rlef.problems import Test
from rlef.sandbox import JudgeJob, Sandbox
jobs = [JudgeJob(source=f"import time; time.sleep(30)  # {i}", tests=(Test("", ""),) * 3)
        for i in range(50)]
try:
    with Sandbox(workers=2) as box:
        print(box.judge("print(1)", [Test("", "1")]).verdict, box.judge_pid(), flush=True)
        box.judge_many(jobs)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_leaves_no_process() -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", CTRL_C],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert caller.stdout is not None
    assert caller.stdout.readline().startswith("AC")
    deadline = time.monotonic() + LATE_S
    while len(below := descendants(caller.pid)) < 5:  # judge, two guards, two zygotes, programs
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(caller.pid, signal.SIGINT)  # as a terminal does
    output, errors = caller.communicate(timeout=LATE_S)
    assert (output, errors) == ("interrupted\n", "")
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in below):
        assert time.monotonic() < deadline, "processes outlived the caller"
        time.sleep(0.02)


HARD_WORDS = {
    "children-ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "all-ignored": "for n in signal.valid_signals() - {9, 19}: signal.signal(n, signal.SIG_IGN)",
    "all-blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "mask": "os.umask(0o777)",
    "few-descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "small-files": "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))",
    "no-folder": "os.mkdir('x'); os.chdir('x'); os.rmdir('../x')",
    "closed": "os.close(0); os.close(2)",
    "no-home": "os.environ.pop('HOME', 0); os.environ.pop('XDG_CACHE_HOME', 0)",
    "read-only-home": "os.environ['XDG_CACHE_HOME'] = '/proc/nowhere'",
    "no-temporary-folder": "os.environ['TMPDIR'] = '/nowhere'",
}
PROGRAMS = (
    "print(2)",
    "import os; print(2, flush=True); os.abort()",
    "import sys; print(2); sys.exit(3)",
    "while True: pass",
    "while True: print('x' * 99)",
    "import os, signal, time\nsignal.signal(14, lambda *a: (print(2, flush=True), os._exit(0)))\n"
    "signal.setitimer(0, 0.01)\ntime.sleep(1)",
)
HARD = """
import os, resource, signal
from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox
{setting}
limits = Limits(cpu_s=0.5, memory_mb=256, output_kb=16)
with Sandbox(workers=1) as box:
    reports = [box.judge(one, [Test("", "2")], limits=limits) for one in {programs}]
    print(box.describe().kind, *(report.verdict for report in reports))
"""


@pytest.mark.parametrize("setting", HARD_WORDS.values(), ids=HARD_WORDS.keys())
def test_what_the_caller_inherited_changes_no_verdict(
    box: Sandbox, tmp_path: Path, setting: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HARD.format(setting=setting, programs=PROGRAMS)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"{box.describe().kind} AC RE RE TLE OLE AC\n"


ODD_TESTS = [
    [Test("\0", "\0")],
    [Test("\ud800", "\ud800")],
    [Test("a\r\nb\x85\u2028", "a\r\nb\x85\u2028")],
]


@pytest.mark.parametrize("tests", ODD_TESTS)
def test_odd_texts_come_back_as_they_went(box: Sandbox, tests: list[Test]) -> None:
    echo = "import os; os.write(1, os.read(0, 99))"
    assert box.judge(echo, tests, checker="exact").passed


def test_ten_thousand_tests_of_one_program(box: Sandbox) -> None:
    source = "if input() == '0': print('ok')\nelse: 1 / 0"
    tests = [Test("0", "ok")] + [Test(str(i), "") for i in range(1, 10_000)]
    report = box.judge(source, tests, stop_at_first_failure=True)
    assert [test.verdict for test in report.tests] == ["AC", "RE"]


def test_threads_of_one_process_share_what_they_ask() -> None:
    answers: list[bool] = []
    with Sandbox(workers=1) as box:

        def ask() -> None:
            answers.append(box.judge(DOUBLE, TEST, limits=Limits(cpu_s=1.0)).passed)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LATE_S)
    assert answers == [True] * 20
