"""The training rollouts of a run as tables that grow with it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlef.run import RunDamagedError
from rlef.run.files import Record
from rlef.run.training import (
    SCHEMA,
    batch_path,
    parquet_source,
    pending_path,
    read_pending,
    unescaped,
)
from rlef.view.batch_files import BatchFile, batch_files, first_gap
from rlef.view.cache import Cache
from rlef.view.database import Database
from rlef.view.errors import ViewError, missing
from rlef.view.tables import (
    BATCH_BITS,
    OUTCOME_COLUMNS,
    OUTCOMES,
    PENDING,
    TEXT_COLUMNS,
    TEXTS,
    outcomes_of_batches,
    texts_of_batches,
)

_ROWS = 8192
"""About so many episodes stand in one file of the cache."""
_AT_ONCE = 4


_Convert = Callable[[pa.Table], pa.Table]


class TrainingStage:
    """The training rollouts of a run.

    Args:
        folder: ``RunFolder.training_path``.
        cache: Keeps what was worked out of its files.
        database: Works it out.
        allowed: Whether a file may be read, for one that is a link.

    Attributes:
        damage: one line on what cannot be read, if anything.
    """

    name = "train"

    def __init__(
        self, folder: Path, cache: Cache, database: Database, allowed: Callable[[Path], bool]
    ) -> None:
        self._folder, self._cache, self._database = folder, cache, database
        self._allowed = allowed
        self.damage: str | None = None
        self._lock, self._text_lock = threading.Lock(), threading.Lock()
        self._files: tuple[BatchFile, ...] = ()
        self._pending_seen: tuple[int, int] | None = None
        self._pending: list[pa.RecordBatch] = []
        self._per_group = 0
        self._outcomes: dict[tuple[BatchFile, ...], pa.Table] = {}
        self._texts: dict[tuple[BatchFile, ...], pa.Table] = {}
        self._table = OUTCOMES.empty_table()

    def outcomes(self) -> pa.Table:
        """All episodes, as ``OUTCOMES``: batch by batch, then those in none. Reads what is new.

        The table of an earlier call is returned again, the same object, where nothing is.
        """
        with self._lock:
            seen = _signature(pending_path(self._folder))
            if seen != self._pending_seen:  # before the batches: rows move from there to these
                self._pending_seen, self._pending = seen, self._read_pending()
                self._table = None
            files = batch_files(self._folder, self._allowed)
            if files != self._files or self._table is None:
                self._files = files
                self.damage = first_gap(self._folder, files)
                groups = self._groups()
                self._outcomes = {
                    group: self._outcomes.get(group)
                    or self._made("outcomes", group, OUTCOME_COLUMNS, outcomes_of_batches)
                    for group in groups
                }
                self._table = self._joined()
            return self._table

    def texts(self) -> pa.Table:
        """All episodes' ``TEXTS``, in any order, those of ``outcomes`` and perhaps more."""
        with self._text_lock:
            with self._lock:
                groups, pending = list(self._outcomes), self._pending
            self._texts = {
                group: self._texts.get(group)
                or self._made("texts", group, TEXT_COLUMNS, self._texts_of)
                for group in groups
            }
            tables = list(self._texts.values())
            if pending:
                rows = pa.Table.from_batches(pending, SCHEMA).select(["index", "turns"])
                tables.append(self._texts_of(rows))
            return pa.concat_tables(tables) if tables else TEXTS.empty_table()

    def _texts_of(self, rows: pa.Table) -> pa.Table:
        return texts_of_batches(self._database, rows)

    def read(self, row: int, place: int, _size: int) -> Record:
        """An episode with all its columns.

        Raises:
            ViewError: It is not there any more, or cannot be read.
        """
        batch, number = place >> BATCH_BITS, place & (2**BATCH_BITS - 1)
        if batch == PENDING:
            for part in self._pending:
                found = [i for i, index in enumerate(part["index"].to_pylist()) if index == row]
                if found:
                    return _record(part.slice(found[0], 1))
            raise missing("such episode any more: it has been taken into a batch; ask again")
        path = batch_path(self._folder, batch)
        try:
            with pq.ParquetFile(parquet_source(path)) as file:
                table = file.read()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ViewError(409, _damaged(path, error)) from None
        record = _record(table.slice(number, 1))
        if record.get("index") != row:
            raise missing("such episode any more: its batch was written anew; ask again")
        return record

    def _groups(self) -> list[tuple[BatchFile, ...]]:
        """Files by the tables that they are in: whole groups, then the last ones each alone."""
        if not self._files:
            return []
        if not self._per_group:
            rows = 0
            try:
                path = batch_path(self._folder, self._files[0].number)
                with pq.ParquetFile(parquet_source(path)) as file:
                    rows = file.metadata.num_rows
            except (pa.ArrowException, OSError):
                pass
            self._per_group = max(1, _ROWS // max(1, rows))
        by_group: dict[int, list[BatchFile]] = {}
        for file in self._files:
            by_group.setdefault(file.number // self._per_group, []).append(file)
        *whole, last = by_group.values()
        groups = [tuple(group) for group in whole]
        if len(last) == self._per_group:
            return [*groups, tuple(last)]
        return [*groups, *((file,) for file in last)]

    def _made(
        self, what: str, group: tuple[BatchFile, ...], columns: Sequence[str], convert: _Convert
    ) -> pa.Table:
        """A table of some batches: as the cache has it, or made of their files."""
        is_whole = len(group) == self._per_group
        name = f"{what}-{group[0].number:09d}"
        made_of = [list(file) for file in group]
        cached = self._cache.load(name, made_of) if is_whole else None
        if cached is not None:
            return cached
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            found = list(threads.map(lambda file: self._read(file, columns), group))
        read = [table for table in found if table is not None]
        if not read:
            return (OUTCOMES if what == "outcomes" else TEXTS).empty_table()
        table = convert(pa.concat_tables(read))
        if is_whole and len(read) == len(group):
            return self._cache.save(name, made_of, table)
        return table

    def _read(self, file: BatchFile, columns: Sequence[str]) -> pa.Table | None:
        path = batch_path(self._folder, file.number)
        try:
            with pq.ParquetFile(parquet_source(path)) as parquet:
                table = parquet.read(list(columns), use_threads=False)
            if "turns" not in table.column_names or "index" not in table.column_names:
                raise ValueError("columns are missing")
        except (pa.ArrowException, OSError, ValueError) as error:
            self.damage = self.damage or _damaged(path, error)
            return None
        return _numbered(table, file.number)

    def _read_pending(self) -> list[pa.RecordBatch]:
        path = pending_path(self._folder)
        if path.is_symlink() and not self._allowed(path):
            return []
        try:
            return read_pending(path)[0]
        except (RunDamagedError, OSError, pa.ArrowException):
            return []  # its writer says what is wrong; batches can be read all the same

    def _joined(self) -> pa.Table:
        tables = list(self._outcomes.values())
        if self._pending:
            rows = pa.Table.from_batches(self._pending, SCHEMA)
            known = pa.concat_tables([OUTCOMES.empty_table(), *tables])
            fresh = self._database.table(
                "SELECT * FROM rest WHERE index NOT IN (SELECT row FROM known) "
                "QUALIFY row_number() OVER (PARTITION BY index ORDER BY number) = 1",
                rest=_numbered(rows.select(_WHOLE), PENDING),
                known=known,
            )
            tables.append(outcomes_of_batches(fresh))
        return pa.concat_tables(tables) if tables else OUTCOMES.empty_table()


_WHOLE = list(dict.fromkeys(name.partition(".")[0] for name in OUTCOME_COLUMNS))


def _numbered(table: pa.Table, file: int) -> pa.Table:
    """The table with what ``outcomes_of_batches`` asks for besides."""
    places = pa.array(range(len(table)), pa.int64())
    files = pa.array([file] * len(table), pa.int64())
    return table.append_column("number", places).append_column("file", files)


def _record(rows: pa.Table | pa.RecordBatch) -> Record:
    found: list[Any] = rows.to_pylist()
    record: Record = unescaped(found[0]) if found else {}
    return record


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is damaged ({' '.join(str(error).split())[:120]})"
