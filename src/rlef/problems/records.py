"""One row of a data set and its fields, with errors that name file, line and field."""

import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from rlef.problems.errors import ProblemError
from rlef.problems.odd import OddRows, RowError
from rlef.problems.types import Problem, Test

_log = logging.getLogger("rlef.problems")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Record:
    """One row, and where it stands, such as ``data.jsonl, line 3``."""

    place: str
    fields: dict[str, Any]
    file: str = ""
    """Name of the file it is from, without folders."""

    def error(self, field: str, what: str) -> RowError:
        """Makes the error for a field of this record."""
        return RowError(f"{self.place}, field {field!r}: {what}")

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
            raise self.error(field, f"is {kind_name(value)}; allowed: {names}")
        if type(value) is str:
            self.check_text(field, value)
        return value

    def check_text(self, field: str, text: str) -> None:
        """Raises ProblemError if a text has a lone surrogate, which no tokenizer takes."""
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
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


def kind_name(value: object) -> str:
    """What a value is, in words."""
    return _JSON_NAMES.get(type(value), type(value).__name__)


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


def unique_problems(
    problems: Iterator[tuple[Record, Problem]], where: object, odd: OddRows, *, rename: bool
) -> list[Problem]:
    """Collects the problems of a data set.

    Args:
        problems: Each with its row.
        where: What the set is called, for errors.
        odd: What becomes of rows that are wrong.
        rename: Whether the second problem of a name is called ``NAME#2``; else it is an odd row.

    Raises:
        ProblemError: Two have the same name, one has no test at all, or there are none.
    """
    places: dict[str, str] = {}
    counts: dict[str, Iterator[int]] = {}
    result: list[Problem] = []
    renamed: list[str] = []
    for record, problem in problems:
        with odd.row(record.place):
            first = places.get(problem.name)
            if first is not None and not rename:
                raise record.error("name", f"{problem.name!r} is already the name in {first}")
            if not problem.all_tests:
                what = "no public and no private test; give at least one"
                raise record.error("public_tests", what)
            if first is not None:
                numbers = counts.setdefault(problem.name, count(2))
                problem = replace(problem, name=_next_name(problem.name, numbers, places))
                renamed.append(f"{problem.name!r} ({record.place})")
            places[problem.name] = record.place
            result.append(problem)
    if not result:
        rest = f"; {odd.summary()}" if odd.errors else ""
        raise ProblemError(f"{where}: holds no problem{rest}")
    if renamed:
        more = f" and {len(renamed) - _SHOWN} more" if len(renamed) > _SHOWN else ""
        named = ", ".join(renamed[:_SHOWN]) + more
        _log.warning("%s: names that stand twice get a number: %s", where, named)
    return result


def _next_name(name: str, numbers: Iterator[int], taken: Container[str]) -> str:
    """The name with the first of the numbers that nobody has."""
    return next(new for i in numbers if (new := f"{name}#{i}") not in taken)
