"""Checker programs by the testlib protocol: ``checker input output answer``, run in a jail."""

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from rlef.sandbox.build import CompileError
from rlef.sandbox.jail import Jail, Program, Run, StarvedError
from rlef.sandbox.types import Limits

TESTLIB = "testlib"
LIMITS = Limits(cpu_s=10.0, memory_mb=512, output_kb=256)
HEADER_VARIABLE = "RLEF_TESTLIB_H"
"""Environment variable of the judge: absolute path of a testlib.h to use instead of rlef's own."""
ACCEPTED = 0
REJECTED = (1, 2, 4, 7, 8)
"""Wrong answer, wrong format, more output than asked for, points, end of file; 3 is a failure."""
_PARTLY = "partially correct ("
"""What testlib says with a result between the two; the exit status is then the points."""
_FILES = ("input.txt", "output.txt", "answer.txt")
_SHOWN = 300


class CheckerError(Exception):
    """The checker program failed: says nothing about the program, and would fail again."""


class TestlibChecker:
    """A compiled checker program.

    Args:
        source: C++ text; it may include ``testlib.h``, which rlef brings along (or
            ``$RLEF_TESTLIB_H``).
        build: Compiles (language, source, files beside it) and returns a descriptor.
        jail: Gives the jail for checkers.

    Raises:
        CheckerError: The checker does not compile, or the header that the environment names cannot
            be read: that says nothing about the program.
    """

    __test__ = False  # not a pytest class

    def __init__(
        self,
        source: str,
        build: Callable[[str, str, dict[str, bytes]], int],
        jail: Callable[[], Jail],
    ) -> None:
        headers = {"testlib.h": testlib_header()} if "testlib.h" in source else {}
        try:
            self._binary = build("cpp", source, headers)
        except CompileError as error:
            raise CheckerError(f"the checker does not compile: {str(error)[:_SHOWN]}") from error
        self._jail = jail

    def close(self) -> None:
        """Frees the binary."""
        os.close(self._binary)

    def check(self, given: bytes, expected: bytes, actual: bytes) -> str | None:
        """Runs the checker. Returns ``None`` where it accepts, else what it says.

        Where it crashes or passes its limits, but accepts the answer in place of the output, the
        output is to blame: a checker may take room for as many numbers as the output says.

        Raises:
            CheckerError: The checker failed (exit status 3), or does so with the answer too.
            JailError: The jail died, or the machine was too busy.
        """
        run = self._run(given, expected, actual)
        if _accepts(run):
            return None
        words = _words(run)
        if not run.killed and (run.exit in REJECTED or (_is_partly(run) and run.exit >= 0)):
            return words or "the checker rejects the output"
        ending = run.killed or f"exit status {run.exit}"
        was_lost = bool(run.killed) or run.exit < 0
        if was_lost and _accepts(self._run(given, expected, expected)):
            return f"the checker cannot read the output ({ending})"
        raise CheckerError(f"the checker failed ({ending}): {words}")

    def _run(self, given: bytes, expected: bytes, actual: bytes) -> Run:
        program = Program(
            kind="tool",
            binary=self._binary,
            argv=("checker", *_FILES),
            files=tuple(zip(_FILES, (given, actual, expected), strict=True)),
        )
        run = self._jail().run(program, b"", LIMITS)
        if run.killed == "starved":
            raise StarvedError("the machine gave the checker no time to run")
        return run


def _accepts(run: Run) -> bool:
    return run.exit == ACCEPTED and not run.killed and not _is_partly(run)


def _is_partly(run: Run) -> bool:
    return _words(run).startswith(_PARTLY)


def _words(run: Run) -> str:
    return run.stderr.decode("utf-8", "backslashreplace").strip()[:_SHOWN]


def testlib_header() -> bytes:
    """The ``testlib.h`` for checkers.

    Raises:
        CheckerError: The environment names a file that cannot be read.
    """
    chosen = os.environ.get(HEADER_VARIABLE)
    if not chosen:
        return (resources.files("rlef") / "assets" / "testlib.h").read_bytes()
    try:
        return Path(chosen).read_bytes()
    except OSError as error:
        raise CheckerError(
            f"{HEADER_VARIABLE}={chosen} cannot be read: {error.strerror}"
        ) from error
