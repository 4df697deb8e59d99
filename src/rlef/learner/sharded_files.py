"""Tensors on disk of which each rank writes and reads its part: ``torch.distributed.checkpoint``.

Each rank writes one file, the first one also an index, last of all. Who reads may be any number of
ranks, or one process without any.
"""

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from rlef.engines.names import SHARDS
from rlef.learner.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Upload:
    """Writing that goes on beside the learner.

    Attributes:
        result: of this rank; ends when all ranks' parts are written.
    """

    result: "Future[Any]"

    @classmethod
    def begin(cls, folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> "Upload":
        """Copies tensors and begins to write them; all ranks call it with the same names.

        Args:
            folder: There on the first rank's machine; all ranks have to see it.
            tensors: May change once this returns.
            ranks: Who writes.

        Raises:
            OSError: A rank does not see the folder, or the one before has failed.
        """
        path = folder / SHARDS
        ranks.on_first(lambda: path.mkdir(parents=True))
        if not all(ranks.join([path.is_dir()])):
            raise OSError(
                f"{folder} is not seen by all ranks; allowed: a run folder on a disk that all "
                "machines of the learner share"
            )
        writer = FileSystemWriter(path)
        saving: Any = async_save(dict(tensors), storage_writer=writer, process_group=ranks.savers)
        return cls(saving)

    def done(self) -> bool:
        """Whether it has ended."""
        return self.result.done()

    def wait(self) -> None:
        """Waits for the end.

        Raises:
            OSError: A rank could not write its part.
        """
        _in_one_line(self.result.result)


class ShardedFiles:
    """What ``Upload`` wrote.

    Args:
        folder: A checkpoint.

    Attributes:
        names: of its tensors.

    Raises:
        OSError, ValueError: It has no index, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self._reader = _Reader(folder / SHARDS)
        try:
            self._reader.index = self._reader.read_metadata()
        except OSError:
            raise
        except Exception as error:  # of any kind: it is unpickled
            raise ValueError(f"its index is damaged: {type(error).__name__}") from None
        self.names: list[str] = list(self._reader.index.state_dict_metadata)

    def read(self, ours: dict[str, Tensor]) -> None:
        """Reads tensors in place; where they are sharded, all ranks call it with the same names.

        Raises:
            OSError, ValueError: They are not there, or have other sizes.
        """
        missing = ours.keys() - set(self.names)
        if missing:
            raise ValueError(f"{len(missing)} of {len(ours)} tensors of this model are not there")
        if not ours:
            return
        alone = not any(hasattr(tensor, "placements") for tensor in ours.values())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            _in_one_line(lambda: load(ours, storage_reader=self._reader, no_dist=alone))


class _Reader(FileSystemReader):
    """Reads the index once: of many ranks it is large."""

    index: Metadata | None = None

    def read_metadata(self, *args: Any, **words: Any) -> Metadata:
        return self.index or super().read_metadata(*args, **words)


def _in_one_line(work: Callable[[], object]) -> None:
    """Turns what ranks raise together into the first of their reasons."""
    try:
        work()
    except CheckpointException as error:  # no Exception, but a BaseException
        rank, (why, _) = next(iter(error.failures.items()))
        where = f" (rank {rank})" if dist.is_initialized() else ""
        reason = " ".join(str(getattr(why, "strerror", None) or why).split())[:200]
        kind = ValueError if isinstance(why, ValueError) else OSError
        raise kind(f"{reason or type(why).__name__}{where}") from None
