"""Reading of jsonl files and of their fields, with errors that name file, line and field."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlef.problems.errors import ProblemError
from rlef.problems.types import Problem, Test


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object of a file, and where it stands."""

    path: Path
    line: int
    fields: dict[str, Any]

    def error(self, field: str, what: str) -> ProblemError:
        """Makes the error for a field of this record."""
        return ProblemError(f"{self.path}, line {self.line}, field {field!r}: {what}")

    def get(self, field: str, kinds: tuple[type, ...], default: Any = ...) -> Any:
        """Returns a field.

        Args:
            field: Its name.
            kinds: The types it may have; ``bool`` does not pass as ``int``.
            default: What stands for a missing or null field; ``...``: it must be there.

        Raises:
            ProblemError: The field is missing or has another type.
        """
        value = self.fields.get(field)
        if value is None and default is not ...:
            return default
        names = " or ".join(_JSON_NAMES[kind] for kind in kinds)
        if field not in self.fields:
            raise self.error(field, f"missing; needed: {names}")
        if type(value) not in kinds:
            raise self.error(field, f"is {_JSON_NAMES[type(value)]}; allowed: {names}")
        if type(value) is str:
            self.check_text(field, value)
        return value

    def check_text(self, field: str, text: str) -> None:
        """Raises ProblemError if a text has a lone surrogate, which no tokenizer takes."""
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise self.error(field, "holds half of a surrogate pair; allowed: Unicode text")

    def strings(self, field: str) -> tuple[str, ...]:
        """Returns an optional list of strings.

        Raises:
            ProblemError: It is something else.
        """
        values = self.get(field, (list,), [])
        if not all(type(value) is str for value in values):
            raise self.error(field, "holds something else than strings; allowed: a list of strings")
        return tuple(values)


_JSON_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read_records(path: Path) -> Iterator[Record]:
    """Yields the JSON objects of a file, one a line; empty lines are skipped.

    Raises:
        ProblemError: The file cannot be read, or a line is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ProblemError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{path}, line {number}: broken JSON ({error})") from None
        if type(fields) is not dict:
            kind = _JSON_NAMES[type(fields)]
            raise ProblemError(f"{path}, line {number}: is {kind}; allowed: a JSON object")
        yield Record(path, number, fields)


def paired_tests(record: Record, field: str, inputs: list[Any], outputs: list[Any]) -> list[Test]:
    """Makes tests of two lists of equal length.

    Raises:
        ProblemError: The lengths differ or an entry is not a string.
    """
    if len(inputs) != len(outputs):
        raise record.error(field, f"has {len(inputs)} inputs but {len(outputs)} outputs")
    if not all(type(value) is str for value in (*inputs, *outputs)):
        raise record.error(field, "holds something else than strings; allowed: strings")
    for text in (*inputs, *outputs):
        record.check_text(field, text)
    return [Test(given, wanted) for given, wanted in zip(inputs, outputs, strict=True)]


def unique_problems(problems: Iterator[tuple[Record, Problem]], path: Path) -> list[Problem]:
    """Collects the problems of a file.

    Raises:
        ProblemError: Two have the same name, one has no test at all, or there are none.
    """
    lines: dict[str, int] = {}
    result: list[Problem] = []
    for record, problem in problems:
        first = lines.setdefault(problem.name, record.line)
        if first != record.line:
            raise record.error("name", f"{problem.name!r} is already the name in line {first}")
        if not problem.all_tests:
            raise record.error("public_tests", "no public and no private test; give at least one")
        result.append(problem)
    if not result:
        raise ProblemError(f"{path}: holds no problem")
    return result
