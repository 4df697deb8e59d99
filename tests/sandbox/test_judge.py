"""Verdicts, messages, and what ``judge_many`` does with many jobs."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from process_tree import descendants, is_alive

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox, TestReport, Verdict
from rlef.sandbox import worker as worker_module
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import Jail, JailError
from rlef.sandbox.worker import Worker

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=16)
DOUBLE = "print(2 * int(input()))"


def run(sandbox: Sandbox, source: str, given: str = "", wanted: str = "ok") -> TestReport:
    return sandbox.judge(source, [Test(given, wanted)], limits=QUICK).tests[0]


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("print('ok')", "AC"),
        ("print('no')", "WA"),
        ("", "WA"),
        ("print('ok'", "CE"),
        ("print('ok')\0", "CE"),
        ("\ud800", "CE"),
        ("(" * 500 + ")" * 500, "CE"),
        ("return", "CE"),
        ("print('ok'); 1 / 0", "RE"),
        ("import os; print('ok', flush=True); os.abort()", "RE"),
        ("import os, signal; print('ok', flush=True); os.kill(os.getpid(), 9)", "RE"),
        ("while True: pass", "TLE"),
        ("try:\n    while True: pass\nexcept BaseException: print('ok')", "TLE"),
        ("10 ** 10 ** 9", "TLE"),
        (
            "import threading\nfor _ in 'ab': threading.Thread(target=pow, args=(7, 9**9)).start()",
            "TLE",
        ),
        ("x = [0] * 10 ** 9", "MLE"),
        ("x = []\nwhile True: x.append(bytearray(10 ** 6))", "MLE"),
        ("while True: print('x' * 99)", "OLE"),
        ("import sys\nwhile True: sys.stderr.write('x' * 99)", "OLE"),
        (
            "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nprint('x' * 10 ** 6)",
            "OLE",
        ),
        ("print('x' * 16383)", "WA"),
        ("print('x' * 16384)", "OLE"),
        ("def f(): f()\nf()", "RE"),
    ],
)
def test_each_ending_has_its_verdict(sandbox: Sandbox, source: str, verdict: str) -> None:
    report = run(sandbox, source)
    assert report.verdict == verdict, report
    assert report.message or verdict == "AC"


@pytest.mark.parametrize(
    ("source", "exit_status", "ended_by"),
    [
        ("print('anything')", 0, None),
        ("raise SystemExit(3)", 3, None),
        ("print('ok'", 1, None),
        ("import os; os.abort()", None, signal.SIGABRT),
        ("while True: pass", None, signal.SIGKILL),
    ],
)
def test_a_report_says_how_the_process_ended(
    sandbox: Sandbox, source: str, exit_status: int | None, ended_by: int | None
) -> None:
    report = sandbox.judge(source, [Test("", "")], limits=QUICK, checker="any")
    assert report.passed == (exit_status == 0)
    assert (report.tests[0].exit_status, report.tests[0].signal) == (exit_status, ended_by)


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("print('ok'); raise SystemExit", "AC"),
        ("import sys; print('ok'); sys.exit(0)", "AC"),
        ("import sys; print('ok'); sys.exit(None)", "AC"),
        ("import sys; print('ok'); sys.exit(False)", "AC"),
        ("import sys; print('ok'); sys.exit(256)", "AC"),
        ("print('ok'); exit()", "AC"),
        ("import sys; print('ok'); sys.exit(3)", "RE"),
        ("import sys; print('ok'); sys.exit(-1)", "RE"),
        ("import sys; print('ok'); sys.exit('bye')", "RE"),
        ("import os; print('ok', flush=True); os._exit(0)", "AC"),
        ("import os; print('ok', flush=True); os._exit(1)", "RE"),
        ("import os; print('ok'); os._exit(0)", "WA"),
        ("import sys; print('ok', flush=True); sys.stdout.close()", "AC"),
        ("import os; print('ok', flush=True); os.close(1)", "AC"),
        ("import os; print('ok'); os.close(1)", "RE"),
        ("import atexit; atexit.register(print, 'ok')", "AC"),
        ("import threading; threading.Timer(0.05, print, ['ok']).start()", "AC"),
        ("class Out:\n    def __del__(self): print('ok')\nout = Out()\ndef f(): return out", "AC"),
        ("f = open(1, 'w'); f.write('ok')\ndef g(): return f", "AC"),
        ("import sys; sys.stdout = None", "WA"),
        ("import os; os._exit = print; print('ok')", "AC"),
        ("import sys; sys.modules.clear(); print('ok')", "AC"),
    ],
)
def test_programs_end_as_under_the_interpreter(sandbox: Sandbox, source: str, verdict: str) -> None:
    report = run(sandbox, source)
    assert report.verdict == verdict, report


def test_jobs_may_come_from_a_generator(sandbox: Sandbox) -> None:
    jobs: Any = (JudgeJob(source=f"print({n})", tests=(Test("", "1"),)) for n in (1, 2))
    assert [report.passed for report in sandbox.judge_many(jobs)] == [True, False]


def test_the_program_is_the_main_module(sandbox: Sandbox) -> None:
    source = (
        "from __future__ import annotations\n"
        "import sys, __main__\n"
        "value = 5\n"
        "print(__name__, __main__.value, sys.argv, sys.stdin.read().split())"
    )
    report = run(sandbox, source, "a b\n", "__main__ 5 ['solution.py'] ['a', 'b']")
    assert report.verdict is Verdict.AC, report


def test_all_usual_ways_to_read_input(sandbox: Sandbox) -> None:
    for expression in (
        "input()",
        "open(0).read()",
        "__import__('sys').stdin.buffer.readline().decode()",
        "__import__('os').read(0, __import__('os').fstat(0).st_size).decode()",
    ):
        assert run(sandbox, f"print({expression})", "ok\n").verdict is Verdict.AC, expression
    assert run(sandbox, "input(); input()", "one line").message.endswith(
        "EOFError: EOF when reading a line"
    )


def test_traceback_shows_the_programs_lines_and_no_others(sandbox: Sandbox) -> None:
    source = "import json\n\ndef f(text):\n    return json.loads(text)\n\nf('[')\n"
    report = run(sandbox, source)
    assert report.verdict is Verdict.RE
    assert report.message.splitlines()[0] == "Traceback (most recent call last):"
    assert 'File "solution.py", line 6, in <module>' in report.message
    assert 'File "solution.py", line 4, in f\n    return json.loads(text)' in report.message
    assert report.message.count("File ") == 2
    assert report.message.splitlines()[-1].startswith("json.decoder.JSONDecodeError")


def test_messages_name_the_difference_or_the_limit(sandbox: Sandbox) -> None:
    wrong = run(sandbox, "print('3 4 6')", "", "3 4 5")
    assert wrong.message == "token 3: expected '5', got '6'"
    assert wrong.stdout == "3 4 6\n"
    assert "limit of 0.5 s" in run(sandbox, "while 1: pass").message
    assert "limit of 128 MB" in run(sandbox, "bytearray(10 ** 9)").message
    assert "limit of 16 kB" in run(sandbox, "print('x' * 10 ** 5)").message
    assert "SyntaxError" in run(sandbox, "x = = 1").message
    assert "SIGABRT" in run(sandbox, "import os; os.abort()").message


def test_cpu_time_is_judged_and_measured(sandbox: Sandbox) -> None:
    source = "import time\nwhile time.process_time() < 0.2: pass\nprint('ok')"
    report = run(sandbox, source)
    assert report.verdict is Verdict.AC
    assert 0.15 < report.cpu_s < 0.4
    loops = ("while 1: pass" + "\n" * n for n in range(4))  # a busy machine may look late
    assert min(run(sandbox, loop).cpu_s for loop in loops) < 0.8


def test_waiting_is_not_computing_but_has_its_limit(sandbox: Sandbox) -> None:
    limits = Limits(cpu_s=0.2, wall_s=2.0)
    short = "import time; time.sleep(0.3); print('ok')"
    assert sandbox.judge(short, [Test("", "ok")], limits=limits).verdict is Verdict.AC
    long = sandbox.judge("import time; time.sleep(99)", [Test("", "")], limits=limits).tests[0]
    assert long.verdict is Verdict.TLE
    assert 1.8 < long.wall_s < 6 and long.cpu_s < 0.1
    idle = sandbox.judge(
        "input.__self__; import time; time.sleep(99)", [Test("", "")], limits=QUICK
    )
    assert idle.verdict is Verdict.TLE and idle.tests[0].wall_s < 6


def test_waiting_is_told_as_waiting(sandbox: Sandbox) -> None:
    for n in range(3):
        source = f"import time; time.sleep(9)  # {n}"
        report = sandbox.judge(source, [Test("", "")], limits=Limits(cpu_s=0.5, wall_s=2.05))
        assert report.tests[0].message.startswith("still waiting after"), report


def test_same_program_same_result(sandbox: Sandbox) -> None:
    source = "import random; print(hash('rlef'), random.random(), list({'a', 'b', 'c'}))"
    with Sandbox(workers=1) as other:
        outputs = {run(box, source).stdout for box in (sandbox, other, sandbox, other)}
    assert len(outputs) == 1


def test_report_takes_the_first_failure_and_may_stop_there(sandbox: Sandbox) -> None:
    source = "n = int(input())\nprint(1 // n)"
    tests = [Test("1", "1"), Test("2", "7"), Test("0", "0"), Test("1", "1")]
    full = sandbox.judge(source, tests)
    assert [t.verdict for t in full.tests] == ["AC", "WA", "RE", "AC"]
    assert full.verdict is Verdict.WA and not full.passed
    assert len(sandbox.judge(source, tests, stop_at_first_failure=True).tests) == 2


def test_judge_many_keeps_the_order_and_runs_equal_jobs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = [
        JudgeJob(
            source=DOUBLE, tests=(Test(str(i % 5), str(2 * (i % 5))), Test("1", str(i % 2 + 1)))
        )
        for i in range(40)
    ]
    with Sandbox(workers=2) as own:
        assert own.judge_many([]) == []
        reports = own.judge_many(jobs)
        sent: list[object] = []
        monkeypatch.setattr(own, "_send", lambda *job: sent.append(job))
        again = own.judge_many(jobs)
    assert [r.tests[1].verdict for r in reports] == ["WA", "AC"] * 20
    assert all(r.tests[0].verdict is Verdict.AC for r in reports)
    assert len({id(report) for report in reports}) == 10  # ten different jobs
    assert again == reports and not sent


def test_infrastructure_errors_are_not_remembered() -> None:
    source = "import time; time.sleep(2); print('ok')"
    with Sandbox(workers=1) as own:
        future = own.submit(JudgeJob(source=source, tests=(Test("", "ok"),), limits=QUICK))
        killed = None
        for _ in range(3):
            killed = new_judge(own, killed)
            os.kill(killed, signal.SIGKILL)
        assert future.result(timeout=20).verdict is Verdict.IE
        assert own.judge(source, [Test("", "ok")], limits=QUICK).passed


def new_judge(box: Sandbox, old: int | None) -> int:
    deadline = time.monotonic() + 20
    while (pid := box.judge_pid()) in (None, old):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert pid is not None
    return pid


def test_several_threads_share_a_sandbox(sandbox: Sandbox) -> None:
    def work(offset: int) -> list[str]:
        jobs = [
            JudgeJob(source=f"print({offset} + {i})", tests=(Test("", str(offset + i)),))
            for i in range(30)
        ]
        return [report.verdict.value for report in sandbox.judge_many(jobs)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, [0, 100, 200, 300])) == [["AC"] * 30] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"language": "java"}, "allowed: python, cpp, rust, javascript"),
        ({"language": "cpp", "mode": "function", "entry_point": "f"}, "not possible"),
        ({"checker": "testlib"}, "needs checker_source"),
        ({"checker_source": "int main(){}"}, "no other checker takes it"),
        ({"limits": Limits(memory_mb=10**9)}, "at most"),
        ({"mode": "stdout"}, "allowed: stdin, function"),
        ({"mode": "function"}, "entry_point"),
        ({"entry_point": "f"}, "only allowed with mode 'function'"),
        ({"checker": "token"}, "allowed: tokens, lines, exact, float"),
        ({"tests": []}, "at least one"),
        ({"limits": Limits(cpu_s=0)}, "cpu_s is 0"),
        ({"limits": Limits(cpu_s=float("nan"))}, "cpu_s is nan"),
        ({"limits": Limits(cpu_s=float("inf"))}, "cpu_s is inf"),
        ({"limits": Limits(wall_s=-1)}, "wall_s is -1"),
        ({"limits": Limits(cpu_s="2")}, "cpu_s is '2'"),  # type: ignore[arg-type]
        ({"limits": Limits(memory_mb=64.0)}, "whole number"),  # type: ignore[arg-type]
        ({"limits": Limits(output_kb=0.5)}, "whole number"),  # type: ignore[arg-type]
        ({"source": b"print(1)"}, "source must be text, not bytes"),
        ({"tests": [Test("", None)]}, "must be text"),  # type: ignore[arg-type]
        ({"mode": "function", "entry_point": "f" * 10**5}, "a name"),
    ],
)
def test_wrong_arguments_are_named(sandbox: Sandbox, arguments: dict, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=words) as caught:
        sandbox.judge(**{"source": "", "tests": [Test("", "")], **arguments})
    assert "\n" not in str(caught.value)


def jails_of(box: Sandbox) -> list[int]:
    """The outermost processes of the jails."""
    pid = box.judge_pid()
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in path.read_text().split()]
    return found


def test_a_jail_that_dies_is_replaced() -> None:
    with Sandbox(workers=1) as own:
        assert own.judge(DOUBLE, [Test("1", "2")]).passed
        (jail,) = jails_of(own)
        os.kill(jail, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while is_alive(jail):  # until then those below it go on
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert own.judge(DOUBLE, [Test("2", "4")]).passed
        assert jails_of(own) != [jail]


def test_a_jail_killed_in_the_middle_means_another_try() -> None:
    with Sandbox(workers=1) as own:
        source = "import time; time.sleep(2); print('ok')"
        own.judge(DOUBLE, [Test("1", "2")])
        (jail,) = jails_of(own)
        timer = threading.Timer(0.3, os.kill, [jail, signal.SIGKILL])
        timer.start()
        assert own.judge(source, [Test("", "ok")], limits=QUICK).passed
        assert jail not in jails_of(own)


def test_a_judge_killed_in_the_middle_means_another_judge() -> None:
    with Sandbox(workers=2) as own:
        own.judge(DOUBLE, [Test("1", "2")])
        judge = own.judge_pid() or 0
        timer = threading.Timer(0.3, os.kill, [judge, signal.SIGKILL])
        timer.start()
        source = "import time; time.sleep(1); print(input())"
        jobs = [JudgeJob(source=source, tests=(Test(str(i), str(i)),)) for i in range(3)]
        assert all(report.passed for report in own.judge_many(jobs))
        assert own.judge_pid() != judge


def test_jails_that_always_die_mean_an_infrastructure_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    def die(self, *rest):  # type: ignore[no-untyped-def]
        tries.append(1)
        raise JailError("the jail died")

    monkeypatch.setattr(Jail, "start", die)
    worker = Worker(choose_isolation()[0])
    report = worker.judge(JudgeJob(source=DOUBLE, tests=(Test("1", "2"),)))
    worker.close()
    assert report.verdict is Verdict.IE and not report.passed
    assert report.tests[0].message == "the jail failed: the jail died"
    assert len(tries) == worker_module.ATTEMPTS == 3


def test_closing_ends_programs_that_run() -> None:
    own = Sandbox(workers=1)
    future = own.submit(JudgeJob(source="import time; time.sleep(60)", tests=(Test("", ""),)))
    new_judge(own, None)
    time.sleep(0.5)
    own.close()
    assert future.result(timeout=10).verdict is Verdict.IE
    with pytest.raises(RuntimeError):
        own.judge(DOUBLE, [Test("1", "2")])


def test_a_forked_caller_gets_a_judge_of_its_own() -> None:
    with Sandbox(workers=1) as own:
        assert own.judge(DOUBLE, [Test("1", "2")]).passed
        pid = os.fork()
        if pid == 0:
            passed = own.judge(DOUBLE, [Test("3", "6")]).passed
            own.close()
            os._exit(0 if passed else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert own.judge(DOUBLE, [Test("4", "8")]).passed


def test_a_sandbox_says_what_keeps_programs_in() -> None:
    with Sandbox(workers=1) as own:
        isolation = own.describe()
        assert isolation.kind in ("namespaces", "landlock", "none")
        assert isolation.hot_path in ("C", "Python")
        assert own.judge(DOUBLE, [Test("1", "2")]).passed
    with pytest.raises(RuntimeError):
        own.describe()


def test_debugging_output_is_not_judged(sandbox: Sandbox) -> None:
    noise = "import sys\nfor i in range(9000): print('step', i, file=sys.stderr)\n"
    right = run(sandbox, noise + "print('ok')")
    assert right.verdict is Verdict.AC and len(right.stderr) == 1024 * QUICK.output_kb
    wrong = run(sandbox, noise + "1 / 0")
    assert wrong.verdict is Verdict.RE and wrong.message.startswith("Traceback")
    assert right.stderr.startswith("step 0\n") and right.stderr.endswith("step 8999\n")


def test_programs_know_that_they_are_judged(sandbox: Sandbox) -> None:
    assert run(sandbox, "import os\nif 'ONLINE_JUDGE' in os.environ: print('ok')").verdict == "AC"


@pytest.mark.parametrize("kills", [2, 3])
def test_a_program_that_the_machine_kills_is_tried_again(kills: int) -> None:
    """As the kernel does where memory is out; after three times it counts as the program's."""
    with Sandbox(workers=1) as own:
        assert own.judge("print('ok')", [Test("", "ok")]).passed
        (guard,) = jails_of(own)
        known = set(descendants(guard))
        future = own.submit(
            JudgeJob(source="import time; time.sleep(2); print('ok')", tests=(Test("", "ok"),))
        )
        deadline = time.monotonic() + 60
        killed = 0
        while killed < kills and not future.done():
            assert time.monotonic() < deadline
            new = set(descendants(guard)) - known
            for pid in new:
                os.kill(pid, signal.SIGKILL)
                known.add(pid)
            killed += len(new)
            time.sleep(0.02)
        report = future.result(timeout=60)
    if kills == 2:
        assert report.passed
    elif report.verdict is Verdict.RE:
        assert report.tests[0].message == "ended with signal SIGKILL"
    else:
        assert report.verdict is Verdict.CE  # it was killed before it began
