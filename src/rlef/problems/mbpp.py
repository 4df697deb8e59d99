"""MBPP (Austin et al. 2021): small functions, each with three asserts."""

import ast
import re
from collections.abc import Iterator

from rlef.problems.asserts import Assertion, called_name
from rlef.problems.files import canonical_split
from rlef.problems.options import Options
from rlef.problems.records import Record
from rlef.problems.syntax import parse_code
from rlef.problems.types import Problem, Test

SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "valid": range(511, 601),
    "train": range(601, 975),
}
"""Task ids of each split; the ten of ``prompt`` are for few-shot examples."""
_IDS = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_LAST = 974


def mbpp_problems(records: Iterator[Record], options: Options) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows of ``mbpp.jsonl``, or of the sanitized form.

    The first assert is public and stands in the statement, as in RLEF (section C.5); the others
    and the challenge asserts are private.
    """
    wanted = _task_ids(options)
    for record in records:
        with options.odd.row(record.place):
            number = record.get("task_id", (int,))
            if wanted is not None and number not in wanted:
                continue
            code = record.get("code", (str,))
            text = record.get("text" if "text" in record.fields else "prompt", (str,))
            asserts = record.strings("test_list")
            tests = assert_tests(record, "test_list", asserts, code)
            tests += assert_tests(
                record, "challenge_test_list", record.strings("challenge_test_list"), code
            )
            name = entry_point(record, "test_list", asserts, code)
            yield (
                record,
                Problem(
                    name=f"mbpp/{number}",
                    statement=mbpp_statement(text, asserts),
                    public_tests=tuple(tests[:1]),
                    private_tests=tuple(tests[1:]),
                    mode="function",
                    entry_point=name,
                    solutions=(code,),
                ),
            )


def mbpp_splits(options: Options) -> tuple[str | None, ...]:
    """Returns the splits that hold what is asked for: the one that is named, or those with its ids.

    Raises:
        ProblemError: There is no such split.
    """
    if options.split is None or not options.split[:1].isdigit():
        return (options.split,)
    wanted = _task_ids(options)
    assert wanted is not None  # a split is given
    return tuple(name for name, ids in SPLITS.items() if ids[0] in wanted or wanted[0] in ids)


def _task_ids(options: Options) -> range | None:
    """Task ids of a split: its own, or those it names, first and last, such as ``601-974``."""
    if options.split is None:
        return None
    if (named := SPLITS.get(canonical_split(options.split))) is not None:
        return named
    ends = _IDS.fullmatch(options.split)
    if ends is None or not 1 <= int(ends[1]) <= int(ends[2]) <= _LAST:
        raise options.error(
            f"no split {options.split!r}; allowed: {', '.join(SPLITS)}, or the first and the last "
            f"task id, 1-{_LAST} at most, such as 601-974"
        )
    return range(int(ends[1]), int(ends[2]) + 1)


def mbpp_statement(text: str, asserts: tuple[str, ...]) -> str:
    """The description and one example test."""
    example = f"\n\nYour code should pass this test:\n\n{asserts[0]}" if asserts else ""
    return text.strip() + example


def assert_tests(record: Record, field: str, asserts: tuple[str, ...], code: str) -> list[Test]:
    """Makes the tests of a list of asserts.

    Raises:
        ProblemError: One is not an assert that can be judged.
    """
    if not asserts:
        return []
    name = entry_point(record, field, asserts, code)
    imports = "\n".join(record.strings("test_imports"))
    setup = record.get("test_setup_code", (str,), "") or imports
    assertion = Assertion(name, frozenset({name}), setup.replace("\r\n", "\n"))
    tests = []
    for text in asserts:
        (node,) = _parsed(record, field, text)
        try:
            tests.append(assertion.test(node))
        except ValueError as error:
            raise record.error(field, f"cannot be judged: {error}") from None
    return tests


def entry_point(record: Record, field: str, asserts: tuple[str, ...], code: str) -> str:
    """Name of the function that the first assert calls and the solution defines.

    Raises:
        ProblemError: There is none.
    """
    if not asserts:
        raise record.error(field, "holds no assert; give at least one")
    try:
        body = parse_code(code).body
    except ValueError as error:
        raise record.error("code", f"does not parse ({error})") from None
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(_parsed(record, field, asserts[0])[0]):
        name = called_name(node) if isinstance(node, ast.Call) else None
        if name in defined:
            return str(name)
    raise record.error(field, f"calls no function of the solution: {asserts[0][:80]}")


def _parsed(record: Record, field: str, text: str) -> list[ast.Assert]:
    try:
        body = parse_code(text.strip()).body
    except ValueError as error:
        raise record.error(field, f"does not parse ({error}): {text[:80]}") from None
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise record.error(field, f"is no single assert: {text[:80]}")
    return [body[0]]
