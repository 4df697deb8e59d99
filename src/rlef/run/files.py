"""Files of a run: what can go wrong with them, and how they are written whole."""

import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class RunError(ValueError):
    """A path or a name cannot be used for a run. One line: which, why, and what is allowed."""


class RunExistsError(RunError):
    """A new run was to be made where one is."""


class RunBusyError(RuntimeError):
    """Another process writes to the run. One line: which, and what to do."""


class RunWriteError(RuntimeError):
    """A file of the run cannot be written, as on a full disk. One line: which, and why."""


class RunDamagedError(RuntimeError):
    """A file of the run cannot be read. One line: which, and where."""


@contextmanager
def writing(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Turns an error of the disk into one that names the file.

    Args:
        path: What is written.
        more: Exceptions other than ``OSError`` that mean the same.

    Raises:
        RunWriteError: It cannot be written.
    """
    errors: tuple[type[Exception], ...] = (OSError, *more)
    try:
        yield
    except errors as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise RunWriteError(
            f"{path} cannot be written ({reason}); what was finished is kept"
        ) from error


def json_value(value: object) -> object:
    """Returns the value with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value


def finite(value: object) -> float | None:
    """A value of a file as a number; ``None`` where it is none, or NaN, or beyond all floats."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def dump_lines(records: Iterable[Mapping[str, object]]) -> bytes:
    """One JSON object a line, in ASCII: lone surrogates and U+2028 survive any reader."""
    return "".join(json.dumps(json_value(record)) + "\n" for record in records).encode("ascii")


def append_lines(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    """Adds lines, on disk when the call returns; what a killed writer left of one is cut before.

    Raises:
        RunWriteError: They cannot be written.
    """
    data = dump_lines(records)
    with writing(path):
        make_folder(path.parent)
        _append(path, data)


def _append(path: Path, data: bytes) -> None:
    with path.open("a+b") as file:
        whole = _length_of_whole_lines(path)
        if whole < file.seek(0, os.SEEK_END):
            file.truncate(whole)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _length_of_whole_lines(path: Path) -> int:
    """Bytes up to the end of the last line that was written whole."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def read_lines(path: Path) -> list[Record]:
    """The objects of a file of lines, but for a torn last one; none where there is no file.

    Raises:
        RunDamagedError: A line is damaged.
    """
    if not path.is_file():
        return []
    records: list[Record] = []
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RunDamagedError(f"{path}:{number} is damaged: {error}") from None
        if not isinstance(record, dict):
            raise RunDamagedError(f"{path}:{number} is damaged: not a JSON object")
        records.append(record)
    return records


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file whole, in place of an older one; on disk when the call returns.

    Raises:
        RunWriteError: It cannot be written.
    """
    with writing(path):
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:  # a full disk has no room for a part of a file
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)


def create_file(path: Path, data: bytes) -> bool:
    """Writes a file that is not there: whole, or not at all; on disk when the call returns.

    Returns:
        Whether it was written; ``False``: something stands there, maybe since a moment ago.

    Raises:
        RunWriteError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # other machines count alike
    replace_file(draft, data)
    with writing(path):
        try:
            publish(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        sync(path.parent)
    return True


def publish(draft: Path, path: Path) -> None:
    """Gives a file another name, unless that is taken: FileExistsError."""
    try:
        os.link(draft, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            draft.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    draft.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Makes a folder that is not there, on disk when the call returns."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)  # another process may be as far
        sync(path.parent)


def open_to_others(folder: Path) -> None:
    """Gives files the rights of any new file there: safetensors writes them for their owner alone.

    Args:
        folder: Whose own rights are as they should be; folders in it are left as they are.
    """
    rights = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(rights)


def sync(path: Path) -> None:
    """Waits until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
