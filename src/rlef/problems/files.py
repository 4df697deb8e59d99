"""Rows of local data: jsonl, gzipped jsonl, json and parquet files, and folders of them."""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rlef.problems.errors import ProblemError
from rlef.problems.jsontext import unique_fields
from rlef.problems.odd import OddRows, RowError
from rlef.problems.records import Record, kind_name

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
_SPLIT_NAME = re.compile(r"(train|validation|valid|test|prompt)(?![a-z])")
_ROWS_AT_ONCE = 16
_DEPTH = 3


def canonical_split(split: str) -> str:
    """One name for each split: ``validation`` is ``valid``."""
    return "valid" if split == "validation" else split


def read_file(path: Path, odd: OddRows) -> Iterator[Record]:
    """Yields the rows of a file; empty lines of jsonl are skipped.

    Args:
        path: The file.
        odd: What becomes of rows that are no objects.

    Raises:
        ProblemError: The file cannot be read, or a row is not an object; the message says where.
    """
    if not path.exists():
        raise ProblemError(f"{path}: no such file")
    try:
        if path.name.endswith(".parquet"):
            yield from _parquet_rows(path)
        elif path.name.endswith(".json"):
            yield from _json_rows(path, odd)
        else:
            yield from _jsonl_rows(path, odd)
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{path}: cannot be read ({_one_line(error)})") from None


def read_folder(path: Path, split: str | None, odd: OddRows) -> Iterator[Record]:
    """Yields the rows of all files of one split in a folder, in the order of their names.

    A file belongs to the split that its name begins with (``test.jsonl``,
    ``test-00000-of-00001.parquet``), else to the one that its folder is called like, else to
    ``train``.

    Args:
        path: The folder.
        split: Which one; ``None`` if there is only one.
        odd: What becomes of rows that are no objects.

    Raises:
        ProblemError: There is no such split, or a file cannot be read.
    """
    found = splits_of(path)
    if not found:
        raise ProblemError(f"{path}: holds no data; allowed: {', '.join(SUFFIXES)}")
    there = ", ".join(f":{name}" for name in sorted(found))
    if split is None and len(found) > 1:
        raise ProblemError(f"{path}: is a folder with several splits; add one of {there}")
    if split is not None and canonical_split(split) not in found:
        raise ProblemError(f"{path}: has no split {split!r}; there is {there}")
    name = next(iter(found)) if split is None else canonical_split(split)
    yield from read_files(found[name], odd)


def read_files(paths: Iterable[Path], odd: OddRows) -> Iterator[Record]:
    """Yields the rows of files one after another; see ``read_file``."""
    for path in paths:
        yield from read_file(path, odd)


def splits_of(folder: Path) -> dict[str, list[Path]]:
    """The data files below a folder by split, in the order of their names, numbers by size."""
    found: dict[str, list[Path]] = {}
    for path in in_order(_data_files(folder, _DEPTH)):
        inside = path.relative_to(folder).parts
        names = (_SPLIT_NAME.match(part) for part in reversed(inside))
        split = next((match[1] for match in names if match), "train")
        found.setdefault(canonical_split(split), []).append(path)
    return found


def _data_files(folder: Path, depth: int) -> Iterator[Path]:
    """The data files below a folder, not too deep, without hidden ones."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise ProblemError(f"{folder}: cannot be read ({_one_line(error)})") from None
    for entry in entries:
        if entry.is_dir() and depth > 1:
            yield from _data_files(entry, depth - 1)
        elif entry.name.endswith(SUFFIXES) and not entry.is_dir():
            yield entry


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The paths by their names, numbers by size."""
    return sorted(paths, key=_by_number)


def _by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
    name = str(path)
    stem = next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
    return numbers_by_size(stem), name


def numbers_by_size(text: str) -> list[tuple[int, str]]:
    """A key that orders names as people do: ``part-2`` before ``part-10``."""
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _jsonl_rows(path: Path, odd: OddRows) -> Iterator[Record]:
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            with odd.row(reading=True):
                record = _row(line, number, path)
                if record is not None:
                    yield record


def _row(line: bytes, number: int, path: Path) -> Record | None:
    """The row that a line holds; ``None`` if it is empty."""
    place = f"{path}, line {number}"
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        if not text.strip():
            return None
        fields = json.loads(text, object_pairs_hook=unique_fields)
    except UnicodeDecodeError as error:
        raise RowError(f"{place}: cannot be read ({error})") from None
    except (ValueError, RecursionError) as error:
        raise RowError(f"{place}: broken JSON ({_json_words(error)})") from None
    return _record(place, fields, path)


def _json_rows(path: Path, odd: OddRows) -> Iterator[Record]:
    """Rows of a file that is one list, or after all one object a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError) as error:
        if not (isinstance(error, UnicodeDecodeError) or text.lstrip()[:1] != "["):
            raise ProblemError(f"{path}: broken JSON ({error})") from None
        yield from _jsonl_rows(path, odd)
        return
    if type(rows) is not list:
        rows = [rows]
    for number, fields in enumerate(rows, start=1):
        with odd.row(reading=True):
            yield _record(f"{path}, row {number}", fields, path)


def _record(place: str, fields: object, path: Path) -> Record:
    if type(fields) is not dict:
        raise RowError(f"{place}: is {kind_name(fields)}; allowed: a JSON object")
    return Record(place, fields, path.name)


def _parquet_rows(path: Path) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for fields in _rows_of(batch, f"{path}, row {number + 1} or later"):
                    number += 1
                    yield Record(f"{path}, row {number}", fields, path.name)
    except pyarrow.ArrowException as error:
        raise ProblemError(f"{path}: cannot be read ({_one_line(error)})") from None


def _rows_of(batch: Any, place: str) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except ValueError as error:  # texts that are not UTF-8, times that Python has not
        raise ProblemError(f"{place}: cannot be read ({_one_line(error)})") from None


def _json_words(error: Exception) -> str:
    """What is wrong in a line, without a line number of its own."""
    if not isinstance(error, json.JSONDecodeError):
        return _one_line(error)
    if error.pos >= len(error.doc.rstrip()):
        return f"{error.msg}, where the line ends"
    return f"{error.msg}, column {error.pos + 1}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
