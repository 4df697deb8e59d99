"""What is known of every episode of a stage: outcomes in narrow columns, and texts to search in."""

from collections.abc import Sequence
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
"""All that was written in an episode, in one text of small letters; programs only where no response
has them."""

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

BETWEEN = "\U0010ffff|"
"""Between the texts of an episode, so that nothing is found across two of them: in a text that is
escaped, such as what is searched for, six digits follow that character."""


def text_sql(turns: str) -> str:
    """SQL that makes the text of ``TEXTS`` of a list of turns."""
    return f"""lower(array_to_string(list_transform({turns}, lambda t: concat_ws('{BETWEEN}',
  t.response, CASE WHEN NOT contains(t.response, t.program) THEN t.program END, t.feedback)),
  '{BETWEEN}'))"""


_TEXTS_OF_BATCHES = f"SELECT index AS row, {text_sql('turns')} AS text FROM batches"


def small_letters(text: str) -> str:
    """A text as ``TEXTS`` has it: escaped, in small letters."""
    found: str = pc.utf8_lower(pa.scalar(escape_text(text))).as_py()
    return found


def lowered(texts: pa.Table) -> pa.Table:
    """``TEXTS`` in small letters, sign by sign, as the database makes them."""
    return texts.set_column(1, "text", pc.utf8_lower(texts["text"]))


def outcomes_of_batches(batches: pa.Table) -> pa.Table:
    """Outcomes of ``OUTCOME_COLUMNS`` and of where a row is: ``file``, ``number``.

    Args:
        batches: ``file`` is the number of the row's batch, or ``PENDING``.
    """
    table = batches.combine_chunks()
    turns, rewards = (_chunk(table[name]) for name in ("turns", "rewards"))
    starts, of_turn = _numbers(turns.offsets), turns.flatten()
    files = _numbers(table["file"])
    columns = {
        "row": table["index"],
        "place": (files << BATCH_BITS) + _numbers(table["number"]),
        "size": np.zeros(len(table), np.int64),
        "batch": pa.array(files, pa.int64(), mask=files >= PENDING),
        "problem_hash": pa.nulls(len(table)),
        "turns": np.diff(starts),
        "verdicts": turn_outcomes(starts, of_turn.field("public_verdicts")),
        "reward": _sums(_numbers(rewards.offsets), _numbers(rewards.flatten())),
        "tokens": sums_of_turns(starts, of_turn.field("completion_tokens")),
    }
    named = [columns[name] if name in columns else table[name] for name in OUTCOMES.names]
    return pa.table(named, OUTCOMES.names).cast(OUTCOMES)


def turn_outcomes(of_episode: NDArray[Any], verdicts: pa.ListArray) -> pa.ListArray:
    """``turn_outcome`` of each turn, by episode.

    Args:
        of_episode: Where the turns of each episode begin, and behind the last one.
        verdicts: Of each turn.
    """
    places = pa.array(of_episode - of_episode[0], pa.int32())
    return pa.ListArray.from_arrays(places, _outcomes(verdicts))


def sums_of_turns(of_episode: NDArray[Any], values: pa.Array) -> pa.Array:
    """Sums over the turns of each episode; null where one is.

    Args:
        of_episode: As ``turn_outcomes``.
        values: Of each turn.
    """
    known = _sums(of_episode, _numbers(pc.fill_null(values, 0)))
    return pa.array(known, mask=_sums(of_episode, _numbers(pc.is_null(values))) > 0)


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


def turn_outcome(verdicts: Sequence[str]) -> str:
    """AC or the first other verdict of a turn's public tests; "none" where there was no program."""
    return next((v for v in verdicts if v != "AC"), "AC") if verdicts else "none"
