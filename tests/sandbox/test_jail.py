"""Hostile programs: each test checks one property of the jail."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox, TestReport, Verdict
from rlef.sandbox import jail as jail_module
from rlef.sandbox.jail import Jail

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=64)


def run(sandbox: Sandbox, source: str, wanted: str = "") -> TestReport:
    return sandbox.judge(source, [Test("", wanted)], limits=QUICK).tests[0]


@pytest.fixture(scope="module")
def walled(sandbox: Sandbox) -> Sandbox:
    if "Network is unreachable" not in run(sandbox, CONNECT).stderr:
        pytest.skip("this machine allows no user namespaces")
    return sandbox


CONNECT = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=0.2)"


def test_no_network(walled: Sandbox) -> None:
    assert run(walled, CONNECT).verdict is Verdict.RE
    listen = (
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.connect(s.getsockname())"
    )
    assert "unreachable" in run(walled, listen).stderr


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
    expected = "True True\n" if os.getuid() == 0 else None
    report = run(walled, source)
    assert expected is None or report.stdout == expected, report
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


def test_fork_bomb_is_limited(walled: Sandbox) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    start = time.monotonic()
    report = walled.judge(bomb, [Test("", "")], limits=Limits(cpu_s=1.0, wall_s=1.0))
    assert report.verdict is Verdict.TLE
    assert time.monotonic() - start < 5
    assert run(walled, "print('ok')", "ok").verdict is Verdict.AC
    count = (
        "import os, time\nn = 0\n"
        "try:\n"
        "    while n < 500:\n"
        "        if os.fork() == 0: time.sleep(9); os._exit(0)\n"
        "        n += 1\n"
        "except OSError: pass\n"
        "print(n < 100)"
    )
    assert run(walled, count, "True").verdict is Verdict.AC


def test_survivors_are_killed_before_the_output_is_read(sandbox: Sandbox) -> None:
    source = (
        "import os, time\n"
        "print('ok', flush=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(0.2)\n"
        "        while True: os.write(1, b'late ')\n"
        "    os._exit(0)\n"
        "time.sleep(0.05)\n"
        "os._exit(0)"
    )
    report = run(sandbox, source, "ok")
    assert report.verdict is Verdict.AC, report
    alone = "import os, signal\ntry: os.kill(-1, 0)\nexcept ProcessLookupError: print('alone')"
    assert run(sandbox, alone, "alone").verdict in (Verdict.AC, Verdict.WA)
    assert "late" not in run(sandbox, "import time; time.sleep(0.3); print('ok')", "ok").stdout


def test_signals_do_not_reach_the_zygote(walled: Sandbox) -> None:
    source = "import os\nfor n in (9, 15, 2, 19): os.kill(1, n)\nprint('ok')"
    assert run(walled, source, "ok").verdict is Verdict.AC
    assert "No such process" in run(walled, "import os; os.kill(-1, 9)").stderr
    trace = "import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))"  # PTRACE_ATTACH
    assert run(walled, trace, "-1").verdict is Verdict.AC


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


def test_ends_with_the_judge() -> None:
    program = (
        "import sys\n"
        "from rlef.problems import Test\n"
        "from rlef.sandbox import Sandbox\n"
        "box = Sandbox(workers=1)\n"
        "box.judge('print(1)', [Test('', '1')])\n"
        "print(next(iter(box._jails)).pid, flush=True)\n"
        "box.judge('import time; time.sleep(60)', [Test('', '')])"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        guard = int(output.readline())
    children = Path(f"/proc/{guard}/task/{guard}/children")
    zygotes = [int(pid) for pid in children.read_text().split()]
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in (guard, *zygotes)):
        assert time.monotonic() < deadline, "the jail outlived the judge"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_without_namespaces_it_says_so_and_still_judges(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = Jail._start

    def refuse(self: Jail, *flags: str) -> str | None:
        return start(self, *flags) if flags else "no such thing"

    monkeypatch.setattr(Jail, "_start", refuse)
    jail_module._warned.clear()
    with caplog.at_level(logging.WARNING), Sandbox(workers=2) as bare:
        assert run(bare, "print('ok')", "ok").verdict is Verdict.AC
        assert run(bare, "while True: pass").verdict is Verdict.TLE
        test_survivors_are_killed_before_the_output_is_read(bare)
    assert len(caplog.records) == 1
    assert "no such thing" in caplog.text and "network" in caplog.text


def test_needs_no_torch() -> None:
    code = "import sys, rlef.sandbox, rlef.problems; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
