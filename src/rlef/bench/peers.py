"""What the sandbox is compared with: an interpreter per test, bubblewrap, a bare interpreter."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rlef.problems import Test


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
