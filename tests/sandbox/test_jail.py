"""The walls of a jail, one property at a time; ``hostile/`` holds the programs that attack them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from process_tree import descendants, is_alive

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import Isolation, JudgeJob, Limits, Sandbox, SandboxError, TestReport, Verdict
from rlef.sandbox import isolation as isolation_module
from rlef.sandbox.build import build
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import IsolationError, Jail, JailSettings, Program
from rlef.sandbox.worker import Worker

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=64)


def run(sandbox: Sandbox, source: str, wanted: str = "") -> TestReport:
    return sandbox.judge(source, [Test("", wanted)], limits=QUICK).tests[0]


def run_in(worker: Worker, source: str, wanted: str = "") -> TestReport:
    return worker.judge(JudgeJob(source=source, tests=(Test("", wanted),), limits=QUICK)).tests[0]


@pytest.fixture(scope="module")
def walled(sandbox: Sandbox) -> Sandbox:
    settings, _ = choose_isolation()
    if settings.isolation != "namespaces" or not settings.seccomp:
        pytest.skip("this machine allows no user namespaces, or no seccomp")
    return sandbox


@pytest.fixture(params=["namespaces", "none", "namespaces in Python"])
def unfiltered(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """Jails without a system call filter: there programs can fork, and must still end."""
    settings = replace(choose_isolation()[0], seccomp=False)
    if settings.isolation != "namespaces":
        pytest.skip("this machine allows no user namespaces")
    if request.param == "none":
        settings = replace(settings, isolation="none")
    if request.param == "namespaces in Python":
        settings = replace(settings, native=None)
    worker = Worker(settings)
    yield worker
    worker.close()


def test_no_network(walled: Sandbox) -> None:
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=0.2)"
    assert "PermissionError" in run(walled, connect).stderr
    listen = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0))"
    assert "PermissionError" in run(walled, listen).stderr


def test_without_a_filter_the_network_is_still_away(unfiltered: Worker) -> None:
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=0.2)"
    report = run_in(unfiltered, connect)
    assert report.verdict is Verdict.RE
    if unfiltered._settings.isolation == "namespaces":
        assert "Network is unreachable" in report.stderr


def test_files_are_read_only_and_only_the_library_is_there(walled: Sandbox) -> None:
    here = Path(__file__)
    report = run(walled, f"import os\nprint(os.path.exists({str(here)!r}), os.listdir('/dev'))")
    assert report.stdout.startswith("False")
    for path in ("/x", "/tmp/x", "/usr/lib/x", f"{sys.base_prefix}/lib/x", "/dev/x"):
        report = run(walled, f"open({path!r}, 'w')")
        assert report.verdict is Verdict.RE
        assert "Read-only file system" in report.stderr or "No such file" in report.stderr


def test_installed_packages_and_the_environment_are_hidden(
    walled: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    with Sandbox(workers=1) as fresh:
        report = run(
            fresh,
            "import os; print('SECRET_KEY' in os.environ, 'rlef' in __import__('sys').modules)",
        )
        assert report.stdout == "False False\n"
        find = (
            "import os, sysconfig\n"
            "path = sysconfig.get_path('stdlib') + '/site-packages'\n"
            "print(os.path.isdir(path) and os.listdir(path))"
        )
        assert run(fresh, find).stdout in ("[]\n", "False\n")


def test_no_privileges(walled: Sandbox) -> None:
    source = (
        "import os, ctypes\n"
        "print(os.getuid() != 0, ctypes.CDLL(None).unshare(0x10000000) == -1)\n"
        "for attempt in (lambda: os.setuid(0), lambda: os.chroot('/usr'), lambda: os.nice(-5)):\n"
        "    try:\n        attempt()\n        print('allowed')\n"
        "    except OSError: pass"
    )
    report = run(walled, source)
    assert os.getuid() != 0 or report.stdout == "True True\n", report
    assert "allowed" not in report.stdout


def test_expected_outputs_are_nowhere_in_the_jails_memory(walled: Sandbox) -> None:
    source = (
        "import gc, sys\n"
        "frame, seen = sys._getframe(), []\n"
        "while frame: seen.append(repr((frame.f_globals, frame.f_locals))); frame = frame.f_back\n"
        "seen += [repr(o) for o in gc.get_objects() if isinstance(o, (dict, list, tuple))]\n"
        "print(''.join(reversed('1174-eldeen')) in ''.join(seen), len(seen) > 10)"
    )
    limits = Limits(cpu_s=10, memory_mb=1024)
    report = walled.judge(source, [Test("", "needle-4711")] * 2, limits=limits)
    assert [t.stdout for t in report.tests] == ["False True\n"] * 2, report


def test_a_program_gets_only_its_own_files(sandbox: Sandbox) -> None:
    source = (
        "import os\n"
        "fds = []\n"
        "for fd in range(64):\n"
        "    try: os.fstat(fd); fds.append(fd)\n"
        "    except OSError: pass\n"
        "print(*fds)"
    )
    assert run(sandbox, source, "0 1 2 3").verdict is Verdict.AC


def test_fork_bomb_is_limited(unfiltered: Worker) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    start = time.monotonic()
    limits = Limits(cpu_s=1.0, wall_s=1.0)
    job = JudgeJob(source=bomb, tests=(Test("", ""),), limits=limits)
    if unfiltered._settings.isolation == "namespaces":
        assert unfiltered.judge(job).verdict is Verdict.TLE
        assert time.monotonic() - start < 8
        assert run_in(unfiltered, "print('ok')", "ok").verdict is Verdict.AC


def test_survivors_are_killed_before_the_output_is_read(unfiltered: Worker) -> None:
    """The program ends once its survivor has told that it lives; by the report it is gone."""
    source = (
        "import os, time\n"
        "print('ok', flush=True)\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.write(w, b'x')\n"
        "        time.sleep(99)\n"
        "    os._exit(0)\n"
        "os.read(r, 1)\n"
        "os._exit(0)"
    )
    assert run_in(unfiltered, "print('ok')", "ok").verdict is Verdict.AC
    jail = unfiltered._jails["python"]._process.pid
    before = set(descendants(jail))
    report = run_in(unfiltered, source, "ok")
    assert report.verdict is Verdict.AC, report
    assert set(descendants(jail)) == before


def test_signals_reach_only_the_program_itself(walled: Sandbox) -> None:
    for call in ("kill(1, 9)", "kill(-1, 9)", "kill(0, 9)", "kill(os.getppid(), 9)"):
        assert "PermissionError" in run(walled, f"import os; os.{call}").stderr, call
    assert "SIGKILL" in run(walled, "import os; os.kill(os.getpid(), 9)").message
    trace = "import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))"  # PTRACE_ATTACH
    assert run(walled, trace, "-1").verdict is Verdict.AC


def test_signals_do_not_reach_the_zygote(unfiltered: Worker) -> None:
    if unfiltered._settings.isolation == "namespaces":
        source = (
            "import os\n"
            "for n in (9, 15, 2, 19):\n"
            "    try: os.kill(1, n)\n"
            "    except OSError: pass\n"
            "print('ok')"
        )
        assert run_in(unfiltered, source, "ok").verdict is Verdict.AC


def test_one_program_cannot_change_the_next(sandbox: Sandbox) -> None:
    source = (
        "import builtins, sys, json, os\n"
        "builtins.print = builtins.input = json.dumps = os._exit = None\n"
        "sys.modules.clear()\n"
        "os.write(1, b'ok')"
    )
    for _ in range(4):
        run(sandbox, source)
        assert run(sandbox, "print('ok')", "ok").verdict is Verdict.AC


def test_programs_that_break_the_result_channel_never_pass(sandbox: Sandbox) -> None:
    for attack in (
        "os.write(3, b'rJ4'); os._exit(0)",
        "os.ftruncate(3, 0)",
        "os.write(3, b'garbage')",
        "os.close(3)",
        "os.closerange(0, 99)",
    ):
        assert run(sandbox, f"import os\n{attack}", "4").verdict in ("WA", "RE", "CE"), attack


@pytest.mark.parametrize("victim", ["caller", "judge", "guard", "zygote"])
def test_nothing_outlives_what_started_it(victim: str) -> None:
    program = (
        "from rlef.problems import Test\n"
        "from rlef.sandbox import Sandbox\n"
        "box = Sandbox(workers=2)\n"
        "box.judge('print(1)', [Test('', '1')])\n"
        "print(box.judge_pid(), flush=True)\n"
        "print(box.judge('import time; time.sleep(3)', [Test('', '')]).verdict, flush=True)\n"
        "box.close()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        judge = int(output.readline())
        time.sleep(0.3)
        jail = descendants(judge)  # guard, zygote, program
        target = dict(
            zip(("caller", "judge", "guard", "zygote"), (process.pid, judge, *jail), strict=False)
        )
        os.kill(target[victim], signal.SIGKILL)
        assert output.readline() == ("" if victim == "caller" else "AC\n")
        process.wait(timeout=30)
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in (judge, *jail)):
        assert time.monotonic() < deadline, "the jail outlived the judge"
        time.sleep(0.02)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine that refuses the kinds of isolation in the list."""
    refused: list[str] = []
    real = isolation_module._try

    def attempt(settings: JailSettings, warning: str) -> Isolation:
        if settings.isolation in refused:
            raise IsolationError(f"no {settings.isolation}")
        return real(settings, warning)

    monkeypatch.setattr(isolation_module, "_try", attempt)
    return refused


@pytest.mark.parametrize("missing", [["namespaces"], ["namespaces", "landlock"]])
def test_without_namespaces_it_says_so_and_still_judges(
    refusing: list[str], missing: list[str]
) -> None:
    refusing += missing
    settings, isolation = choose_isolation()
    assert settings.isolation in ("landlock", "none") and settings.seccomp
    assert "no namespaces" in isolation.warning and "\n" not in isolation.warning
    worker = Worker(settings)
    assert run_in(worker, "print('ok')", "ok").verdict is Verdict.AC
    assert run_in(worker, "while True: pass").verdict is Verdict.TLE
    assert "PermissionError" in run_in(worker, "import os; os.fork()").stderr
    assert "PermissionError" in run_in(worker, "import os; os.kill(os.getppid(), 9)").stderr
    if settings.isolation == "landlock":
        assert "PermissionError" in run_in(worker, f"open({__file__!r})").stderr
    worker.close()


class Impatient(Jail):
    """A jail whose idle limit is short beside its wall limit, as with a long CPU limit."""

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        if data[:1] == b"P":
            header = json.loads(data[1:]) | {"idle_s": 0.5, "wall_s": 20.0}
            data = b"P" + json.dumps(header).encode()
        super()._send(data, fds)


QUEUE = """
#include <pthread.h>
#include <time.h>
void *work(void *) {
    timespec next, a, b;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (next.tv_sec++, next.tv_nsec = 0;; next.tv_nsec += 250000000) {
        if (next.tv_nsec >= 1000000000) next.tv_nsec -= 1000000000, next.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        while ((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec < 1000000);
    }
}
int main() {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 0; i < 38; i++) { pthread_t t; pthread_create(&t, &small, work, 0); }
    work(0);
}
"""


@pytest.mark.parametrize("native", [True, False])
def test_threads_that_wait_for_each_other_do_not_hide_idle_time(native: bool) -> None:
    """Each of many threads wants a core at the same moment, four times a second, for 1 ms."""
    settings = choose_isolation()[0]
    if settings.isolation != "namespaces" or shutil.which("g++") is None:
        pytest.skip("needs namespaces and g++")
    tools = Jail(replace(settings, view="tools"))
    binary = build(LANGUAGES["cpp"], QUEUE, {}, lambda: tools)
    tools.close()
    jail = Impatient(settings if native else replace(settings, native=None))
    try:
        program = Program(kind="binary", binary=binary, argv=("solution",))
        for _ in range(3):
            run = jail.run(program, b"", Limits(cpu_s=3.0, memory_mb=512, output_kb=16))
            if run.killed != "starved":  # as on a machine where others take the cores
                break
    finally:
        jail.close()
        os.close(binary)
    assert run.killed == "wall", run
    assert run.wall_s < 10


def test_with_neither_namespaces_nor_seccomp_it_refuses(
    refusing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing += ["namespaces"]
    monkeypatch.setattr(isolation_module.seccomp, "is_available", lambda: False)
    with pytest.raises(IsolationError, match="RLEF_UNSAFE_NO_ISOLATION=1") as caught:
        choose_isolation()
    assert "\n" not in str(caught.value) and "no namespaces" in str(caught.value)
    assert choose_isolation(unsafe=True)[1].warning.startswith("UNSAFE")


def test_the_refusal_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with Sandbox(workers=1) as box, pytest.raises(SandboxError, match=r"g\+\+"):
        box.judge("int main() {}", [Test("", "")], language="cpp")


def test_needs_no_torch() -> None:
    code = "import sys, rlef.sandbox, rlef.problems; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_hot_path_of_another_version_is_not_used_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("this machine has no C compiler")
    (tmp_path / "old.c").write_text("int rlef_version(void) { return 1; }\n")
    old = tmp_path / "_native.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(old), str(tmp_path / "old.c")]
    subprocess.run(command, check=True)
    monkeypatch.setattr(isolation_module, "hot_path", lambda: str(old))
    settings, isolation = choose_isolation()
    assert isolation.hot_path == "Python"
    assert "install rlef again" in isolation.warning
    worker = Worker(settings)
    try:
        assert run_in(worker, "print('ok')", "ok").verdict is Verdict.AC
    finally:
        worker.close()
