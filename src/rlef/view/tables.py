"""What is known of every episode of a stage: outcomes in narrow columns, and texts to search in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rlef.run.training import escape_text
from rlef.view.database import Database

OUTCOMES = pa.schema(
    {
        "row": pa.int64(),
        "place": pa.int64(),
        "size": pa.int64(),
        "batch": pa.int32(),
        "status": pa.string(),
        "problem": pa.string(),
        "problem_hash": pa.string(),
        "family": pa.string(),
        "hidden_detail": pa.string(),
        "turns": pa.int32(),
        "verdicts": pa.list_(pa.string()),
        "solved": pa.bool_(),
        "final_verdict": pa.string(),
        "stop": pa.string(),
        "blind": pa.bool_(),
        "reward": pa.float64(),
        "tokens": pa.int64(),
    }
)
"""An episode. ``row`` names it in links: the index of its request in training, else the number of
its line from 0. ``place`` orders rows as they stand in the files, and says where: batch and row in
it, or the byte that its line begins at, ``size`` bytes long. ``verdicts``: of each turn, AC or that
of the first public test that failed, or "none" where there was no program. Texts are escaped as in
the files of batches."""

TEXTS = pa.schema({"row": pa.int64(), "text": pa.large_string()})
"""All that was written in an episode, in one text; programs only where no response has them."""

BATCH_BITS = 32
PENDING = 2**30
"""Stands for the batch of rollouts that are in none, in ``place``."""
OUTCOME_COLUMNS = [
    *("index", "status", "problem", "family", "hidden_detail", "stop", "solved"),
    *("final_verdict", "blind", "rewards"),
    "turns.list.element.public_verdicts.list.element",
    "turns.list.element.completion_tokens",
]
"""Of a batch's file, by their paths in Parquet."""
TEXT_COLUMNS = ["index", *(f"turns.list.element.{n}" for n in ("response", "program", "feedback"))]

_BETWEEN = "\U0010ffff|"
"""Between the texts of an episode, so that nothing is found across two of them: in a text that is
escaped, such as what is searched for, six digits follow that character."""
_TEXTS_OF_BATCHES = f"""
SELECT index AS row, array_to_string(list_transform(turns, lambda t: concat_ws(
  '{_BETWEEN}', t.response,
  CASE WHEN NOT contains(t.response, t.program) THEN t.program END, t.feedback)),
  '{_BETWEEN}') AS text
FROM batches
"""


def outcomes_of_batches(batches: pa.Table) -> pa.Table:
    """Outcomes of ``OUTCOME_COLUMNS`` and of where a row is: ``file``, ``number``.

    Args:
        batches: ``file`` is the number of the row's batch, or ``PENDING``.
    """
    table = batches.combine_chunks()
    turns, rewards = (_chunk(table[name]) for name in ("turns", "rewards"))
    starts, of_turn = _numbers(turns.offsets), turns.flatten()
    tokens = of_turn.field("completion_tokens")
    files = _numbers(table["file"])
    columns = {
        "row": table["index"],
        "place": (files << BATCH_BITS) + _numbers(table["number"]),
        "size": np.zeros(len(table), np.int64),
        "batch": pa.array(files, pa.int64(), mask=files >= PENDING),
        "problem_hash": pa.nulls(len(table)),
        "turns": np.diff(starts),
        "verdicts": pa.ListArray.from_arrays(
            pa.array(starts - starts[0], pa.int32()), _outcomes(of_turn.field("public_verdicts"))
        ),
        "reward": _sums(_numbers(rewards.offsets), _numbers(rewards.flatten())),
        "tokens": pa.array(
            _sums(starts, _numbers(pc.fill_null(tokens, 0))),
            mask=_sums(starts, _numbers(pc.is_null(tokens))) > 0,
        ),
    }
    named = [columns[name] if name in columns else table[name] for name in OUTCOMES.names]
    return pa.table(named, OUTCOMES.names).cast(OUTCOMES)


def _outcomes(verdicts: pa.ListArray) -> pa.StringArray:
    """``turn_outcome`` of each turn."""
    starts, values = _numbers(verdicts.offsets), verdicts.flatten()
    starts = starts - starts[0]
    failed = np.flatnonzero(_numbers(pc.not_equal(values, "AC")))
    nearest = np.append(failed, len(values))[np.searchsorted(failed, starts[:-1])]
    found = values.take(pa.array(nearest, mask=nearest >= starts[1:]))
    passed = pa.array(np.where(np.diff(starts) > 0, "AC", "none"), pa.string())
    return pc.coalesce(found, passed)


def _sums(starts: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of values between one start and the next, 0 of none; each by itself, so exact ones."""
    sums = np.zeros(len(starts) - 1)
    has_some = np.diff(starts) > 0
    if has_some.any():
        begins = (starts[:-1] - starts[0])[has_some]
        sums[has_some] = np.add.reduceat(values.astype(np.float64), begins)
    return sums


def _chunk(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _numbers(values: Any) -> NDArray[Any]:
    found: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


def texts_of_batches(database: Database, batches: pa.Table) -> pa.Table:
    """Texts of ``TEXT_COLUMNS``."""
    return database.table(_TEXTS_OF_BATCHES, batches=batches).cast(TEXTS)


def outcome_of_line(record: Mapping[str, Any], row: int, place: int, size: int) -> tuple[Any, ...]:
    """A row of ``OUTCOMES`` of an evaluation's line.

    Raises:
        KeyError, TypeError, ValueError: It is no line of an evaluation.
    """
    turns = record["turns"]
    counts = [turn["completion_tokens"] for turn in turns]
    return (
        *(row, place, size, None, "evaluated", escape_text(record["problem"])),
        record.get("problem_hash"),
        *(_escaped(record[name]) for name in ("family", "hidden_detail")),
        *(len(turns), [turn_outcome(turn["public_verdicts"]) for turn in turns]),
        *(record[name] for name in ("solved", "final_verdict", "stop", "blind")),
        *(None, None if None in counts else sum(counts)),
    )


def text_of_line(record: Mapping[str, Any]) -> str:
    """The text of ``TEXTS`` of an evaluation's line."""
    parts = []
    for turn in record["turns"]:
        parts.append(turn["response"])
        if turn["program"] is not None and turn["program"] not in turn["response"]:
            parts.append(turn["program"])
        if turn["feedback"] is not None:
            parts.append(turn["feedback"])
    return _BETWEEN.join(map(escape_text, parts))


def turn_outcome(verdicts: Sequence[str]) -> str:
    """AC or the first other verdict of a turn's public tests; "none" where there was no program."""
    return next((v for v in verdicts if v != "AC"), "AC") if verdicts else "none"


def _escaped(text: str | None) -> str | None:
    return None if text is None else escape_text(text)
