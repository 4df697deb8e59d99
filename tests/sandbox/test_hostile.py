"""Every program of ``hostile/`` gets its verdict, leaks nothing, leaves nothing behind."""

import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hostile import CATEGORIES, SECRET, Hostile

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox
from rlef.sandbox.build import can_run

ROOT = Path(__file__).parents[2]
WORKERS = 2
TIME_S = 20.0
"""More than any case needs on a busy machine; a program that hangs the judge takes for ever."""
COMPILE_S = 90.0
FAIR = Limits(cpu_s=5.0, memory_mb=256)

_numbers = count()


def good_jobs() -> list[JudgeJob]:
    """Programs known to be right, never the same twice, for all workers."""
    numbers = [next(_numbers) for _ in range(2 * WORKERS)]
    return [
        JudgeJob(source="print(2 * int(input()))", tests=(Test(str(n), str(2 * n)),), limits=FAIR)
        for n in numbers
    ]


def descendants() -> set[int]:
    """Processes below this one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat[0] != "Z":
                parents[int(entry.name)] = int(stat[1])
    found, todo = set(), {os.getpid()}
    while todo:
        todo = {pid for pid, parent in parents.items() if parent in todo}
        found |= todo
    return found


def programs() -> set[int]:
    """Processes inside jails that are not the first one of their jail: what programs left."""
    left = set()
    for pid in descendants():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        numbers = next(x for x in status.splitlines() if x.startswith("NSpid")).split()[1:]
        if len(numbers) > 1 and numbers[-1] != "1":
            left.add(pid)
    return left


class Shared:
    """One sandbox for all cases, and what the caller looked like before them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.is_well()
        self.files = len(os.listdir("/proc/self/fd"))

    def is_well(self) -> None:
        reports = self.sandbox.judge_many(good_jobs())
        assert [report.verdict for report in reports] == ["AC"] * len(reports), reports


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    before = descendants()
    os.environ["RLEF_TEST_SECRET"] = SECRET
    try:
        with Sandbox(workers=WORKERS) as sandbox:
            yield Shared(sandbox)
    finally:
        del os.environ["RLEF_TEST_SECRET"]
    deadline = time.monotonic() + 5
    while descendants() - before:
        assert time.monotonic() < deadline, "processes outlived the sandbox"
        time.sleep(0.02)


def skip_what_cannot_run(case: Hostile) -> None:
    language = LANGUAGES[case.language]
    if not can_run(language):
        pytest.skip(f"no {language.compiler or language.interpreter}")
    if "import numpy" in case.source and importlib.util.find_spec("numpy") is None:
        pytest.skip("no numpy")
    if case.machine not in ("", platform.machine()):
        pytest.skip(f"only for {case.machine}")


def jobs_of(case: Hostile) -> list[JudgeJob]:
    """The case; after another program: as often as it takes to come to each jail."""
    job = JudgeJob(
        source=case.source,
        tests=(Test(case.given, case.wanted),) * case.tests,
        language=case.language,
        mode=case.mode,  # type: ignore[arg-type]
        entry_point=case.entry_point,
        limits=case.limits,
        checker=case.checker,
    )
    if not case.first:
        return [job]
    return [
        JudgeJob(source=job.source + "\n" * n, tests=job.tests, limits=job.limits)
        for n in range(2 * WORKERS)
    ]


ALL = [
    pytest.param(case, id=f"{category.partition(' ')[0].strip(',').lower()}-{case.name}")
    for category, cases in CATEGORIES.items()
    for case in cases
]


@pytest.mark.parametrize("case", ALL)
def test_program_gets_its_verdict_and_harms_nobody(shared: Shared, case: Hostile) -> None:
    skip_what_cannot_run(case)
    start = time.monotonic()
    if case.first:
        before = [
            JudgeJob(source=case.first + "\n" * n, tests=(Test(case.first_given, ""),), limits=FAIR)
            for n in range(2 * WORKERS)
        ]
        shared.sandbox.judge_many(before)
    reports = shared.sandbox.judge_many(jobs_of(case))
    took = time.monotonic() - start
    for test in (test for report in reports for test in report.tests):
        assert test.verdict in case.verdicts, test
        if test.verdict != "AC":
            assert SECRET not in test.stdout + test.stderr
            assert case.says in test.message + test.stderr, test
        if case.language == "python":
            assert least_cpu_s(shared, case, test.cpu_s) < case.limits.cpu_s + 0.25
    assert took < (TIME_S if case.language == "python" else COMPILE_S)
    shared.is_well()


def least_cpu_s(shared: Shared, case: Hostile, cpu_s: float) -> float:
    """Of some tries, where the first is above the limit: a judge without a core looks late."""
    for tries in range(1, 5):
        if cpu_s < case.limits.cpu_s + 0.25:
            break
        job = replace(jobs_of(case)[0], source=case.source + "\n" * (10 + tries))
        cpu_s = min(cpu_s, *(test.cpu_s for test in shared.sandbox.judge_many([job])[0].tests))
    return cpu_s


def test_no_process_and_no_descriptor_stays(shared: Shared) -> None:
    shared.is_well()
    assert not programs()
    # In-process workers hold a few descriptors for each jail: one kind of jail each for Python
    # programs, numpy programs, the compiler.
    assert len(os.listdir("/proc/self/fd")) <= shared.files + 3 * WORKERS


def test_names_are_unique_and_there_are_enough() -> None:
    for category, cases in CATEGORIES.items():
        assert not [n for n, times in Counter(c.name for c in cases).items() if times > 1], category
        assert {v for c in cases for v in c.verdicts} <= {
            "AC",
            "WA",
            "RE",
            "TLE",
            "MLE",
            "OLE",
            "CE",
        }
    assert sum(map(len, CATEGORIES.values())) >= 170


def test_the_document_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev" / "hostile_table.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
