"""Problems of any data set as a file of our own format: JSON lines, or a table for ``datasets``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlef.problems.errors import ProblemError
from rlef.problems.jsonl import as_record, write_jsonl
from rlef.problems.types import Problem

FORMS = ("jsonl", "jsonl.gz", "parquet")
"""What a file's name ends with."""
_ROWS = 64
"""Of a row group: tests may be megabytes."""


def write_problems(problems: Sequence[Problem], path: Path, form: str) -> None:
    """Writes problems with all they have, private tests and reference programs too.

    ``jsonl:PATH`` loads equal problems. A table has the same columns whatever the problems have, so
    that ``datasets.load_dataset("parquet", data_files=PATH)`` gives one type for each.

    Args:
        problems: At least one.
        path: The file.
        form: One of ``FORMS``.

    Raises:
        ProblemError: A text is none that UTF-8 can hold, which a table needs.
        OSError: The file cannot be written.
    """
    if form == "parquet":
        _write_table(problems, path)
    else:
        write_jsonl(problems, path, compressed=form == "jsonl.gz")


def _write_table(problems: Sequence[Problem], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(problems), _ROWS):
            rows = list(_rows(problems[start : start + _ROWS]))
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _rows(problems: Sequence[Problem]) -> Iterator[dict[str, Any]]:
    """Rows with a value in every column."""
    for problem in problems:
        rest = {
            name: getattr(problem, name)
            for name in ("mode", "language", "starter_code", "prelude", "checker", "tags")
        }
        row = {**rest, **as_record(problem)}
        for field, value in row.items():
            _check_text(problem, field, value)
        yield row


def _check_text(problem: Problem, field: str, value: object) -> None:
    for text in value if isinstance(value, tuple) else (value,):
        try:
            if isinstance(text, str):
                text.encode()
        except UnicodeEncodeError:
            raise ProblemError(
                f"problem {problem.name!r}, field {field!r}: holds half of a surrogate pair, which "
                "no table can; allowed: a file that ends with .jsonl"
            ) from None


def _schema() -> Any:
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    tests = pa.list_(pa.struct({"input": text, "output": text}))
    lists = ("solutions", "incorrect_solutions", "cpp_solutions", "incorrect_cpp_solutions")
    return pa.schema(
        {
            "name": text,
            "statement": text,
            "public_tests": tests,
            "private_tests": tests,
            **dict.fromkeys(("mode", "entry_point", "language", "starter_code", "prelude"), text),
            "cpu_s": pa.float64(),
            "memory_mb": pa.int64(),
            **dict.fromkeys(("checker", "checker_source"), text),
            **dict.fromkeys(lists, texts),
            **dict.fromkeys(("family", "hidden_detail", "difficulty", "source", "date"), text),
            "tags": texts,
        }
    )
