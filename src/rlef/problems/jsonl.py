"""Our own format: one JSON object a line, with the fields of ``Problem``.

``{"name": "double", "statement": "Read n, print 2n.",
"public_tests": [{"input": "2", "output": "4"}], "private_tests": []}``

All other fields may be left out. See ``docs/own-problems.md``.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlef.languages import LANGUAGES
from rlef.problems.checker_names import TESTLIB, wrong_checker
from rlef.problems.jsontext import strict_json
from rlef.problems.literals import literal_value, python_output
from rlef.problems.options import Options, is_date
from rlef.problems.records import Record, paired_tests
from rlef.problems.syntax import parse_code, parse_expression
from rlef.problems.types import Problem, Test

_FIELDS = tuple(field.name for field in fields(Problem))
_DEFAULTS = {field.name: field.default for field in fields(Problem)}
_TEXTS = ("family", "hidden_detail", "difficulty", "source", "date")
_LISTS = ("solutions", "incorrect_solutions", "cpp_solutions", "incorrect_cpp_solutions", "tags")
_MOST = {"cpu_s": 1e5, "memory_mb": 1 << 20}
"""The judge's own limits."""
_NOT_JSON = "allowed with mode function: inputs that are JSON lists, outputs that are JSON"
_NO_VALUE = "allowed as outputs: JSON without NaN, infinities and keys that stand twice"
_CALL = 'allowed: a list of arguments, or {"call": EXPRESSION, "setup": CODE}'
_CHECK = 'allowed: {"__check__": EXPRESSION, "setup": CODE}'


def jsonl_problems(records: Iterator[Record], options: Options) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows in our own format."""
    for record in records:
        with options.odd.row(record.place):
            yield record, _problem(record)


def _problem(record: Record) -> Problem:
    for field in record.fields:
        if field not in _FIELDS:
            raise record.error(field, f"unknown; allowed: {', '.join(_FIELDS)}")
    mode = _one_of(record, "mode", ("stdin", "function"))
    entry_point = record.get("entry_point", (str,), None)
    if (mode == "function") != (entry_point is not None):
        raise record.error("entry_point", "needed with mode function, allowed only there")
    if entry_point is not None and not entry_point.isidentifier():
        raise record.error("entry_point", f"is {entry_point!r}; allowed: a function's name")
    language = _one_of(record, "language", tuple(LANGUAGES))
    if mode == "function" and not LANGUAGES[language].function_mode:
        able = ", ".join(name for name, one in LANGUAGES.items() if one.function_mode)
        raise record.error("language", f"is {language!r}; allowed with mode function: {able}")
    checker = _checker(record, mode)
    checker_source = record.get("checker_source", (str,), None)
    if (checker == "testlib") != (checker_source is not None):
        raise record.error("checker_source", "needed with checker testlib, allowed only there")
    others: dict[str, Any] = {name: record.get(name, (str,), None) for name in _TEXTS}
    others["date"] = others["date"] or None
    if others["date"] is not None and not is_date(others["date"]):
        raise record.error("date", f"is {others['date']!r}; allowed: such as 2024-08-31")
    others |= {name: record.strings(name) for name in _LISTS}
    return Problem(
        name=record.get("name", (str,)),
        statement=record.get("statement", (str,)),
        public_tests=_tests(record, "public_tests", mode),
        private_tests=_tests(record, "private_tests", mode),
        mode=mode,
        entry_point=entry_point,
        language=language,
        starter_code=record.get("starter_code", (str,), ""),
        prelude=record.get("prelude", (str,), ""),
        cpu_s=_positive(record, "cpu_s", (int, float)),
        memory_mb=_positive(record, "memory_mb", (int,)),
        checker=checker,
        checker_source=checker_source,
        **others,
    )


def write_jsonl(problems: Iterable[Problem], path: Path, *, compressed: bool = False) -> None:
    """Writes problems so that ``jsonl:PATH`` loads equal ones. Defaults are left out.

    Args:
        problems: Some.
        path: The file; its name ends with ``.gz`` where it is compressed.
        compressed: Whether by gzip. Equal problems give equal bytes.
    """
    with path.open("wb") as plain:
        file: Any = gzip.GzipFile("", "wb", fileobj=plain, mtime=0) if compressed else plain
        for problem in problems:
            file.write(_json_line(as_record(problem)))
        if compressed:
            file.close()


def _json_line(record: dict[str, Any]) -> bytes:
    """A line of a file of JSON lines, readable text as it is."""
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # half a surrogate pair, in a program of a data set
        return (json.dumps(record) + "\n").encode()


def as_record(problem: Problem) -> dict[str, Any]:
    """A problem as a row of our own format, without what has its default."""
    record: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(problem, name)
        if name in ("public_tests", "private_tests"):
            value = [{"input": test.input, "output": test.output} for test in value]
        elif value == _DEFAULTS[name]:
            continue
        record[name] = value
    return record


def _one_of(record: Record, field: str, allowed: tuple[str, ...]) -> Any:
    value = record.get(field, (str,), allowed[0])
    if value not in allowed:
        raise record.error(field, f"is {value!r}; allowed: {', '.join(allowed)}")
    return value


def _tests(record: Record, field: str, mode: str) -> tuple[Test, ...]:
    tests = record.get(field, (list,))
    if not all(type(test) is dict and test.keys() == {"input", "output"} for test in tests):
        raise record.error(field, 'allowed: a list of objects {"input": …, "output": …}')
    inputs = [test["input"] for test in tests]
    found = paired_tests(record, field, inputs, [test["output"] for test in tests])
    if mode == "function":
        found = [_function_test(record, field, i, test) for i, test in enumerate(found, start=1)]
    return tuple(found)


def _function_test(record: Record, field: str, number: int, test: Test) -> Test:
    """A test of a function, checked; its literal as ``repr`` writes it."""
    try:
        given, wanted = json.loads(test.input), json.loads(test.output)
    except (ValueError, RecursionError) as error:
        reason = f" ({error})" if "digits" in str(error) else ""
        raise record.error(field, f"test {number}: {_NOT_JSON}{reason}") from None
    try:
        strict_json(test.output)  # nothing that is returned would be equal to the others
    except ValueError as error:
        raise record.error(field, f"test {number}: {error}; {_NO_VALUE}") from None
    if type(given) is dict:
        _check_code(record, field, number, given, "call", _CALL)
    elif type(given) is not list:
        raise record.error(field, f"test {number}: {_NOT_JSON}")
    if type(wanted) is not dict:
        return test
    if "__check__" in wanted:
        _check_code(record, field, number, wanted, "__check__", _CHECK)
    if wanted.keys() != {"__python__"}:
        return test
    try:
        value = literal_value(parse_expression(str(wanted["__python__"])))
    except ValueError as error:
        what = f"test {number}: __python__ is no literal of plain values: {error}"
        raise record.error(field, what) from None
    return Test(test.input, python_output(value))


def _check_code(
    record: Record, field: str, number: int, value: dict[str, Any], key: str, allowed: str
) -> None:
    """Raises ProblemError unless an object has an expression under a key, and perhaps setup."""
    texts = all(type(text) is str for text in value.values())
    if not texts or key not in value or not value.keys() <= {key, "setup"}:
        raise record.error(field, f"test {number}: {allowed}")
    for name, parse in ((key, parse_expression), ("setup", parse_code)):
        try:
            if name in value:
                parse(value[name])
        except ValueError as error:
            raise record.error(field, f"test {number}: {name} does not parse: {error}") from None


def _checker(record: Record, mode: str) -> str:
    """The checker's name; what the judge would refuse of the record is refused here."""
    checker: str = record.get("checker", (str,), "tokens")
    lacks_source = checker == TESTLIB and record.fields.get("checker_source") is None
    wrong = wrong_checker(checker, mode)
    if wrong is not None and not lacks_source:
        raise record.error("checker", wrong)
    if record.fields.get("language", "python") != "python" and record.fields.get("prelude"):
        raise record.error("prelude", "allowed with language python only")
    return checker


def _positive(record: Record, field: str, kinds: tuple[type, ...]) -> Any:
    """An optional number above zero."""
    value = record.get(field, kinds, None)
    most = _MOST[field]
    if value is not None and not 0 < value <= most:
        shown = f"a number of {len(str(value))} digits" if abs(value) > 1e300 else str(value)
        raise record.error(field, f"is {shown}; allowed: a number above 0, at most {most:.0f}")
    return value
