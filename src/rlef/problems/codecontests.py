"""Loader of the CodeContests schema (Li et al. 2022), one JSON object a line.

``private_tests`` of a problem are the data set's private and generated tests (RLEF section 2.1).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlef.problems.errors import ProblemError
from rlef.problems.records import Record, paired_tests, read_records, unique_problems
from rlef.problems.types import Problem, Test

_PYTHON3 = 3
"""The schema's code of a solution's language."""


def load_codecontests(path: Path, split: str | None = None) -> list[Problem]:
    """Reads problems in the CodeContests schema.

    Args:
        path: A jsonl file, or a folder that holds ``train.jsonl``, ``valid.jsonl``, ``test.jsonl``.
        split: Which file of the folder; not allowed with a file.

    Raises:
        ProblemError: The path or a line in it is not as described; the message says where.
    """
    if path.is_dir():
        if split is None:
            raise ProblemError(f"{path}: is a folder; add :train, :valid or :test")
        name = "valid" if split == "validation" else split
        path = path / f"{name}.jsonl"
    elif split is not None and path.exists():
        raise ProblemError(f"{path}: is one file without splits; leave out :{split}")
    return unique_problems(_problems(path), path)


def _problems(path: Path) -> Iterator[tuple[Record, Problem]]:
    for record in read_records(path):
        memory_bytes = record.get("memory_limit_bytes", (int,), 0)
        public = _tests(record, "public_tests")
        private = _tests(record, "private_tests") + _tests(record, "generated_tests")
        yield (
            record,
            Problem(
                name=record.get("name", (str,)),
                statement=record.get("description", (str,)),
                public_tests=tuple(public),
                private_tests=tuple(private),
                cpu_s=_seconds(record),
                memory_mb=max(1, memory_bytes // (1 << 20)) if memory_bytes > 0 else None,
                solutions=_programs(record, "solutions"),
                incorrect_solutions=_programs(record, "incorrect_solutions"),
            ),
        )


def _columns(record: Record, field: str, *names: str) -> list[list[Any]]:
    """The named lists of an optional object of lists."""
    value = record.get(field, (dict,), {name: [] for name in names})
    columns = []
    for name in names:
        if type(value.get(name)) is not list:
            wanted = " and ".join(repr(name) for name in names)
            raise record.error(field, f"{name!r} is not a list; allowed: an object with {wanted}")
        columns.append(value[name])
    return columns


def _tests(record: Record, field: str) -> list[Test]:
    inputs, outputs = _columns(record, field, "input", "output")
    return paired_tests(record, field, inputs, outputs)


def _programs(record: Record, field: str) -> tuple[str, ...]:
    """The Python 3 programs of a field."""
    languages, programs = _columns(record, field, "language", "solution")
    if len(languages) != len(programs):
        raise record.error(field, f"has {len(languages)} languages, {len(programs)} solutions")
    if not all(type(program) is str for program in programs):
        raise record.error(field, "a solution is not a string; allowed: strings")
    pairs = zip(languages, programs, strict=True)
    return tuple(program for language, program in pairs if language == _PYTHON3)


def _seconds(record: Record) -> float | None:
    """The time limit, which the schema keeps as ``{"seconds": 2, "nanos": 0}`` or null."""
    limit = record.get("time_limit", (dict,), {})
    seconds, nanos = limit.get("seconds") or 0, limit.get("nanos") or 0
    if type(seconds) is not int or type(nanos) is not int:
        raise record.error("time_limit", "allowed: an object with integer 'seconds' and 'nanos'")
    return seconds + nanos / 1e9 or None
