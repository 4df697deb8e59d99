"""Rollouts as rows of ``rlef.run.training``, and back to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.rollout.types import Rollout
from rlef.run.training import SCHEMA, escape_text, unescaped
from rlef.sandbox import Verdict

_ARRAYS = (
    *("rewards", "policy_versions", "prompt_ends", "sequence_starts"),
    *("turn_ids", "token_ids", "logprobs"),
)
"""Fields of a rollout that are columns of numbers."""


@dataclass(frozen=True, slots=True)
class Row:
    """A rollout and what the ledger knows of it."""

    index: int
    """Of its request."""
    rollout: Rollout
    status: str = "pending"
    batch: int | None = None


def to_rows(rows: Sequence[Row]) -> pa.RecordBatch:
    """Returns rollouts as columns."""
    columns: dict[str, pa.Array] = {
        name: _lists([getattr(row.rollout, name) for row in rows], SCHEMA.field(name).type)
        for name in _ARRAYS
    }
    records = [row.rollout.record for row in rows]
    values: dict[str, list[Any]] = {
        "index": [row.index for row in rows],
        "batch": [row.batch for row in rows],
        "status": [row.status for row in rows],
        "seed": [row.rollout.seed for row in rows],
        "turns": [[_turn(turn) for turn in record.turns] for record in records],
        "problem": [escape_text(record.problem) for record in records],
        "family": [_escaped(record.family) for record in records],
        "hidden_detail": [_escaped(record.hidden_detail) for record in records],
        **{
            name: [getattr(record, name) for record in records]
            for name in ("stop", "solved", "final_verdict", "passed_share", "blind")
        },
    }
    columns |= {name: pa.array(value, SCHEMA.field(name).type) for name, value in values.items()}
    return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def from_rows(batch: pa.RecordBatch) -> list[Row]:
    """Returns the rollouts of ``to_rows``.

    Raises:
        ValueError: A value cannot be one of a rollout.
    """
    arrays = {name: _arrays(batch[name]) for name in _ARRAYS}
    for of_one in zip(*arrays.values(), strict=True):
        _check_lengths(*of_one)
    rest = batch.drop_columns(list(_ARRAYS)).to_pylist()
    return [
        Row(
            index=row["index"],
            rollout=Rollout(
                record=_record(unescaped(row)),
                seed=row["seed"],
                **{name: arrays[name][i] for name in _ARRAYS},
            ),
            status=row["status"],
            batch=row["batch"],
        )
        for i, row in enumerate(rest)
    ]


def _lists(arrays: Sequence[NDArray[Any]], kind: pa.ListType) -> pa.Array:
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    values = np.concatenate(arrays)
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind.value_type))


def _arrays(column: pa.ListArray) -> list[NDArray[Any]]:
    """Returns copies: a view keeps its whole batch, and cannot be written to."""
    values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
    return [values[a:b].copy() for a, b in pairwise(offsets)]


def _check_lengths(
    rewards: NDArray[Any],
    versions: NDArray[Any],
    ends: NDArray[Any],
    starts: NDArray[Any],
    turns: NDArray[Any],
    tokens: NDArray[Any],
    logprobs: NDArray[Any],
) -> None:
    if not len(turns) == len(tokens) == len(logprobs) or len(versions) != len(ends):
        raise ValueError("numbers of tokens or turns differ")
    if ends.max(initial=-1) >= len(tokens) or turns.max(initial=-1) >= len(ends):
        raise ValueError("turns beyond its tokens")
    if len(tokens) and (not len(starts) or starts[0] != 0):
        raise ValueError("its first sequence does not begin with its first token")
    if np.any(np.diff(starts) <= 0) or starts.max(initial=-1) >= len(tokens):
        raise ValueError("sequences out of order, or beyond its tokens")


def _escaped(text: str | None) -> str | None:
    return None if text is None else escape_text(text)


def _turn(turn: TurnRecord) -> dict[str, Any]:
    return {
        "response": escape_text(turn.response),
        "program": _escaped(turn.program),
        "public_verdicts": turn.public_verdicts,
        "feedback": _escaped(turn.feedback),
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
    }


def _record(row: dict[str, Any]) -> EpisodeRecord:
    verdict = row["final_verdict"]
    verdicts = [tuple(map(Verdict, turn["public_verdicts"])) for turn in row["turns"]]
    return EpisodeRecord(
        problem=row["problem"],
        family=row["family"],
        hidden_detail=row["hidden_detail"],
        turns=tuple(
            TurnRecord(**{**turn, "public_verdicts": verdict})
            for turn, verdict in zip(row["turns"], verdicts, strict=True)
        ),
        stop=StopReason(row["stop"]),
        solved=row["solved"],
        final_verdict=None if verdict is None else Verdict(verdict),
        passed_share=row["passed_share"],
        blind=row["blind"],
    )
