"""What is known of every episode of a stage: outcomes in narrow columns, and texts to search in."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

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
_OF_BATCHES = f"""
SELECT index AS row, (file << {BATCH_BITS}) + number AS place, 0 AS size,
  CASE WHEN file < {PENDING} THEN file END AS batch, status, problem, NULL AS problem_hash,
  family, hidden_detail, len(turns) AS turns,
  list_transform(turns, lambda t: CASE WHEN len(t.public_verdicts) = 0 THEN 'none'
    ELSE coalesce(list_filter(t.public_verdicts, lambda v: v != 'AC')[1], 'AC') END) AS verdicts,
  solved, final_verdict, stop, blind, coalesce(list_sum(rewards::DOUBLE[]), 0) AS reward,
  list_sum(list_transform(turns, lambda t: t.completion_tokens)) AS tokens
FROM batches ORDER BY place
"""
_TEXTS_OF_BATCHES = f"""
SELECT index AS row, array_to_string(list_transform(turns, lambda t: concat_ws(
  '{_BETWEEN}', t.response,
  CASE WHEN NOT contains(t.response, t.program) THEN t.program END, t.feedback)),
  '{_BETWEEN}') AS text
FROM batches
"""


def outcomes_of_batches(database: Database, batches: pa.Table) -> pa.Table:
    """Outcomes of ``OUTCOME_COLUMNS`` and of where a row is: ``file``, ``number``."""
    return database.table(_OF_BATCHES, batches=batches).cast(OUTCOMES)


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
