"""A policy's weights on their way to an engine in another process: buckets of bytes, in order.

A sender packs tensors as they come, one by one, and a receiver unpacks them likewise, so nowhere is
there a second whole model: a few buckets are under way, whatever carries them (Ray's object store,
shared memory, a pickle). A tensor that is larger than a bucket goes over several.
"""

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlef.engines.types import EngineError, Weights

BUCKET_BYTES = 1 << 28
"""Of one bucket, at most."""
_ALIGNED = 16
"""Bytes: a tensor of any dtype may begin at a multiple of it."""

Logprobs = Callable[[Sequence[Sequence[int]], int], NDArray[np.float64]]
"""See ``Weights.logprobs``."""
Dtypes = Mapping[str, str]
"""Of tensors by name, as ``torch`` names it (``bfloat16``): in which an engine holds them. Of one
that is not there nobody knows."""
_UNKNOWN: Dtypes = {}


@dataclass(frozen=True, slots=True)
class Piece:
    """Where in a bucket a tensor, or a part of one, lies.

    Attributes:
        name: Of the tensor.
        dtype: As ``torch`` names it: ``bfloat16``.
        shape: Of the whole tensor.
        offset: Bytes of it that earlier buckets hold.
        start: Place in the bucket.
        size: Bytes of it in this bucket.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bucket:
    """Some of the weights of one version, as plain data.

    Attributes:
        version: Of the weights.
        number: Of the bucket, from 0.
        last: Whether none comes after it.
        checkpoint_names: See ``buckets``.
        pieces: What it holds.
        data: (bytes,) uint8.
    """

    version: int
    number: int
    last: bool
    checkpoint_names: bool
    pieces: tuple[Piece, ...]
    data: NDArray[np.uint8]


def buckets(
    weights: Weights,
    *,
    checkpoint_names: bool,
    dtypes: Dtypes = _UNKNOWN,
    limit: int = BUCKET_BYTES,
) -> Iterator[Bucket]:
    """Packs weights, each bucket when it is asked for.

    Args:
        weights: Read one tensor at a time.
        checkpoint_names: Whether tensors have the names and shapes of checkpoints, which vLLM
            wants, and not those of a module, which ``hf`` wants. They differ only for models whose
            weights ``transformers`` joins when it loads them (fused experts): a receiver has no
            model to take them apart with, so this side does, a layer at a time.
        dtypes: What the receiver rounds tensors to, by these names: they are sent so, where that is
            smaller. The receiver comes to the same numbers.
        limit: Bytes of a bucket at most, a multiple of 16.
    """
    if limit < _ALIGNED or limit % _ALIGNED:
        raise ValueError(f"limit is {limit}; allowed: a multiple of {_ALIGNED}")
    filling = _Filling(weights.version, checkpoint_names)
    for name, tensor in weights.tensors() if checkpoint_names else weights.merged():
        tensor = _as_held(tensor.detach(), dtypes.get(name))
        flat = tensor.reshape(-1).view(torch.uint8)
        offset = 0
        while True:
            if filling.end >= limit:
                yield filling.bucket(last=False)
            size = min(len(flat) - offset, limit - filling.end)
            filling.add(name, tensor, flat, offset, size)
            offset += size
            if offset == len(flat):
                break
    yield filling.bucket(last=True)


def _as_held(tensor: Tensor, held: str | None) -> Tensor:
    """Rounds as ``copy_`` does, which engines take weights over by."""
    dtype = tensor.dtype if held is None else getattr(torch, held)
    smaller = dtype.itemsize < tensor.dtype.itemsize
    return tensor.to(dtype) if smaller and tensor.is_floating_point() else tensor


class _Filling:
    """The bucket that is being filled."""

    def __init__(self, version: int, checkpoint_names: bool) -> None:
        self.end = 0
        self._version, self._checkpoint_names = version, checkpoint_names
        self._number = 0
        self._parts: list[tuple[Piece, Tensor]] = []

    def add(self, name: str, tensor: Tensor, flat: Tensor, offset: int, size: int) -> None:
        dtype = str(tensor.dtype).removeprefix("torch.")
        piece = Piece(name, dtype, tuple(tensor.shape), offset, self.end, size)
        self._parts.append((piece, flat[offset : offset + size]))
        self.end += -(-size // _ALIGNED) * _ALIGNED

    def bucket(self, *, last: bool) -> Bucket:
        data = np.zeros(self.end, np.uint8)
        target = torch.from_numpy(data)
        for piece, part in self._parts:
            target[piece.start : piece.start + piece.size].copy_(part)
        done = Bucket(
            version=self._version,
            number=self._number,
            last=last,
            checkpoint_names=self._checkpoint_names,
            pieces=tuple(piece for piece, _ in self._parts),
            data=data,
        )
        self._number += 1
        self._parts, self.end = [], 0
        return done


class StreamedWeights:
    """``Weights`` that arrive in buckets; they can be read once.

    Args:
        version: Optimizer steps behind them.
        buckets: In their order, as they arrive.
        logprobs: Asks the model where it lives; see ``Weights.logprobs``.
    """

    model = None

    def __init__(self, version: int, buckets: Iterable[Bucket], logprobs: Logprobs) -> None:
        self.version = version
        self._buckets: Iterable[Bucket] | None = buckets
        self._logprobs = logprobs

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """See ``Weights.merged``.

        Raises:
            EngineError: A bucket is missing, of another version, or has the other names.
        """
        return self._read(checkpoint_names=False)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """See ``Weights.tensors``; raises as ``merged`` does."""
        return self._read(checkpoint_names=True)

    def logprobs(self, rows: Sequence[Sequence[int]], first: int) -> NDArray[np.float64]:
        """See ``Weights.logprobs``."""
        return self._logprobs(rows, first)

    def in_order(self, *, checkpoint_names: bool) -> Iterator[Bucket]:
        """Yields the buckets as they are; raises as ``merged`` does."""
        if self._buckets is None:
            raise EngineError(f"weights of version {self.version} were read before; allowed: once")
        found, self._buckets = self._buckets, None
        number = 0
        for bucket in found:
            if (bucket.version, bucket.number) != (self.version, number):
                raise EngineError(
                    f"bucket {number} of the weights of version {self.version} was to come, and "
                    f"not bucket {bucket.number} of version {bucket.version}"
                )
            if bucket.checkpoint_names != checkpoint_names:
                names = ("module", "checkpoint")
                raise EngineError(
                    f"weights of version {self.version} came with the names of a "
                    f"{names[bucket.checkpoint_names]}; wanted: of a {names[checkpoint_names]}"
                )
            yield bucket
            number += 1
            if bucket.last:
                return
        raise EngineError(
            f"weights of version {self.version} ended before bucket {number}, and more were to come"
        )

    def _read(self, *, checkpoint_names: bool) -> Iterator[tuple[str, Tensor]]:
        unpacker = Unpacker()
        for bucket in self.in_order(checkpoint_names=checkpoint_names):
            yield from unpacker.take(bucket)


def in_buckets(
    weights: Weights, *, checkpoint_names: bool, dtypes: Dtypes = _UNKNOWN
) -> Iterator[Bucket]:
    """Yields weights as ``buckets`` does; those that came in buckets as they came."""
    if isinstance(weights, StreamedWeights):
        return weights.in_order(checkpoint_names=checkpoint_names)
    return buckets(weights, checkpoint_names=checkpoint_names, dtypes=dtypes)


def agreed(dtypes: Sequence[Dtypes | None]) -> Dtypes:
    """Returns what several receivers hold tensors in, if they all say the same."""
    first = dtypes[0] if dtypes else None
    return first if first and all(one == first for one in dtypes) else _UNKNOWN


class Unpacker:
    """Takes buckets in their order, and gives the tensors in them."""

    def __init__(self) -> None:
        self._whole = torch.empty(0, dtype=torch.uint8)
        """The tensor of which a part has come."""

    def take(self, bucket: Bucket) -> Iterator[tuple[str, Tensor]]:
        """Yields what is complete; most are views, and keep their bucket alive."""
        # torch warns of an array that may not be written to, as Ray's object store gives it
        data = torch.from_numpy(bucket.data if bucket.data.flags.writeable else bucket.data.copy())
        for piece in bucket.pieces:
            dtype: torch.dtype = getattr(torch, piece.dtype)
            size = prod(piece.shape) * dtype.itemsize
            part = data[piece.start : piece.start + piece.size]
            if piece.size < size:
                if piece.offset == 0:
                    self._whole = torch.empty(size, dtype=torch.uint8)
                self._whole[piece.offset : piece.offset + piece.size] = part
                if piece.offset + piece.size < size:
                    continue
                part, self._whole = self._whole, self._whole[:0]
            yield piece.name, part.view(dtype).view(piece.shape)


class Inbox:
    """Buckets that one thread brings and another reads; at most two are held.

    Args:
        version: Of the weights.
        timeout_s: A wait that takes longer is an error.
    """

    def __init__(self, version: int, timeout_s: float) -> None:
        self._version, self._timeout_s = version, timeout_s
        self._queue: queue.Queue[Bucket | Exception] = queue.Queue(1)  # and one is being read
        self._closed = False

    def put(self, bucket: Bucket | Exception) -> None:
        """Waits for room. An error is raised at the reader; what comes after ``close`` is dropped.

        Raises:
            EngineError: The reader took none for so long.
        """
        if self._closed:
            return
        try:
            self._queue.put(bucket, timeout=self._timeout_s)
        except queue.Full:
            raise EngineError(
                f"the engine took no bucket of the weights of version {self._version} for "
                f"{self._timeout_s:g} s"
            ) from None

    def __iter__(self) -> Iterator[Bucket]:
        number, last = 0, False
        while not last:
            try:
                bucket = self._queue.get(timeout=self._timeout_s)
            except queue.Empty:
                raise EngineError(
                    f"bucket {number} of the weights of version {self._version} did not come "
                    f"within {self._timeout_s:g} s"
                ) from None
            if isinstance(bucket, Exception):
                raise bucket
            number, last = number + 1, bucket.last
            yield bucket

    def close(self) -> None:
        """Call it when the reader has ended, also by an error: nobody waits for it any more."""
        self._closed = True
        with suppress(queue.Empty):
            self._queue.get_nowait()
