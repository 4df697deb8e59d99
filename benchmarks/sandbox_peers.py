"""The judge beside an interpreter per test, bubblewrap and a bare interpreter.

    python benchmarks/sandbox_peers.py [--quick] [--only subprocess,bubblewrap,sort] [--workers N]

Speeds are compared by turns in one run, the median of the ratios is the result: a machine that is
slow, or busy with other things, slows both sides. Exit status 0: every target measured is met.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rlef.bench.programs import SORT, doubling_jobs, doubling_tests, sorting_tests
from rlef.bench.rows import Row, machine_facts, skipped
from rlef.bench.sandbox import spread
from rlef.bench.speed import TESTS_PER_PROGRAM, Setting, doubling_batch, judged_rate, warm_sandbox
from rlef.cli.bench import print_table
from rlef.problems import Test
from rlef.sandbox import JudgeJob

TIMES_SUBPROCESS = 8.0
TIMES_BUBBLEWRAP = 6.0
OF_INTERPRETER_BOUND = 0.95


class PeerError(RuntimeError):
    """A peer does not work on this machine."""


def rate_of_command(command: Sequence[str], tests: Sequence[Test], threads: int) -> float:
    """Tests per second of a command that is started anew for each test, without environment.

    Args:
        command: Absolute path of a program and its arguments.
        tests: Each is compared byte for byte.
        threads: Number of commands at once.

    Raises:
        PeerError: The command failed, or printed something else.
    """

    def run(test: Test) -> None:
        done = subprocess.run(command, input=test.input, env={}, capture_output=True, text=True)
        if done.returncode != 0 or done.stdout != test.output:
            said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise PeerError(f"{os.path.basename(command[0])} does not work here: {said[0]}")

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(run, tests))
        return len(tests) / (time.perf_counter() - start)


def bubblewrap_command(bwrap: str) -> list[str]:
    """Python on a file yet to be named, in all namespaces that bubblewrap can make."""
    walls = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "--die-with-parent"]
    return [*walls, sys.executable, "-I", "-S"]


_BARE = """
import sys, time
clock = time.perf_counter
start = clock()
exec(compile(sys.argv[1], "solution.py", "exec"), {"__name__": "__main__"})
sys.stdout.flush()
sys.stderr.write(repr(clock() - start))
"""


def interpreter_bound_rate(source: str, tests: Sequence[Test], cores: int) -> float:
    """Tests per second if nothing but the interpreter's own work on the program took time.

    Each test runs in a fresh ``python -I -S -B``, ``cores`` of them at once, with standard input
    and output in memory files as in the sandbox. Measured is, inside each process, the wall time
    from just before ``exec(compile(...))`` to the end of its output. Start and end of the process
    do not count, nor does the comparison of its output. The limit is ``cores`` over the mean time.

    Raises:
        PeerError: The program failed, or printed something of another length.
    """

    def run(test: Test) -> float:
        given, printed = os.memfd_create("stdin"), os.memfd_create("stdout")
        try:
            with open(given, "wb", closefd=False) as file:
                file.write(test.input.encode())
            os.lseek(given, 0, os.SEEK_SET)
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", _BARE, source],
                stdin=given,
                stdout=printed,
                stderr=subprocess.PIPE,
                env={},
                text=True,
            )
            if done.returncode != 0 or os.fstat(printed).st_size != len(test.output):
                raise PeerError("the program does not work in a bare interpreter")
            return float(done.stderr)
        finally:
            os.close(given)
            os.close(printed)

    with ThreadPoolExecutor(cores) as pool:
        return cores / statistics.fmean(pool.map(run, tests))


def against_subprocess(setting: Setting) -> list[Row]:
    """Trivial tests per second over those of a new interpreter for each test.

    Where packages are installed, much of an interpreter's start is the search for them: a row
    without a target leaves that out (``-I -S``).
    """
    plain, bare = [sys.executable], [sys.executable, "-I", "-S"]
    name = "trivial, to subprocess"
    return [
        _ratio(setting, name, plain, target=TIMES_SUBPROCESS, note="python file, env={}"),
        _ratio(setting, f"{name} with -I -S", bare, target=None, note="python -I -S file, env={}"),
    ]


def against_bubblewrap(setting: Setting) -> list[Row]:
    """Trivial tests per second over those of bubblewrap around a new interpreter."""
    name, target = "trivial, to bubblewrap", f"{TIMES_BUBBLEWRAP:g} or more"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return [skipped(name, "times", target, "bwrap is not installed")]
    command = bubblewrap_command(os.path.abspath(bwrap))
    note = "bwrap --unshare-all --ro-bind / / python -I -S file"
    try:
        return [_ratio(setting, name, command, target=TIMES_BUBBLEWRAP, note=note)]
    except PeerError as error:
        return [skipped(name, "times", target, str(error))]


def sort(setting: Setting) -> list[Row]:
    """Sorting 100,000 integers: tests per second over the interpreter-bound limit.

    The limit is what the same program on the same inputs needs inside fresh interpreters that run
    on all cores at once, without their start and end: see ``interpreter_bound_rate``. What
    the sandbox adds to that (forking, handing over input, comparing output) lowers the ratio.
    """
    cores = len(os.sched_getaffinity(0))
    each = 2 if setting.quick else 6
    tests = sorting_tests(seed=1, count=each, size=100_000)
    ratios, limits = [], []
    with warm_sandbox(setting.workers) as sandbox:
        for turn in range(setting.repetitions):
            sources = [f"{SORT}\n# {turn} {i}" for i in range(4 * setting.workers)]
            rate = judged_rate(sandbox, [JudgeJob(source=s, tests=tuple(tests)) for s in sources])
            limits.append(interpreter_bound_rate(SORT, tests * len(sources), cores))
            ratios.append(rate / limits[-1])
    ratio = statistics.median(ratios)
    return [
        Row(
            name="sort of 100,000, to interpreter-bound limit",
            value=ratio,
            unit="times",
            target=f"{OF_INTERPRETER_BOUND:g} or more",
            met=ratio >= OF_INTERPRETER_BOUND,
            note=f"{spread(ratios)}; the limit is {statistics.median(limits):.1f} tests/s",
        )
    ]


def _ratio(
    setting: Setting, name: str, command: Sequence[str], *, target: float | None, note: str
) -> Row:
    """Trivial tests per second, 10 per program, over those of a command that gets a file."""
    count = (10 if setting.quick else 25) * setting.workers
    ratios, rates = [], []
    with tempfile.TemporaryDirectory() as folder, warm_sandbox(setting.workers) as sandbox:
        file = Path(folder, "solution.py")
        file.write_text(doubling_jobs(first=0, programs=1, tests=1)[0].source, encoding="utf-8")
        words = [*command, str(file)]
        rate_of_command(words, doubling_tests(0, setting.workers), setting.workers)
        for turn in range(setting.repetitions):
            rate = judged_rate(sandbox, doubling_batch(setting, turn, TESTS_PER_PROGRAM))
            tests = doubling_tests(turn * count, count)
            rates.append(rate_of_command(words, tests, setting.workers))
            ratios.append(rate / rates[-1])
    ratio = statistics.median(ratios)
    return Row(
        name=name,
        value=ratio,
        unit="times",
        target="" if target is None else f"{target:g} or more",
        met=None if target is None else ratio >= target,
        note=f"{spread(ratios)}; {note}: {statistics.median(rates):.0f} tests/s",
    )


MEASURES: dict[str, Callable[[Setting], list[Row]]] = {
    "subprocess": against_subprocess,
    "bubblewrap": against_bubblewrap,
    "sort": sort,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller batches")
    parser.add_argument("--only", default=",".join(MEASURES), help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    names = given.only.split(",")
    for name in names:
        if name not in MEASURES:
            parser.error(f"unknown measure {name!r}; allowed: {', '.join(MEASURES)}")
    setting = Setting(workers=given.workers, quick=given.quick)
    rows = [row for name in names for row in MEASURES[name](setting)]
    print_table(rows, machine_facts())
    sys.exit(any(row.met is False for row in rows))


if __name__ == "__main__":
    main()
