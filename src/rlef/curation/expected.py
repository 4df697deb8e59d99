"""What a data set's own solutions return: run in the sandbox once, then kept."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlef.problems import ProblemError, Test
from rlef.problems.odd import OddRows
from rlef.problems.reference import RESULT, Reference
from rlef.sandbox import JudgeJob, JudgeReport, Limits, Sandbox, SandboxError, usable_cores
from rlef.sandbox.values import read_result

_LONG_INTEGERS = "import sys; sys.set_int_max_str_digits(0)"
"""Inputs of many digits stand in the program."""


def run_references(references: Sequence[Reference], odd: OddRows) -> list[list[Any] | None]:
    """Returns what ``rlef_result()`` of each program returns, a list of plain values.

    Results are kept in ``$XDG_CACHE_HOME/rlef/expected``, else ``~/.cache``, by a hash of the
    program and of the version of Python.

    Args:
        references: The programs.
        odd: What becomes of rows whose program fails; ``None`` stands for what it returns.

    Raises:
        ProblemError: A program fails, or this machine cannot run programs safely.
    """
    paths = [_kept(reference.program) for reference in references]
    kept: dict[Path, Any] = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError, RecursionError):  # torn: made again
            kept[path] = read_result(path.read_bytes())
    missing = [i for i, path in enumerate(paths) if path not in kept]
    if missing:
        made = _judged([references[i] for i in missing])
        for i, report in zip(missing, made, strict=True):
            with odd.row():
                text = _returned(references[i], report)
                kept[paths[i]] = read_result(text.encode())
                with contextlib.suppress(OSError):  # no place to keep it: made again next time
                    _keep(paths[i], text)
    values = [kept.get(path) for path in paths]
    return [value if isinstance(value, list) else None for value in values]


def _judged(references: list[Reference]) -> list[JudgeReport]:
    limits = Limits(cpu_s=120.0, memory_mb=4096, output_kb=256 * 1024)
    jobs = [
        JudgeJob(
            source=reference.program,
            prelude=_LONG_INTEGERS,
            tests=(Test("[]", '"rlef: any value"'),),
            mode="function",
            entry_point=RESULT,
            limits=limits,
        )
        for reference in references
    ]
    try:
        with Sandbox(workers=usable_cores()) as sandbox:
            return sandbox.judge_many(jobs)
    except SandboxError as error:
        raise ProblemError(f"expected values cannot be made: {error}") from None


def _returned(reference: Reference, report: JudgeReport) -> str:
    test = report.tests[0]
    if test.verdict != "WA":  # nothing is equal to what was expected
        last = test.message.strip().rpartition("\n")[2]
        raise reference.record.error(reference.field, f"the reference solution fails: {last}")
    return test.stdout


def _kept(program: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    words = json.dumps([version, program]).encode()
    return Path(base) / "rlef" / "expected" / hashlib.sha256(words).hexdigest()


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
