"""The episodes of an evaluation's file of lines, as tables that grow with it."""

import json
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rlef.run.files import Record
from rlef.view.cache import Cache
from rlef.view.errors import ViewError, missing
from rlef.view.tables import OUTCOMES, TEXTS, outcome_of_line, text_of_line

_ROWS = 8192
_BYTES = 2**26
"""A part of the file that is worked on at once ends after so many lines or bytes."""
_TAIL = 512
_READ = 2**20


class _Part(NamedTuple):
    """Whole lines of the file."""

    start: int
    end: int
    first_row: int
    next_row: int
    crc: int
    """Of the last bytes: a file that was written anew has others there."""
    outcomes: pa.Table
    texts: pa.Table


class LinesStage:
    """The episodes of ``rollouts/NAME.jsonl``.

    Args:
        name: Of the stage.
        path: The file.
        cache: Keeps what was worked out of it.
        allowed: Whether it may be read.

    Attributes:
        damage: one line on what cannot be read, if anything.
    """

    def __init__(
        self, name: str, path: Path, cache: Cache, allowed: Callable[[Path], bool]
    ) -> None:
        self.name, self._path, self._cache, self._allowed = name, path, cache, allowed
        self.damage: str | None = None
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._parts: list[_Part] = []
        self._table = OUTCOMES.empty_table()

    def outcomes(self) -> pa.Table:
        """All episodes, as ``OUTCOMES``, in the order of the file. Reads what is new.

        The table of an earlier call is returned again, the same object, where nothing is.
        """
        with self._lock:
            self._refresh()
            return self._table

    def texts(self) -> pa.Table:
        """All episodes' ``TEXTS``."""
        with self._lock:
            tables = [part.texts for part in self._parts]
            return pa.concat_tables(tables) if tables else TEXTS.empty_table()

    def read(self, row: int, place: int, size: int) -> Record:
        """An episode, with what stands beside it.

        Raises:
            ViewError: It is not there any more, or cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(place)
                record = json.loads(file.read(size))
        except (OSError, ValueError, RecursionError):
            raise missing("such episode any more: its file was written anew; ask again") from None
        if not isinstance(record, dict):
            raise ViewError(409, f"{self._path}:{row + 1} is damaged: not a JSON object")
        return record

    def _refresh(self) -> None:
        try:
            if self._path.is_symlink() and not self._allowed(self._path):
                return
            status = self._path.stat()
        except OSError:
            self._parts, self._table, self._seen = [], OUTCOMES.empty_table(), None
            return
        seen = (status.st_size, status.st_mtime_ns)
        if seen == self._seen:
            return
        self.damage = None
        if not stat.S_ISREG(status.st_mode):
            self.damage = f"{self._path} is no file"
            self._parts, self._table, self._seen = [], OUTCOMES.empty_table(), seen
            return
        with self._path.open("rb") as file:
            while self._parts and not _is_there(file, self._parts[-1]):
                self._parts.pop()
            for part in self._new_parts(file, status.st_size):
                self._add(file, part)
        tables = [part.outcomes for part in self._parts]
        self._table = pa.concat_tables(tables) if tables else OUTCOMES.empty_table()
        self._seen = seen

    def _new_parts(self, file: Any, size: int) -> Iterator[_Part]:
        while True:
            start, row = (self._parts[-1].end, self._parts[-1].next_row) if self._parts else (0, 0)
            if start >= size:
                return
            part = self._cached(file, len(self._parts), start, row) or self._make(file, start, row)
            if part is None:
                return
            yield part

    def _add(self, file: Any, part: _Part) -> None:
        """Adds a part, to the last one where that is not full; what is full goes to the cache."""
        if self._parts and not _is_full(self._parts[-1]):
            last = self._parts.pop()
            part = _Part(
                last.start,
                part.end,
                last.first_row,
                part.next_row,
                _crc(file, last.start, part.end),
                pa.concat_tables([last.outcomes, part.outcomes]),
                pa.concat_tables([last.texts, part.texts]),
            )
        if _is_full(part) and part.next_row - part.first_row == len(part.outcomes):
            part = self._kept(part, len(self._parts))
        self._parts.append(part)

    def _cached(self, file: Any, number: int, start: int, row: int) -> _Part | None:
        facts = self._cache.load(f"{self.name}-{number:06d}-part", "part")
        if facts is None or not len(facts):
            return None
        said = facts.to_pylist()[0]
        if (said["start"], said["row"]) != (start, row):
            return None
        made_of = [start, row, said["end"], said["crc"]]
        outcomes = self._cache.load(f"{self.name}-{number:06d}-outcomes", made_of)
        texts = self._cache.load(f"{self.name}-{number:06d}-texts", made_of)
        if outcomes is None or texts is None:
            return None
        part = _Part(start, said["end"], row, row + len(outcomes), said["crc"], outcomes, texts)
        return part if _is_there(file, part) else None

    def _make(self, file: Any, start: int, first_row: int) -> _Part | None:
        rows: list[tuple[Any, ...]] = []
        texts: list[str] = []
        end, row = start, first_row
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n") or len(rows) >= _ROWS or end - start >= _BYTES:
                break
            try:
                record = json.loads(line)
                found = outcome_of_line(record, row, end, len(line))
                texts.append(text_of_line(record))
                rows.append(found)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                del texts[len(rows) :]
                what = f"{type(error).__name__}: {error}"[:120]
                self.damage = self.damage or f"{self._path}:{row + 1} is damaged: {what}"
            end += len(line)
            row += 1
        if end == start:
            return None
        try:
            outcomes = _table(rows)
        except _MISFITS:
            fits = [place for place, found in enumerate(rows) if self._fits(found)]
            rows, texts = [rows[place] for place in fits], [texts[place] for place in fits]
            outcomes = _table(rows)
        named = [outcomes["row"], pa.array(texts, pa.large_string())]
        text = pa.table(named, schema=TEXTS)
        return _Part(start, end, first_row, row, _crc(file, start, end), outcomes, text)

    def _fits(self, found: tuple[Any, ...]) -> bool:
        """Whether the values of a line have the types that they should; notes the first without."""
        try:
            _table([found])
        except _MISFITS as error:
            what = " ".join(str(error).split())[:120]
            self.damage = self.damage or f"{self._path}:{found[0] + 1} is damaged: {what}"
            return False
        return True

    def _kept(self, part: _Part, number: int) -> _Part:
        name = f"{self.name}-{number:06d}"
        made_of = [part.start, part.first_row, part.end, part.crc]
        if self._cache.load(f"{name}-outcomes", made_of) is not None:
            return part  # it came from there
        outcomes = self._cache.save(f"{name}-outcomes", made_of, part.outcomes)
        texts = self._cache.save(f"{name}-texts", made_of, part.texts)
        facts = {"start": [part.start], "row": [part.first_row], "end": [part.end]}
        self._cache.save(f"{name}-part", "part", pa.table({**facts, "crc": [part.crc]}))
        return part._replace(outcomes=outcomes, texts=texts)


_MISFITS = (pa.ArrowException, OverflowError, TypeError, ValueError)


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(OUTCOMES)
    fields = zip(columns, OUTCOMES, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in fields], schema=OUTCOMES)


def _is_full(part: _Part) -> bool:
    return len(part.outcomes) >= _ROWS or part.end - part.start >= _BYTES


def _crc(file: Any, start: int, end: int) -> int:
    begin = max(start, end - _TAIL)
    file.seek(begin)
    return zlib.crc32(file.read(end - begin))


def _is_there(file: Any, part: _Part) -> bool:
    return _crc(file, part.start, part.end) == part.crc
