"""Rollouts of training as columns: what stands in a row, and how any viewer reads many of them.

::

    rollouts/train/batch-000012.parquet   all that the 13th batch claimed, and was too old for it
    rollouts/train/pending.bin            finished, and in no batch yet

The ledger (``rlef.rollout.ledger``) writes both. Rows of a batch stand in its order, then those
that were too old. Text is UTF-8; a lone surrogate, which a model may write but UTF-8 has no bytes
for, stands as U+10FFFF and six hexadecimal digits, as does U+10FFFF itself.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from rlef.run.files import RunDamagedError
from rlef.run.folder import RunFolder

_TURN = pa.struct(
    {
        "response": pa.string(),
        "program": pa.string(),
        "public_verdicts": pa.list_(pa.string()),
        "feedback": pa.string(),
        "prompt_tokens": pa.int32(),
        "completion_tokens": pa.int32(),
    }
)
SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "batch": pa.int32(),
        "status": pa.string(),
        "problem": pa.string(),
        "family": pa.string(),
        "hidden_detail": pa.string(),
        "stop": pa.string(),
        "solved": pa.bool_(),
        "final_verdict": pa.string(),
        "passed_share": pa.float64(),
        "blind": pa.bool_(),
        "seed": pa.int64(),
        "turns": pa.list_(_TURN),
        "rewards": pa.list_(pa.float32()),
        "policy_versions": pa.list_(pa.int64()),
        "prompt_ends": pa.list_(pa.int32()),
        "sequence_starts": pa.list_(pa.int32()),
        "turn_ids": pa.list_(pa.int32()),
        "token_ids": pa.list_(pa.int32()),
        "logprobs": pa.list_(pa.float32()),
    }
)
"""A row: ``index`` of the request; ``batch`` from 0, null while in none; ``status``: ``taken``,
``too_old`` or ``pending``; the episode's record; then ``Rollout``'s arrays."""

TOKEN_COLUMNS = ("turn_ids", "token_ids", "logprobs")
"""One number per token: nearly all bytes of a file."""

_BATCH = re.compile(r"batch-(\d{6,})\.parquet")
_FRAME = Struct("<QI")
"""Before each frame of ``pending.bin``: its bytes, and their CRC-32."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The last bytes of an Arrow stream, and so of each frame."""
_MARK = "\U0010ffff"
_ODD = re.compile(f"[\ud800-\udfff{_MARK}]")
_ESCAPED = re.compile(f"{_MARK}([0-9a-f]{{6}})")


def escape_text(text: str) -> str:
    """Returns a text that UTF-8 can hold: the same but where it holds surrogates or U+10FFFF."""
    return text if text.isascii() else _ODD.sub(lambda odd: f"{_MARK}{ord(odd[0]):06x}", text)


def unescape_text(text: str) -> str:
    """Returns the text that ``escape_text`` was given."""
    if _MARK not in text:
        return text
    return _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)


def unescaped(value: Any) -> Any:
    """Returns a value of a row, however nested, with its texts as they were."""
    if isinstance(value, str):
        return unescape_text(value)
    if isinstance(value, list):
        return [unescaped(item) for item in value]
    if isinstance(value, dict):
        return {key: unescaped(item) for key, item in value.items()}
    return value


def read_training_rollouts(run: RunFolder, columns: Sequence[str] | None = None) -> pa.Table:
    """All training rollouts of a run: batch by batch, then those in no batch yet.

    Args:
        run: Its folder; another process may be writing to it.
        columns: Names in ``SCHEMA``; ``None``: all but ``TOKEN_COLUMNS``. Others are not loaded.

    Returns:
        A table, with texts as they stand in the files (``unescaped``).

    Raises:
        RunDamagedError: A file cannot be read.
        ValueError: There is no such column.

    Example:
        >>> import tempfile
        >>> run = RunFolder.create(tempfile.mkdtemp(), config="seed: 0")
        >>> read_training_rollouts(run, ["problem", "solved"]).num_rows
        0
    """
    names = [name for name in SCHEMA.names if name not in TOKEN_COLUMNS]
    names = names if columns is None else list(columns)
    unknown = [name for name in names if name not in SCHEMA.names]
    if unknown:
        raise ValueError(f"{unknown[0]} is no column; allowed: {', '.join(SCHEMA.names)}")
    wanted = list(dict.fromkeys([*names, "index"]))
    pending = read_pending(pending_path(run.training_path))[0]  # first: they move into batches
    batches = [read_batch_file(path, wanted) for path in batch_paths(run.training_path)]
    known = {index for table in batches for index in table["index"].to_pylist()} if pending else ()
    rest = pa.Table.from_batches(pending, SCHEMA).select(wanted)
    rest = rest.filter(
        pa.array([row not in known for row in rest["index"].to_pylist()], pa.bool_())
    )
    return pa.concat_tables([*batches, rest]).select(names)


def batch_path(folder: Path, number: int) -> Path:
    """Where a batch stands, once it is taken."""
    return folder / f"batch-{number:06d}.parquet"


def batch_paths(folder: Path) -> list[Path]:
    """The files of all batches, in order.

    Raises:
        RunDamagedError: One is missing before others.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted(int(match[1]) for match in map(_BATCH.fullmatch, names) if match)
    for number, found in enumerate(numbers):
        if number != found:
            raise RunDamagedError(f"{batch_path(folder, number)} is missing; {_HOW_TO_GO_ON}")
    return [batch_path(folder, number) for number in numbers]


_HOW_TO_GO_ON = (
    "put back a whole copy, or remove all later batches and the checkpoints made after them, to "
    "sample them again"
)


def read_batch_file(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a batch, checked to be what ``SCHEMA`` says.

    Raises:
        RunDamagedError: It cannot be read.
    """
    try:
        with pq.ParquetFile(parquet_source(path), page_checksum_verification=True) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise pa.ArrowInvalid(f"no column {missing[0]}")
            table = file.read(list(columns))
        return table.select(list(columns)).cast(pa.schema([SCHEMA.field(n) for n in columns]))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise RunDamagedError(f"{path} is damaged ({reason}); {_HOW_TO_GO_ON}") from None


def parquet_source(path: Path) -> str | BinaryIO:
    """What pyarrow opens a file by: it takes no names that are not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.open("rb")
    return str(path)


def pending_path(folder: Path) -> Path:
    """Where the rollouts stand that are in no batch yet."""
    return folder / "pending.bin"


def frame(batch: pa.RecordBatch) -> bytes:
    """Returns rows as one frame of ``pending.bin``: length, CRC-32, an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(batch)
    data = bytes(sink.getvalue())
    return _FRAME.pack(len(data), zlib.crc32(data)) + data


def read_pending(path: Path) -> tuple[list[pa.RecordBatch], int]:
    """The rows of ``pending.bin``, and the bytes up to the end of its last whole frame.

    Raises:
        RunDamagedError: Anything but its end is damaged.
    """
    try:
        data = memoryview(path.read_bytes())
    except FileNotFoundError:
        return [], 0
    batches: list[pa.RecordBatch] = []
    end = 0
    for start, stop, crc in _frames(data):
        if zlib.crc32(data[start:stop]) != crc:
            if stop == len(data) or data[-len(_END) :] != _END:
                break  # torn: of what was being added any part may be on disk
            raise RunDamagedError(
                f"{path} is damaged at byte {start}; put back a whole copy, or remove it to sample "
                "its rollouts again"
            )
        with pa.ipc.open_stream(data[start:stop]) as reader:
            batches += list(reader)
        end = stop
    return batches, end


def _frames(data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Start, stop and checksum of each frame that is not cut or empty."""
    start = _FRAME.size
    while start <= len(data):
        size, crc = _FRAME.unpack(data[start - _FRAME.size : start])
        if not size or start + size > len(data):
            return
        yield start, start + size, crc
        start += size + _FRAME.size
