"""The newest parts of the hostile set in every kind of jail, and what only weaker walls show."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox, SandboxError, isolation, landlock
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import IsolationError, Jail, JailError
from rlef.sandbox.worker import Worker

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "dev" / "hostile_modes.py"
NEW = ("between-", "corners-", "messages-", "secrets-program-before")
FAIR = Limits(cpu_s=5.0, memory_mb=512, output_kb=256)


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hostile_modes", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


modes = load_script()


def need_landlock() -> None:
    try:
        landlock.abi()
    except OSError as error:
        pytest.skip(f"no Landlock: {error}")


@pytest.fixture
def locked() -> Worker:
    """A worker whose jails have Landlock and a filter only."""
    need_landlock()
    return Worker(modes.settings_of("landlock"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["python", "landlock", "landlock-python"])
def test_the_newest_programs_in_every_kind_of_jail(mode: str) -> None:
    if mode.startswith("landlock"):
        need_landlock()
    cases = modes.chosen(NEW)
    reports = modes.run_all(cases, modes.settings_of(mode))
    assert len(cases) >= 60
    wrong = {n: reports[n] for n, case in cases.items() if not modes.is_right(case, reports[n])}
    assert not wrong


def for_nobody() -> str:
    """An interpreter that an ordinary user can start, with the source that is tested."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    check = "import sys; open(sys.argv[1]); sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        words = [python, "-c", check, str(SCRIPT)]
        with contextlib.suppress(OSError):
            if subprocess.run(words, user=65534, capture_output=True, check=False).returncode == 0:
                return python
    pytest.skip("no interpreter of this version is within nobody's reach")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["c", "python", "landlock"])
def test_the_newest_programs_as_an_ordinary_user(mode: str) -> None:
    if mode == "landlock":
        need_landlock()
    words = [for_nobody(), str(SCRIPT), "--nobody", "--mode", mode, "--only", *NEW]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


BUSY_USER = f"""
import os, sys, threading, time
sys.path[:0] = [{str(ROOT / "src")!r}, {str(ROOT / "dev")!r}]
import hostile_modes as modes
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
for _ in range(100):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
from rlef.problems import Test
from rlef.sandbox import JudgeJob
from rlef.sandbox.worker import Worker
source = "import threading; t = threading.Thread(target=print, args=('ok',)); t.start(); t.join()"
worker = Worker(modes.settings_of("landlock"))
print(worker.judge(JudgeJob(source=source, tests=(Test("", "ok"),))).verdict)
worker.close()
"""


def test_threads_of_the_user_do_not_count_against_a_program() -> None:
    need_landlock()
    done = subprocess.run([for_nobody(), "-c", BUSY_USER], capture_output=True, text=True)
    assert done.stdout == "AC\n", done.stderr


def test_numpy_without_namespaces(locked: Worker) -> None:
    source = "import numpy as np, numpy.polynomial\nprint(np.arange(5).sum())"
    report = locked.judge(JudgeJob(source=source, tests=(Test("", "10"),), limits=FAIR))
    assert report.passed, report
    others = "import numpy, sys\nimport pytest"
    report = locked.judge(JudgeJob(source=others, tests=(Test("", ""),), limits=FAIR))
    assert "ModuleNotFoundError" in report.tests[0].stderr
    locked.close()


def test_without_numpy_a_program_that_imports_it_has_an_ordinary_error() -> None:
    worker = Worker(choose_isolation(())[0])
    report = worker.judge(JudgeJob(source="import numpy", tests=(Test("", ""),), limits=FAIR))
    worker.close()
    assert report.verdict == "RE"
    assert "ModuleNotFoundError" in report.tests[0].stderr


def test_without_namespaces_compilers_are_refused_in_words(locked: Worker) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    job = JudgeJob(source="int main() {} // never built", tests=(Test("", ""),), language="cpp")
    with pytest.raises(IsolationError, match="need user namespaces"):
        locked.judge(job)
    locked.close()


class Dying:
    """Stands for a jail; so many of them die while they start."""

    left = 0

    def __new__(cls, settings: object) -> Jail:  # type: ignore[misc]
        if cls.left > 0:
            cls.left -= 1
            raise JailError("a jail ended while it set itself up")
        return Jail(settings)  # type: ignore[arg-type]


def test_a_jail_that_dies_is_no_reason_for_weaker_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    strongest = choose_isolation()[0]
    monkeypatch.setattr(isolation, "Jail", Dying)
    Dying.left = 2
    assert choose_isolation()[0] == strongest
    Dying.left = 3
    with pytest.raises(JailError):
        choose_isolation()
    assert Dying.left == 0


def test_a_judge_without_jails_answers_and_the_next_may_have_them(tmp_path: Path) -> None:
    """A link at the place of the zygote's script, which leads nowhere at first."""
    copy = tmp_path / "rlef"
    shutil.copytree(ROOT / "src" / "rlef", copy, ignore=shutil.ignore_patterns("__pycache__"))
    zygote = copy / "sandbox" / "zygote.py"
    zygote.rename(zygote.with_suffix(".away"))
    program = (
        "import os, sys\nfrom rlef.problems import Test\nfrom rlef.sandbox import Sandbox\n"
        "with Sandbox(workers=1) as box:\n"
        "    print(*box.judge('print(1)', [Test('', '1')]).tests)\n"
        f"    os.rename({str(zygote.with_suffix('.away'))!r}, {str(zygote)!r})\n"
        "    print(box.judge('print(1)', [Test('', '1')]).verdict)\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    first, second = done.stdout.splitlines()
    assert "IE" in first and "a jail ended while it set itself up" in first, done
    assert second == "AC"


def test_a_refusal_is_an_error_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with Sandbox(workers=1) as box:
        for _ in range(2):
            with pytest.raises(SandboxError):
                box.judge("int main() {}", [Test("", "")], language="cpp")


def test_chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "benchmarks" / "chaos_sandbox.py"
    spec = importlib.util.spec_from_file_location("chaos_sandbox", path)
    assert spec is not None and spec.loader is not None
    chaos = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = chaos  # for its dataclass
    spec.loader.exec_module(chaos)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # others have files in the usual one
    found = chaos.run(kills=25, threads=3, workers=2, seed=3)
    assert sum(found.verdicts.values()) > 20
    assert found.slowest_s < 30
