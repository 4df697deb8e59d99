"""APPS (Hendrycks et al. 2021) and TACO (Li et al. 2023), which share how they keep tests."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlef.problems.codecontests import solutions_limit
from rlef.problems.literals import arguments_input, is_json, literal_value, python_output
from rlef.problems.options import Options, is_date
from rlef.problems.records import Record, kind_name
from rlef.problems.syntax import parse_expression
from rlef.problems.types import Problem, Test

_UNITS_S = {"ms": 1e-3, "millisecond": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0}
_UNITS_MB = {"b": 2.0**-20, "byte": 2.0**-20, "kb": 2.0**-10, "kilobyte": 2.0**-10, "mb": 1.0}
_UNITS_MB |= {"megabyte": 1.0, "gb": 1024.0, "gigabyte": 1024.0}
PRELUDE = """\
import sys, time, itertools, collections, math, fractions, random, heapq
from itertools import accumulate, product, permutations, combinations
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
from typing import List, Tuple
from heapq import *
try:
    import numpy as np
except ImportError:
    pass
"""
"""The names that both sets' scripts give to every program."""
PRELUDE_STDIN = PRELUDE + "stdin, stdout = sys.stdin, sys.stdout\n"
"""The same for programs that print."""
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)


def apps_problems(records: Iterator[Record], options: Options) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows in the schema of codeparrot/apps."""
    sizes = _Sizes.read(options)
    for record in records:
        with options.odd.row(record.place):
            number = record.fields.get("problem_id", record.fields.get("id"))
            if type(number) not in (int, str):
                raise record.error("problem_id", "missing; needed: an integer")
            url = record.get("url", (str,), "")
            yield record, _problem(record, sizes, f"apps/{number}", source=_site(url))


def taco_problems(records: Iterator[Record], options: Options) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows in the schema of BAAI/TACO, which have numbers but no names."""
    sizes = _Sizes.read(options)
    for count, record in enumerate(records):
        with options.odd.row(record.place):
            number = count + options.odd.unread
            date = record.get("date", (str,), "")[:10]
            memory_mb = _amount(record.get("memory_limit", (str,), ""), _UNITS_MB)
            problem = _problem(
                record,
                sizes,
                f"taco/{options.split or 'row'}/{number}",
                source=record.get("source", (str,), "").lower() or None,
                date=date if is_date(date) else None,
                tags=_words(record.get("tags", (str,), "")),
                cpu_s=_amount(record.get("time_limit", (str,), ""), _UNITS_S),
                memory_mb=None if memory_mb is None else max(1, int(memory_mb)),
            )
            yield record, problem


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How much a specification asks for."""

    public: int
    """Tests that are public, from the first."""
    solutions: int | None

    @classmethod
    def read(cls, options: Options) -> "_Sizes":
        return cls(options.number("public", 1), solutions_limit(options))


def _problem(record: Record, sizes: _Sizes, name: str, **fields: Any) -> Problem:
    statement = record.get("question", (str,))
    starter = record.get("starter_code", (str,), "")
    entry_point, tests = _tests(record)
    if starter.strip():
        statement += f"\n\nStarter code:\n\n```python\n{starter.rstrip()}\n```"
    return Problem(
        name=name,
        statement=statement,
        public_tests=tuple(tests[: sizes.public]),
        private_tests=tuple(tests[sizes.public :]),
        mode="stdin" if entry_point is None else "function",
        entry_point=entry_point,
        starter_code=starter,
        prelude=PRELUDE_STDIN if entry_point is None else PRELUDE,
        checker="compat:apps" if entry_point is None else "compat:apps-call",
        solutions=_solutions(record)[: sizes.solutions],
        difficulty=record.get("difficulty", (str,), "").lower() or None,
        **fields,
    )


def _tests(record: Record) -> tuple[str | None, list[Test]]:
    """Name of the function, if there is one, and the tests."""
    table = _json(record, "input_output")
    if table is None:
        return None, []
    if type(table) is not dict:
        raise record.error("input_output", f"is {kind_name(table)}; allowed: an object")
    inputs, outputs = table.get("inputs"), table.get("outputs")
    if type(inputs) is not list or type(outputs) is not list or len(inputs) != len(outputs):
        raise record.error("input_output", "allowed: 'inputs' and 'outputs', lists of equal length")
    entry_point = table.get("fn_name")
    pairs = zip(inputs, outputs, strict=True)
    if entry_point is None:
        return None, [Test(_text(record, a), _text(record, b)) for a, b in pairs]
    if type(entry_point) is not str or not entry_point.isidentifier():
        raise record.error("input_output", f"fn_name is {entry_point!r}; allowed: a name")
    if not all(type(given) is list for given in inputs):
        raise record.error("input_output", "with fn_name each input must be a list of arguments")
    return entry_point, [_call(entry_point, given, wanted) for given, wanted in pairs]


def _call(entry_point: str, given: list[Any], wanted: Any) -> Test:
    """A call of a function, as the sets' scripts read it.

    Where the first argument, the expected value, or the first item of that is an object of integer
    keys, they are integers again.
    """
    arguments = [*map(_with_integers, given[:1]), *given[1:]]
    expected = _with_integers(wanted)
    if type(wanted) is list:
        expected = [*map(_with_integers, wanted[:1]), *wanted[1:]]
    return Test(
        arguments_input(entry_point, arguments),
        json.dumps(wanted) if is_json(expected) else python_output(expected),
    )


def _with_integers(value: Any) -> Any:
    """An object whose keys are integers again, if all of them can be."""
    if type(value) is not dict:
        return value
    try:
        return {int(key): item for key, item in value.items()}
    except ValueError:
        return value


def _text(record: Record, value: Any) -> str:
    """An input or output as text; a list holds its lines."""
    if type(value) is list and all(type(line) is str for line in value):
        value = "\n".join(value)
    if type(value) is not str:
        raise record.error("input_output", f"an entry is {kind_name(value)}; allowed: strings")
    record.check_text("input_output", value)
    return str(value)


def _solutions(record: Record) -> tuple[str, ...]:
    if type(record.fields.get("solutions")) is list:
        return record.strings("solutions")
    programs = _json(record, "solutions") or []
    if type(programs) is not list or not all(type(program) is str for program in programs):
        raise record.error("solutions", "allowed: a list of strings")
    return tuple(programs)


def _json(record: Record, field: str) -> Any:
    """The value of a field that holds JSON text; ``None`` if it is empty."""
    text = record.get(field, (str,), "")
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise record.error(field, f"broken JSON ({error})") from None


def _amount(text: str, units: dict[str, float]) -> float | None:
    """An amount such as "2.0 seconds"; ``None`` if there is none."""
    match = _AMOUNT.fullmatch(text)
    word = match[2].lower() if match else ""
    unit = units.get(word) or units.get(word.removesuffix("s"))
    return float(match[1]) * unit or None if match and unit else None


def _words(text: str) -> tuple[str, ...]:
    """A list that is kept as the text of a Python list."""
    try:
        words = literal_value(parse_expression(text))
    except ValueError:
        return ()
    return tuple(map(str, words)) if type(words) is list else ()


def _site(url: str) -> str | None:
    """The name before the top-level domain: kattis of open.kattis.com."""
    match = re.match(r"https?://(?:[a-z0-9-]+\.)*([a-z0-9-]+)\.[a-z]+(?:[:/?#]|$)", url)
    return match[1] if match else None
