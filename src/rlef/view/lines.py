"""The episodes of an evaluation's file of lines, as tables that grow with it."""

import json
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rlef.environment.lines import EpisodeLine, check_line
from rlef.run.files import Record
from rlef.view.cache import Cache
from rlef.view.database import Database
from rlef.view.errors import ViewError, missing
from rlef.view.line_tables import Lines, lines_of, outcomes_of_lines, texts_of_lines
from rlef.view.tables import OUTCOMES, TEXTS

_ROWS = 2**16
_BYTES = 2**26
"""A part of the file that is worked on at once ends after so many lines, or before so many bytes;
with half as many bytes nothing is added to it any more."""
_TAIL = 512
_READ = 2**20


class _Part(NamedTuple):
    """Whole lines of the file.

    Attributes:
        crc: of the last bytes: a file that was written anew has others there.
        birth: another object where the file was written anew.
    """

    start: int
    end: int
    first_row: int
    next_row: int
    crc: int
    outcomes: pa.Table
    birth: object


class _Texts(NamedTuple):
    """The texts of a part, or of its first lines."""

    end: int
    next_row: int
    birth: object
    table: pa.Table


class LinesStage:
    """The episodes of ``rollouts/NAME.jsonl``.

    Args:
        name: Of the stage.
        path: The file.
        cache: Keeps what was worked out of it.
        database: Works it out.
        allowed: Whether it may be read.

    Attributes:
        damage: one line on what cannot be read, if anything.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        cache: Cache,
        database: Database,
        allowed: Callable[[Path], bool],
    ) -> None:
        self.name, self._path, self._cache, self._allowed = name, path, cache, allowed
        self._database = database
        self.damage: str | None = None
        self._lock, self._text_lock = threading.Lock(), threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._parts: list[_Part] = []
        self._texts: dict[int, _Texts] = {}
        self._table = OUTCOMES.empty_table()

    def outcomes(self) -> pa.Table:
        """All episodes, as ``OUTCOMES``, in the order of the file. Reads what is new.

        The table of an earlier call is returned again, the same object, where nothing is.
        """
        with self._lock:
            self._refresh()
            return self._table

    def texts(self) -> pa.Table:
        """All episodes' ``TEXTS``, those of ``outcomes`` and perhaps more."""
        with self._text_lock:
            with self._lock:
                parts = list(self._parts)
            self._texts = {
                part.start: self._texts_of(part, number) for number, part in enumerate(parts)
            }
            tables = [texts.table for texts in self._texts.values()]
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
        """Yields what is behind the known parts; each is to be added before the next."""
        start, row = self._end()
        while (part := self._cached(file, len(self._parts), start, row)) is not None:
            yield part
            start, row = self._end()
        with ThreadPoolExecutor(1) as worker:  # works one part out while the next one is read
            making: Future[_Part] | None = None
            while start < size:
                data = _some_lines(file, start)
                lines = lines_of(data, start, row, _ROWS)
                next_one = worker.submit(self._make, data, lines) if len(lines.table) else None
                if making is not None:
                    yield making.result()
                making = next_one
                if next_one is None:
                    break
                start, row = lines.end, row + len(lines.table)
            if making is not None:
                yield making.result()

    def _end(self) -> tuple[int, int]:
        """Where the known parts end: place in the file, number of the next line."""
        return (self._parts[-1].end, self._parts[-1].next_row) if self._parts else (0, 0)

    def _add(self, file: Any, part: _Part) -> None:
        """Adds a part, to the last one where that is not full; what is full goes to the cache."""
        if self._parts and not _is_full(self._parts[-1]):
            last = self._parts.pop()
            part = last._replace(
                end=part.end,
                next_row=part.next_row,
                crc=_crc(file, last.start, part.end),
                outcomes=pa.concat_tables([last.outcomes, part.outcomes]),
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
        if outcomes is None:
            return None
        next_row = row + len(outcomes)
        part = _Part(start, said["end"], row, next_row, said["crc"], outcomes, object())
        return part if _is_there(file, part) else None

    def _make(self, data: bytes, lines: Lines) -> _Part:
        outcomes, odd = outcomes_of_lines(self._database, lines)
        if odd:
            self._say(odd[0], lines.table)
        first, count = lines.table["row"][0].as_py(), len(lines.table)
        size = lines.end - lines.start
        crc = zlib.crc32(data[max(0, size - _TAIL) : size])
        return _Part(lines.start, lines.end, first, first + count, crc, outcomes, object())

    def _say(self, row: int, lines: pa.Table) -> None:
        """Notes the first line that is no episode."""
        if self.damage is not None:
            return
        line = lines["line"][row - lines["row"][0].as_py()].as_py()
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
            check_line(EpisodeLine, record)
            what = "it cannot be read"
        except (ValueError, RecursionError) as error:
            what = " ".join(str(error).split())[:120]
        self.damage = f"{self._path}:{row + 1} is damaged: {what}"

    def _kept(self, part: _Part, number: int) -> _Part:
        name = f"{self.name}-{number:06d}"
        made_of = [part.start, part.first_row, part.end, part.crc]
        if self._cache.load(f"{name}-outcomes", made_of) is not None:
            return part  # it came from there
        outcomes = self._cache.save(f"{name}-outcomes", made_of, part.outcomes)
        facts = {"start": [part.start], "row": [part.first_row], "end": [part.end]}
        self._cache.save(f"{name}-part", "part", pa.table({**facts, "crc": [part.crc]}))
        return part._replace(outcomes=outcomes)

    def _texts_of(self, part: _Part, number: int) -> _Texts:
        """The texts of a part: those known, those that are cached, those read from the file."""
        known = self._texts.get(part.start)
        if known is None or known.birth is not part.birth:
            known = _Texts(part.start, part.first_row, part.birth, TEXTS.empty_table())
        if known.end >= part.end:
            return known
        name = f"{self.name}-{number:06d}-texts"
        made_of = [part.start, part.first_row, part.end, part.crc]
        is_whole = _is_full(part) and part.next_row - part.first_row == len(part.outcomes)
        table = self._cache.load(name, made_of) if is_whole else None
        if table is None:
            try:
                with self._path.open("rb") as file:
                    file.seek(known.end)
                    data = file.read(part.end - known.end)
            except OSError:
                return known
            lines = lines_of(data, known.end, known.next_row, len(data))
            new = texts_of_lines(self._database, lines)
            table = pa.concat_tables([known.table, new])
            if is_whole and len(table) == len(part.outcomes):
                table = self._cache.save(name, made_of, table)
        return _Texts(part.end, part.next_row, part.birth, table)


def _some_lines(file: Any, start: int) -> bytes:
    """Bytes from one place on: about a part of the file, and a whole line if there is one."""
    file.seek(start)
    parts: list[bytes] = []
    while True:
        data = file.read(_BYTES if not parts else _READ)
        parts.append(data)
        if not data or b"\n" in data:
            return b"".join(parts) if len(parts) > 1 else data


def _is_full(part: _Part) -> bool:
    return part.next_row - part.first_row >= _ROWS or part.end - part.start >= _BYTES // 2


def _crc(file: Any, start: int, end: int) -> int:
    begin = max(start, end - _TAIL)
    file.seek(begin)
    return zlib.crc32(file.read(end - begin))


def _is_there(file: Any, part: _Part) -> bool:
    return _crc(file, part.start, part.end) == part.crc
