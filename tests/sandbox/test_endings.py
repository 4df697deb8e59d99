"""A program's end is CPython's: the same output and exit status as ``python3 FILE``."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from endings import PROGRAMS

from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import Jail, Program

ROOMY = Limits(cpu_s=5.0, memory_mb=512)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit status and output of each program by the interpreter itself."""
    folder, found = tmp_path_factory.mktemp("endings"), {}
    for number, (name, source) in enumerate(PROGRAMS.items()):
        found[name] = by_the_interpreter(folder / f"{number}.py", source)
    return found


def by_the_interpreter(path: Path, source: str) -> tuple[int, str]:
    path.write_text(source)
    site = () if "exit(4)" in source or "quit" in source else ("-S",)  # which has exit and quit
    words = [sys.executable, "-I", *site, "-X", "utf8", str(path)]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return ended.returncode, ended.stdout.decode()


@pytest.mark.parametrize("native", [True, False])
def test_programs_end_as_by_the_interpreter(
    wanted: dict[str, tuple[int, str]], native: bool
) -> None:
    settings = choose_isolation()[0]
    jail = Jail(settings if native else replace(settings, native=None))
    found = {}
    try:
        for name, source in PROGRAMS.items():
            run = jail.run(Program(kind="python", source=source.encode()), b"", ROOMY)
            found[name] = run.exit, run.stdout.decode()
    finally:
        jail.close()
    assert found == wanted


def test_how_standard_output_ends_does_not_matter_to_what_a_function_returns(
    sandbox: Sandbox,
) -> None:
    for source in (
        "import sys\nclass W:\n    def write(self, s): pass\nsys.stdout = W()",
        "import os\nprint('a')\nos.close(1)",
        "import sys\nsys.stdout = None",
    ):
        source += "\ndef f(): return 7"
        report = sandbox.judge(source, [Test("[]", "7")], mode="function", entry_point="f")
        assert report.passed, report
