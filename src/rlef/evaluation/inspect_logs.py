"""Logs of inspect_ai: ``.eval`` archives and ``.json`` files (inspect_ai 0.3.285, ``log``).

An archive is a zip file with a member ``samples/ID_epoch_N.json`` for each sample, compressed by
Zstandard, which Python knows from 3.14 on. One that a killed evaluation left has its samples too.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlef.evaluation.sample_forms import Recorded, RecordedFile, SamplesError

_ZSTANDARD = 93
_LOCAL_HEADER = 30
"""Bytes before the name of a member, the last four of which are the lengths of name and extra."""
_ATTACHED = "attachment://"
"""Before the hash of a text that stands in the sample's ``attachments``."""


def read_archive(path: Path) -> RecordedFile:
    """Reads an ``.eval`` archive.

    Raises:
        SamplesError: It is none, or a member is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            chosen = [
                info
                for name, info in members.items()  # of a name that stands twice the last one counts
                if name.startswith("samples/") and name.endswith(".json")
            ]
            return _of_samples(path, _parsed(path, archive, chosen))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise SamplesError(
            f"{path} is no whole log of inspect: {error}; allowed: an .eval file that its writer "
            "has closed (inspect log recover makes one)"
        ) from None


def of_log(path: Path, log: dict[str, Any]) -> RecordedFile:
    """The samples of a ``.json`` log.

    Raises:
        SamplesError: It has none, as one that was written without them, or one is damaged.
    """
    samples = log.get("samples")
    if not isinstance(samples, list):
        samples = []
    places = ((f"{path}, sample {i}", sample) for i, sample in enumerate(samples, start=1))
    return _of_samples(path, places)


def _of_samples(path: Path, samples: Iterable[tuple[str, Any]]) -> RecordedFile:
    found = RecordedFile("inspect", is_whole=True)
    failed = 0
    for place, sample in samples:
        if not isinstance(sample, dict) or "id" not in sample:
            raise SamplesError(f"{place}: id is missing; allowed: a sample of inspect")
        text = _answer(sample)
        if text is None or (not text and sample.get("error")):
            failed += 1
            continue
        field, task = _task(sample)
        found.samples.append(Recorded(place=place, field=field, task=task, text=text))
    if failed:
        one = failed == 1
        found.notes.append(
            f"{failed} sample{' has' if one else 's have'} no answer, since an error ended "
            f"{'it' if one else 'them'}, and {'is' if one else 'are'} left out"
        )
    if not found.samples:
        raise SamplesError(f"{path} holds no answers; allowed: a log with its samples")
    return found


def _task(sample: dict[str, Any]) -> tuple[str, object]:
    """What names the problem. A number that is no ``task_id`` may be any counter."""
    metadata = sample.get("metadata")
    if isinstance(metadata, dict) and metadata.get("task_id") is not None:
        return "metadata.task_id", metadata["task_id"]
    task = sample["id"]
    return "id", f"id {task}" if isinstance(task, int) else task


def _answer(sample: dict[str, Any]) -> str | None:
    """The last answer as text, without its reasoning; ``None`` where there was none."""
    output = sample.get("output")
    if not isinstance(output, dict):
        return None
    choices = output.get("choices")
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    content = message.get("content") if isinstance(message, dict) else output.get("completion")
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict) and part.get("type") == "text")
        content = "\n".join(str(part.get("text", "")) for part in parts)
    if not isinstance(content, str):
        return None
    attachments = sample.get("attachments")
    if content.startswith(_ATTACHED) and isinstance(attachments, dict):
        content = attachments.get(content.removeprefix(_ATTACHED), content)
    return content if isinstance(content, str) else None


def _parsed(
    path: Path, archive: zipfile.ZipFile, members: Iterable[zipfile.ZipInfo]
) -> Iterator[tuple[str, Any]]:
    for info in members:
        place = f"{path}, {info.filename}"
        try:
            yield place, json.loads(_content(path, archive, info))
        except (ValueError, RecursionError, OSError, zlib.error) as error:
            raise SamplesError(f"{place} cannot be read: {str(error)[:120]}") from None


def _content(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member."""
    if info.compress_type != _ZSTANDARD:
        return archive.read(info)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
        file.seek(name + extra, 1)
        packed = file.read(info.compress_size)
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        content: bytes = stream.read()
    if zlib.crc32(content) != info.CRC:
        raise ValueError("its checksum is another")
    return content
