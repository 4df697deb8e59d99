"""LiveCodeBench (Jain et al. 2024), code generation: contest problems with dates."""

import base64
import io
import json
import pickle
import re
import zlib
from collections.abc import Iterator
from typing import Any

from rlef.problems.options import Options, is_date
from rlef.problems.records import Record, kind_name
from rlef.problems.types import Problem, Test

RELEASES = ("v1", "v2", "v3", "v4", "v5", "v6")
"""Each release is all files up to its own: ``test.jsonl``, ``test2.jsonl``, …"""
_MODULES = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random",
    "statistics", "itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
PRELUDE = (
    "; ".join(f"from {name} import *" for name in _MODULES)
    + f"; import {', '.join(name for name in _MODULES if name not in ('builtins', 'typing'))}"
    + "; sys.setrecursionlimit(50000); sys.set_int_max_str_digits(50000)\n"
)
"""What LiveCodeBench puts before every program, on one line, and its limit of digits."""
_MOST_BYTES = 1 << 30


def livecodebench_problems(
    records: Iterator[Record], options: Options
) -> Iterator[tuple[Record, Problem]]:
    """Makes problems of rows in the schema of livecodebench/code_generation_lite."""
    last = options.one_of("release", RELEASES, RELEASES[-1])
    for record in records:
        with options.odd.row(record.place):
            if _release(record.file) > RELEASES.index(last) + 1:
                continue
            public = _tests(record, "public_test_cases")
            private = _tests(record, "private_test_cases")
            kinds = {kind for kind, _ in (*public, *private)}
            if len(kinds) > 1:
                raise record.error(
                    "private_test_cases", "stdin and functional tests in one problem"
                )
            function = kinds == {"functional"}
            starter = record.get("starter_code", (str,), "")
            statement = record.get("question_content", (str,))
            if starter.strip():
                statement += f"\n\nStarter code:\n\n```python\n{starter.rstrip()}\n```"
            date = str(record.fields.get("contest_date") or "")[:10]
            yield (
                record,
                Problem(
                    name=record.get("question_id", (str,)),
                    statement=statement,
                    public_tests=tuple(test for _, test in public),
                    private_tests=tuple(test for _, test in private),
                    mode="function" if function else "stdin",
                    entry_point=_function_name(record) if function else None,
                    starter_code=starter,
                    prelude=PRELUDE,
                    cpu_s=6.0,
                    memory_mb=4096,
                    checker="compat:lcb-call" if function else "compat:lcb",
                    difficulty=record.get("difficulty", (str,), None),
                    source=record.get("platform", (str,), None),
                    date=date if is_date(date) else None,
                ),
            )


def _release(file: str) -> int:
    """The number of the release that a file came with."""
    match = re.match(r"test(\d*)\.", file)
    return int(match[1] or 1) if match else 1


def _function_name(record: Record) -> str:
    metadata = _loads(record, "metadata", record.get("metadata", (str,)))
    name = metadata.get("func_name") if type(metadata) is dict else None
    if type(name) is not str or not name.isidentifier():
        raise record.error("metadata", f"func_name is {name!r}; allowed: a function's name")
    return name


def _tests(record: Record, field: str) -> list[tuple[str, Test]]:
    """The tests of a field with their kinds, ``stdin`` or ``functional``."""
    text = record.get(field, (str,), "[]")
    if not text.lstrip().startswith("["):
        text = _unpacked(record, field, text)
    cases = _loads(record, field, text)
    if type(cases) is not list:
        raise record.error(field, f"is {kind_name(cases)}; allowed: a list")
    return [_test(record, field, case) for case in cases]


def _test(record: Record, field: str, case: Any) -> tuple[str, Test]:
    names = ("input", "output", "testtype")
    if type(case) is not dict or not all(type(case.get(name)) is str for name in names):
        raise record.error(field, "allowed: objects with texts 'input', 'output', 'testtype'")
    given, wanted, kind = (str(case[name]) for name in names)
    record.check_text(field, given + wanted)
    if kind == "stdin":
        return kind, Test(given, wanted)
    if kind != "functional":
        raise record.error(field, f"testtype is {kind!r}; allowed: stdin, functional")
    arguments = [_loads(record, field, line) for line in given.split("\n")]
    return kind, Test(json.dumps(arguments), json.dumps(_loads(record, field, wanted)))


def _loads(record: Record, field: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise record.error(field, f"broken JSON ({error})") from None


def _unpacked(record: Record, field: str, text: str) -> str:
    """Private tests are a pickled text, compressed, in base 64: only a text is unpickled."""
    try:
        expander = zlib.decompressobj()
        packed = expander.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        if not expander.eof:
            raise ValueError("too large, or cut off")
        value = _TextOnly(io.BytesIO(packed)).load()
    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError, IndexError) as error:
        raise record.error(field, f"cannot be unpacked ({error})") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise record.error(field, f"cannot be unpacked ({type(error).__name__})") from None
    if type(value) is not str:
        raise record.error(field, f"holds a pickled {kind_name(value)}; allowed: a text")
    return value


class _TextOnly(pickle.Unpickler):
    """Refuses every class and function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed, only a text")

    def persistent_load(self, name: Any) -> Any:
        raise pickle.UnpicklingError("references are not allowed, only a text")
