"""CodeContests (Li et al. 2022): competitive programming, stdin and stdout.

``private_tests`` of a problem are the data set's private and generated tests (RLEF section 2.1).
"""

import logging
from collections.abc import Iterator
from typing import Any

from rlef.problems.options import Options
from rlef.problems.records import Record, paired_tests
from rlef.problems.types import Problem, Test

_log = logging.getLogger("rlef.problems")
_CPP, _PYTHON3 = 2, 3
"""The schema's codes of a solution's language; 1 is Python 2, 4 is Java."""
_SOURCES = (None, "codechef", "codeforces", "hackerearth", "codejam", "atcoder", "aizu")


def codecontests_problems(
    records: Iterator[Record], options: Options
) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows in the schema of deepmind/code_contests.

    Problems whose programs read or write a file of some name are left out, with a warning.
    """
    most = solutions_limit(options)
    with_files = 0
    for record in records:
        with options.odd.row(record.place):
            if any(record.get(name, (str,), "") for name in ("input_file", "output_file")):
                with_files += 1
                continue
            memory_bytes = record.get("memory_limit_bytes", (int,), 0)
            public = _tests(record, "public_tests")
            private = _tests(record, "private_tests") + _tests(record, "generated_tests")
            right = _programs(record, "solutions")
            wrong = _programs(record, "incorrect_solutions")
            source, rating = record.get("source", (int,), 0), record.get("cf_rating", (int,), 0)
            yield (
                record,
                Problem(
                    name=record.get("name", (str,)),
                    statement=record.get("description", (str,)),
                    public_tests=tuple(public),
                    private_tests=tuple(private),
                    cpu_s=_seconds(record),
                    memory_mb=max(1, memory_bytes // (1 << 20)) if memory_bytes > 0 else None,
                    solutions=in_language(right, _PYTHON3, most),
                    incorrect_solutions=in_language(wrong, _PYTHON3, most),
                    cpp_solutions=in_language(right, _CPP, most),
                    incorrect_cpp_solutions=in_language(wrong, _CPP, most),
                    difficulty=str(rating) if rating > 0 else None,
                    source=_SOURCES[source] if 0 <= source < len(_SOURCES) else None,
                    tags=tuple(filter(None, record.strings("cf_tags"))),
                ),
            )
    if with_files:
        what = "problems whose programs read or write files"
        _log.warning("%s: left out %d %s", options.spec, with_files, what)


def solutions_limit(options: Options) -> int | None:
    """How many programs of each kind and language are kept; ``None``: all."""
    if options.values.get("solutions") == "all":
        return None
    return options.number("solutions", 20)


def in_language(
    programs: list[tuple[Any, str]], language: object, most: int | None
) -> tuple[str, ...]:
    """The first programs in a language."""
    return tuple(program for code, program in programs if code == language)[:most]


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


def _programs(record: Record, field: str) -> list[tuple[Any, str]]:
    """Language and text of the programs of a field."""
    languages, programs = _columns(record, field, "language", "solution")
    if len(languages) != len(programs):
        raise record.error(field, f"has {len(languages)} languages, {len(programs)} solutions")
    if not all(type(program) is str for program in programs):
        raise record.error(field, "a solution is not a string; allowed: strings")
    return list(zip(languages, programs, strict=True))


def _seconds(record: Record) -> float | None:
    """The time limit, which the schema keeps as ``{"seconds": 2, "nanos": 0}`` or null."""
    limit = record.get("time_limit", (dict,), {})
    seconds, nanos = limit.get("seconds") or 0, limit.get("nanos") or 0
    if type(seconds) is not int or type(nanos) is not int:
        raise record.error("time_limit", "allowed: an object with integer 'seconds' and 'nanos'")
    return seconds + nanos / 1e9 or None
