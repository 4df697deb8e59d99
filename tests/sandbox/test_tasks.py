"""Several workers on one job: every test is run once, the answer is given once."""

import threading
import time

import pytest

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, Sandbox, TestReport, Verdict
from rlef.sandbox.tasks import Task, TaskQueue

AC = TestReport(verdict=Verdict.AC)
WA = TestReport(verdict=Verdict.WA)
CE = TestReport(verdict=Verdict.CE)


def job(tests: int, stop: bool = False) -> JudgeJob:
    cases = tuple(Test(str(i), str(i)) for i in range(tests))
    return JudgeJob(source="", tests=cases, stop_at_first_failure=stop)


def verdicts(task: Task) -> list[Verdict]:
    answer = task.claim()
    assert isinstance(answer, JudgeReport)
    return [report.verdict for report in answer.tests]


def test_reports_stand_in_the_order_of_the_tests() -> None:
    task = Task(1, job(3))
    assert [task.take(), task.take(), task.take(), task.take()] == [0, 1, 2, None]
    task.put(2, AC)
    task.put(0, WA)
    assert task.claim() is None
    task.put(1, AC)
    assert verdicts(task) == [Verdict.WA, Verdict.AC, Verdict.AC]
    assert task.claim() is None  # only the first who asks


def test_what_does_not_compile_fails_every_test_at_once() -> None:
    task = Task(1, job(4))
    task.take()
    task.put(0, CE)
    assert task.left == 0
    assert verdicts(task) == [Verdict.CE] * 4
    task.put(1, AC)  # somebody else was on its way: too late


def test_stopping_at_the_first_failure_leaves_out_the_rest() -> None:
    task = Task(1, job(4, stop=True))
    for place, report in enumerate((AC, CE)):
        assert task.take() == place
        task.put(place, report)
    assert task.take() is None
    assert verdicts(task) == [Verdict.AC, Verdict.CE]


def test_a_worker_helps_only_where_nothing_waits_and_something_is_left() -> None:
    queue = TaskQueue()
    first, second = Task(1, job(5)), Task(2, job(2))
    queue.put(first)
    assert queue.get() is first
    queue.share(first)
    queue.put(second)
    assert queue.get() is second
    assert queue.get() is first
    queue.withdraw(first)
    threading.Timer(0.05, queue.close).start()
    assert queue.get() is None


def test_the_queue_hands_out_a_shared_task_to_one_who_waits() -> None:
    queue, task, got = TaskQueue(), Task(1, job(3)), []
    helper = threading.Thread(target=lambda: got.append(queue.get()))
    helper.start()
    time.sleep(0.05)
    queue.share(task)
    helper.join(5)
    assert got == [task]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_long_job_is_judged_by_all_workers(workers: int) -> None:
    """Sleeping tests need no core, so the time says how many ran at once."""
    tests = [Test(str(i), str(i)) for i in range(13)]
    source = "import time\nn = input()\ntime.sleep(0.1)\nprint(n if n != '7' else 'x')"
    with Sandbox(workers=workers) as sandbox:
        sandbox.judge("print(1)", [Test("", "1")])
        start = time.perf_counter()
        report = sandbox.judge(source, tests)
        seconds = time.perf_counter() - start
    wanted = [Verdict.AC] * 13
    wanted[7] = Verdict.WA
    assert [test.verdict for test in report.tests] == wanted
    assert [test.stdout.strip() for test in report.tests if test.verdict is Verdict.AC] == [
        str(i) for i in range(13) if i != 7
    ]
    assert seconds > 0.1 * -(-13 // workers)


def test_a_test_that_passes_a_limit_does_not_hold_up_the_others() -> None:
    tests = [Test(str(i), str(i)) for i in range(8)]
    source = "n = int(input())\nwhile n == 3: pass\nimport time\ntime.sleep(0.05)\nprint(n)"
    with Sandbox(workers=2) as sandbox:
        report = sandbox.judge(source, tests, limits=Limits(cpu_s=0.2))
    assert [test.verdict for test in report.tests] == [
        Verdict.TLE if i == 3 else Verdict.AC for i in range(8)
    ]
