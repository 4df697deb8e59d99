"""Rows of data sets on the Hugging Face hub, read through ``datasets``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rlef.extras import how_to_install
from rlef.problems.errors import ProblemError
from rlef.problems.files import canonical_split
from rlef.problems.records import Record

ROOT = "hf://datasets"
_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class HubSet:
    """Where a data set lies on the Hub.

    Scripts are not run: the files are named here, so that ``datasets`` reads them as they are.
    """

    name: str
    """Owner and name."""
    files: dict[str, tuple[str, ...]]
    """Patterns of the files of each split."""


def read_hub(hub: HubSet, split: str | None) -> Iterator[Record]:
    """Yields the rows of one split.

    Args:
        hub: The data set.
        split: Which one; ``None`` if there is only one.

    Raises:
        ProblemError: No such split, ``datasets`` is missing, or the Hub cannot be read.
    """
    for pattern in hub.files[hub_split(hub, split)]:
        builder = "parquet" if pattern.endswith(".parquet") else "json"
        rows = _load(hub.name, builder, data_files=f"{ROOT}/{hub.name}/{pattern}", split="train")
        yield from _records(rows, f"{hub.name}, {pattern}", PurePosixPath(pattern).name)


def hub_split(hub: HubSet, split: str | None) -> str:
    """Returns the data set's own name of a split; ``None`` stands for the only one.

    Raises:
        ProblemError: There is no such split, or several.
    """
    there = ", ".join(f":{name}" for name in hub.files)
    if split is None and len(hub.files) > 1:
        raise ProblemError(f"{hub.name}: has several splits; add one of {there}")
    name = next(iter(hub.files)) if split is None else canonical_split(split)
    if name not in hub.files:
        raise ProblemError(f"{hub.name}: has no split {split!r}; there is {there}")
    return name


def read_any(name: str, split: str | None) -> Iterator[Record]:
    """Yields the rows of a data set that the Hub knows how to read, such as a copy of one's own.

    Raises:
        ProblemError: No such data set or split, ``datasets`` is missing, or the Hub cannot be read.
    """
    rows = _load(name, name, ask=True, split=split or "test")
    yield from _records(rows, f"{name}:{split or 'test'}", "")


def _load(
    name: str, builder: str, *, ask: bool = False, **arguments: object
) -> Iterator[dict[str, object]]:
    try:
        import datasets
        from huggingface_hub import HfApi
    except ImportError:
        raise ProblemError(
            f"{name}: the Hub needs datasets; install with: {how_to_install('data')}"
        ) from None
    try:
        if (
            ask
            and not (Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___")).exists()
        ):
            HfApi().dataset_info(name, timeout=_WAIT_S)  # loading would try for a minute
        yield from datasets.load_dataset(builder, **arguments)
    except Exception as error:  # of requests, the Hub, fsspec, pyarrow: a dozen unrelated classes
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ProblemError(
            f"{name}: no such file or folder, and cannot be read from the Hugging Face hub "
            f"({type(error).__name__}: {reason})"
        ) from None


def _records(rows: Iterator[dict[str, object]], place: str, file: str) -> Iterator[Record]:
    for number, fields in enumerate(rows, start=1):
        yield Record(f"{place}, row {number}", fields, file)
