"""Loader of our own format: one JSON object a line, with the fields of ``Problem``.

``{"name": "double", "statement": "Read n, print 2n.",
"public_tests": [{"input": "2", "output": "4"}], "private_tests": []}``

Optional: ``mode`` ("stdin" or "function"), ``entry_point``, ``cpu_s``, ``memory_mb``, ``checker``,
``solutions``, ``incorrect_solutions``, ``family``.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlef.problems.records import Record, paired_tests, read_records, unique_problems
from rlef.problems.types import Problem, Test

_FIELDS = (
    "name, statement, public_tests, private_tests, mode, entry_point, cpu_s, memory_mb, checker, "
    "solutions, incorrect_solutions, family"
)


def load_jsonl(path: Path) -> list[Problem]:
    """Reads problems in our own format.

    Raises:
        ProblemError: The file or a line in it is not as described; the message says where.
    """
    return unique_problems(_problems(path), path)


def _problems(path: Path) -> Iterator[tuple[Record, Problem]]:
    allowed = set(_FIELDS.split(", "))
    for record in read_records(path):
        for field in record.fields:
            if field not in allowed:
                raise record.error(field, f"unknown; allowed: {_FIELDS}")
        mode = record.get("mode", (str,), "stdin")
        if mode not in ("stdin", "function"):
            raise record.error("mode", f"is {mode!r}; allowed: stdin, function")
        entry_point = record.get("entry_point", (str,), None)
        if (mode == "function") != (entry_point is not None):
            raise record.error("entry_point", "needed with mode function, allowed only there")
        if entry_point is not None and not entry_point.isidentifier():
            raise record.error("entry_point", f"is {entry_point!r}; allowed: a function's name")
        yield (
            record,
            Problem(
                name=record.get("name", (str,)),
                statement=record.get("statement", (str,)),
                public_tests=_tests(record, "public_tests", mode),
                private_tests=_tests(record, "private_tests", mode),
                mode=mode,
                entry_point=entry_point,
                cpu_s=_positive(record, "cpu_s", (int, float)),
                memory_mb=_positive(record, "memory_mb", (int,)),
                checker=record.get("checker", (str,), "tokens"),
                solutions=record.strings("solutions"),
                incorrect_solutions=record.strings("incorrect_solutions"),
                family=record.get("family", (str,), None),
            ),
        )


def _tests(record: Record, field: str, mode: str) -> tuple[Test, ...]:
    tests = record.get(field, (list,))
    if not all(type(test) is dict and test.keys() == {"input", "output"} for test in tests):
        raise record.error(field, 'allowed: a list of objects {"input": …, "output": …}')
    inputs = [test["input"] for test in tests]
    found = tuple(paired_tests(record, field, inputs, [test["output"] for test in tests]))
    if mode == "function":
        for test in found:
            _check_json(record, field, test)
    return found


def _check_json(record: Record, field: str, test: Test) -> None:
    try:
        arguments, _ = json.loads(test.input), json.loads(test.output)
    except (ValueError, RecursionError):
        arguments = None
    if type(arguments) is not list:
        raise record.error(
            field, "allowed with mode function: inputs that are JSON lists, outputs that are JSON"
        )


def _positive(record: Record, field: str, kinds: tuple[type, ...]) -> Any:
    """An optional number above zero."""
    value = record.get(field, kinds, None)
    if value is not None and not 0 < value < math.inf:
        raise record.error(field, f"is {value}; allowed: a number above 0")
    return value
