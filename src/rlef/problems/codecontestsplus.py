"""CodeContests+ (Wang et al. 2025): CodeContests with more tests and a checker per problem."""

import re
from collections.abc import Iterator
from typing import Any

from rlef.problems.codecontests import in_language, solutions_limit
from rlef.problems.options import Options
from rlef.problems.records import Record, paired_tests
from rlef.problems.types import Problem, Test

SIZES = ("1x", "2x", "3x", "4x", "5x")
"""Sets of tests of different size, each in a folder of its own."""
_SAMPLE = re.compile(
    r"^Input:?\s*\n\s*\n(?P<given>.*?)\n\s*\nOutput:?\s*\n\s*\n(?P<wanted>.*?)(?=\n\s*\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_SAMPLES = re.compile(r"^(?:Sample|Example)s?\b.*$", re.MULTILINE)


def codecontestsplus_problems(
    records: Iterator[Record], options: Options
) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows in the schema of ByteDance-Seed/Code-Contests-Plus.

    The samples in the statement are the public tests, else the first test is.
    """
    most = solutions_limit(options)
    for record in records:
        with options.odd.row(record.place):
            statement = record.get("description", (str,))
            tests = _tests(record)
            public = _samples(statement) or tests[:1]
            right, wrong = _programs(record, "correct"), _programs(record, "incorrect")
            checker = record.get("checker", (str,), "")
            source, number = record.get("source", (str,), ""), record.get("id", (str,))
            yield (
                record,
                Problem(
                    name=f"{source}/{number}" if source else number,
                    statement=statement,
                    public_tests=tuple(public),
                    private_tests=tuple(test for test in tests if test not in public),
                    cpu_s=record.get("time_limit", (int, float), 0) / 1000 or None,
                    memory_mb=_megabytes(record.get("memory_limit", (int, float), 0)),
                    checker="testlib" if checker.strip() else "tokens",
                    checker_source=checker if checker.strip() else None,
                    solutions=in_language(right, "py3", most),
                    incorrect_solutions=in_language(wrong, "py3", most),
                    cpp_solutions=in_language(right, "cpp", most),
                    incorrect_cpp_solutions=in_language(wrong, "cpp", most),
                    source=source.lower() or None,
                ),
            )


def _megabytes(limit: float) -> int | None:
    """The memory limit, which stands in bytes or in megabytes."""
    return max(1, int(limit) >> 20 if limit >= 1 << 20 else int(limit)) if limit > 0 else None


def _tests(record: Record) -> list[Test]:
    cases = record.get("test_cases", (list,), [])
    if not all(type(case) is dict for case in cases):
        raise record.error("test_cases", "holds something else; allowed: objects")
    inputs = [case.get("input") for case in cases]
    return paired_tests(record, "test_cases", inputs, [case.get("output") for case in cases])


def _programs(record: Record, kind: str) -> list[tuple[Any, str]]:
    field = f"{kind}_submissions"
    programs = record.get(field, (list,), [])
    if not all(type(program) is dict for program in programs):
        raise record.error(field, "holds something else; allowed: objects")
    if not all(type(program.get("code")) is str for program in programs):
        raise record.error(field, "a 'code' is not a string; allowed: strings")
    return [(program.get("language"), program["code"]) for program in programs]


def _samples(statement: str) -> list[Test]:
    """The examples at the end of a statement, in the layout of CodeContests."""
    heading = _SAMPLES.search(statement)
    if heading is None:
        return []
    found = _SAMPLE.finditer(statement, heading.end())
    return [Test(match["given"].strip("\n"), match["wanted"].strip("\n")) for match in found]
