"""The ledger of training rollouts: what has finished, and which batch claimed it.

A rollout is known by the index of its request. ``add`` puts it on disk; ``take`` writes the file of
a batch, which is the record of what the batch holds, before anybody uses it. Killed at any moment,
nothing is lost and nothing is there twice: a row is pending unless its index stands in a batch.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlef.environment import StopReason
from rlef.rollout.store import Row, from_rows, to_rows
from rlef.rollout.types import Rollout
from rlef.run import RunDamagedError, writing
from rlef.run.files import make_folder, replace_file, sync
from rlef.run.training import (
    SCHEMA,
    batch_path,
    batch_paths,
    frame,
    pending_path,
    read_batch_file,
    read_pending,
)

_TAKEN, _TOO_OLD = "taken", "too_old"
_REPEATED = [
    *("batch", "status", "problem", "family", "hidden_detail", "stop", "final_verdict"),
    *("policy_versions.list.element", "turn_ids.list.element"),
    "turns.list.element.public_verdicts.list.element",
]
"""Columns of few values: numbers of these save most (measured: benchmarks/rollout_files.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A batch of rollouts.

    Attributes:
        number: of the batch, from 0.
        indices: of the rollouts' requests, ascending.
        rollouts: in that order.
        dropped: how many were too old for it, and are in no batch.
    """

    number: int
    indices: tuple[int, ...]
    rollouts: tuple[Rollout, ...]
    dropped: int


class Ledger:
    """The training rollouts of a run. One process writes; see ``RunFolder.lock``.

    Args:
        folder: ``RunFolder.training_path``; made when the first rollout is added.

    Raises:
        RunDamagedError: A file in it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending_path = pending_path(folder)
        self._read()

    def _read(self) -> None:
        """Learns from the files what is where."""
        paths = batch_paths(self._folder)
        self._count = len(paths)
        self._floor, self._claimed = 0, set[int]()
        for path in paths:
            self._claim(read_batch_file(path, ["index"])["index"].to_pylist())
        frames, self._end = read_pending(self._pending_path)
        rows = [row for batch in frames for row in _rows(self._pending_path, batch)]
        self._stored = len(rows)
        self._pending = {r.index: r.rollout for r in rows if not self._is_claimed(r.index)}
        self._too_old: dict[int, Rollout] = {}

    def _claim(self, indices: Iterable[int]) -> None:
        """Remembers that a batch holds these; all below ``_floor`` are in batches."""
        self._claimed.update(indices)
        while self._floor in self._claimed:
            self._claimed.remove(self._floor)
            self._floor += 1

    def _is_claimed(self, index: int) -> bool:
        return index < self._floor or index in self._claimed

    @property
    def pending(self) -> Sequence[int]:
        """Indices of the rollouts that a batch may take, in order of arrival."""
        return list(self._pending)

    @property
    def pending_rollouts(self) -> Mapping[int, Rollout]:
        """Those rollouts, by index."""
        return dict(self._pending)

    @property
    def batches(self) -> int:
        """How many batches have been taken: their numbers are those below."""
        return self._count

    @property
    def too_old(self) -> int:
        """How many rollouts were too old for the next batch so far."""
        return len(self._too_old)

    def has(self, index: int) -> bool:
        """Whether a rollout of this index has ever been added."""
        return self._is_claimed(index) or index in self._pending or index in self._too_old

    def unseen(self) -> Iterator[int]:
        """Yields the indices to ask for from here on, without end: those of which there is none.

        First those below the highest that has come, which a killed run had asked for. What comes
        later is not looked at: ask once per process.
        """
        known = self._claimed | self._pending.keys() | self._too_old.keys()
        yield from (index for index in count(self._floor) if index not in known)

    def add(self, items: Sequence[tuple[int, Rollout]]) -> None:
        """Adds finished rollouts, on disk when the call returns.

        Args:
            items: With the indices of their requests. Of one that is there it is ignored.

        Raises:
            RunWriteError: They cannot be written, and are not there.
        """
        new: dict[int, Rollout] = {}
        for index, rollout in items:
            if not self.has(index):
                new.setdefault(index, rollout)
        if new:
            self._append(new)
            self._pending |= new

    def _append(self, new: Mapping[int, Rollout]) -> None:
        data = frame(to_rows([Row(index, rollout) for index, rollout in new.items()]))
        with writing(self._pending_path):
            make_folder(self._folder)
            is_new = not self._pending_path.exists()
            with self._pending_path.open("wb" if is_new else "r+b") as file:
                file.seek(self._end)
                file.truncate()  # what a writer that was killed or had no room left of a frame
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync(self._folder)
        self._end += len(data)
        self._stored += len(new)

    def take(
        self,
        size: int,
        *,
        in_order: bool,
        too_old: Callable[[Rollout], bool] = lambda rollout: False,
    ) -> Taken | None:
        """Takes a batch, if there is one: its file is on disk when the call returns.

        Args:
            size: Rollouts of a batch.
            in_order: Take the lowest indices that no batch has, and wait until all are there; else
                take those that came first.
            too_old: Which pending rollouts no batch may take any more. They stop being pending at
                once, and their rows go into the file of the next batch.

        Returns:
            The batch; ``None`` while not enough are there.

        Raises:
            RunWriteError: Its file cannot be written; it is not taken.
        """
        old = [index for index, rollout in self._pending.items() if too_old(rollout)]
        self._too_old |= {index: self._pending.pop(index) for index in old}
        indices = self._lowest(size) if in_order else sorted(list(self._pending)[:size])
        if len(indices) < size or not self._pending.keys() >= set(indices):
            return None
        number = self._count
        taken = {index: self._pending[index] for index in indices}
        rows = [Row(index, rollout, _TAKEN, number) for index, rollout in taken.items()]
        rows += [Row(index, rollout, _TOO_OLD, number) for index, rollout in self._too_old.items()]
        replace_file(batch_path(self._folder, number), _parquet(to_rows(rows)))
        self._count += 1
        self._claim(row.index for row in rows)
        dropped = len(self._too_old)
        for index in indices:
            del self._pending[index]
        self._too_old = {}
        self._shrink()
        return Taken(
            number=number, indices=tuple(taken), rollouts=tuple(taken.values()), dropped=dropped
        )

    def batch(self, number: int) -> Taken:
        """Reads a batch that was taken.

        Args:
            number: Below ``batches``.

        Raises:
            RunDamagedError: Its file cannot be read.
        """
        rows = self._batch_rows(number)
        taken = [row for row in rows if row.status == _TAKEN]
        return Taken(
            number=number,
            indices=tuple(row.index for row in taken),
            rollouts=tuple(row.rollout for row in taken),
            dropped=len(rows) - len(taken),
        )

    def forget_unjudged(self) -> int:
        """Forgets what came of a judge that could not do its work, so that it is asked for again.

        That is the last batch, if it holds nothing but infrastructure errors, and the pending
        rollouts, if they do. For a run that goes on, before ``unseen``.

        Returns:
            How many rollouts.

        Raises:
            RunDamagedError: The last batch cannot be read.
            RunWriteError: A file cannot be changed.
        """
        forgotten = 0
        if self._pending and _is_unjudged(self._pending.values()):
            forgotten = len(self._pending)
            with writing(self._pending_path):
                os.truncate(self._pending_path, 0)
            self._read()
        last = self.batch(self._count - 1) if self._count else None
        if last is not None and _is_unjudged(last.rollouts):
            rows = self._batch_rows(last.number)
            # the file may hold rows of this batch still: without it they would be pending again
            self._rewrite(
                {row.index: row.rollout for row in rows if row.status == _TOO_OLD} | self._pending
            )
            path = batch_path(self._folder, last.number)
            with writing(path):
                path.unlink()
                sync(self._folder)
            self._read()
            forgotten += len(last.rollouts)
        return forgotten

    def _lowest(self, size: int) -> list[int]:
        """The lowest indices that are in no batch and not too old for one, there or not."""
        used = self._claimed | self._too_old.keys()
        return list(islice((i for i in count(self._floor) if i not in used), size))

    def _shrink(self) -> None:
        """Drops rows that are in batches from the file of the others, where they are many."""
        left = {**self._pending, **self._too_old}
        if not left:
            with writing(self._pending_path):
                os.truncate(self._pending_path, 0)
            self._end = self._stored = 0
        elif 2 * len(left) <= self._stored:
            self._rewrite(left)

    def _rewrite(self, left: Mapping[int, Rollout]) -> None:
        """Makes these the only rows of the file of rollouts that are in no batch."""
        rows = [Row(index, rollout) for index, rollout in left.items()]
        data = frame(to_rows(rows)) if rows else b""
        replace_file(self._pending_path, data)
        self._end, self._stored = len(data), len(left)

    def _batch_rows(self, number: int) -> list[Row]:
        path = batch_path(self._folder, number)
        table = read_batch_file(path, SCHEMA.names)
        return [row for batch in table.to_batches() for row in _rows(path, batch)]


def _rows(path: Path, batch: pa.RecordBatch) -> list[Row]:
    try:
        return from_rows(batch)
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise RunDamagedError(f"{path} is damaged ({reason}); put back a whole copy") from None


def _is_unjudged(rollouts: Iterable[Rollout]) -> bool:
    return all(rollout.record.stop is StopReason.INFRA_ERROR for rollout in rollouts)


def _parquet(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_batches([batch]),
        sink,
        compression="zstd",
        use_dictionary=_REPEATED,
        column_encoding={"logprobs.list.element": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())
