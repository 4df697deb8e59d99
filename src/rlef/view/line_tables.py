"""Tables of an evaluation's lines: many lines at once in the database, odd ones each by itself.

Odd is what Python's JSON takes and the database does not: halves of characters, which models write;
and what is damaged.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlef.run.training import escape_text
from rlef.view.database import Database
from rlef.view.tables import (
    BETWEEN,
    OUTCOMES,
    TEXTS,
    lowered,
    sums_of_turns,
    text_sql,
    turn_outcome,
    turn_outcomes,
)

_AT_ONCE = 256
"""Lines that one thread of the database takes."""
_ODD_ERRORS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_OUTCOME = {
    **dict.fromkeys(("problem", "problem_hash", "family", "hidden_detail"), "VARCHAR"),
    **dict.fromkeys(("stop", "final_verdict"), "VARCHAR"),
    **dict.fromkeys(("solved", "blind"), "BOOLEAN"),
    "turns": [{"public_verdicts": ["VARCHAR"], "completion_tokens": "VARCHAR"}],
}
_TEXT = {"turns": [{"response": "VARCHAR", "program": "VARCHAR", "feedback": "VARCHAR"}]}
_MARK = "chr(1114111)"
"""Texts with it are escaped, see ``rlef.run.training``."""
_OUTCOMES_OF_LINES = f"""
SELECT row, r.*, coalesce(
  r.problem IS NULL OR r.solved IS NULL OR r.stop IS NULL OR r.blind IS NULL OR r.turns IS NULL
  OR contains(concat_ws(' ', r.problem, r.family, r.hidden_detail), {_MARK})
  OR list_bool_or(list_transform(r.turns, lambda t: t.public_verdicts IS NULL
    OR len(t.public_verdicts) > list_count(t.public_verdicts)
    OR (t.completion_tokens IS NOT NULL AND TRY_CAST(t.completion_tokens AS BIGINT) IS NULL))),
  false) AS odd
FROM (SELECT row, TRY(json_transform(line, '{json.dumps(_OUTCOME)}')) AS r FROM lines)
"""
_TEXTS_OF_LINES = f"""
SELECT row, {text_sql("r.turns")} AS text, coalesce(
  r.turns IS NULL OR list_bool_or(list_transform(r.turns, lambda t: t.response IS NULL
    OR contains(concat_ws(' ', t.response, t.program, t.feedback), {_MARK}))), false) AS odd
FROM (SELECT row, TRY(json_transform(line, '{json.dumps(_TEXT)}')) AS r FROM lines)
"""


class Lines(NamedTuple):
    """Lines of a file, and where they stand in it.

    Attributes:
        table: ``row``, ``place``, ``size``, ``line`` with its end.
    """

    table: pa.Table
    start: int
    end: int
    is_ascii: bool


def lines_of(data: bytes, start: int, first_row: int, most: int) -> Lines:
    """Lines of a file.

    Args:
        data: Lines; bytes behind the last whole one are left out. Not copied.
        start: Their place in the file.
        first_row: The number of the first one.
        most: Lines that are taken.
    """
    places = [0]
    while len(places) <= most and (end := data.find(b"\n", places[-1])) >= 0:
        places.append(end + 1)
    offsets = np.array(places, np.int64)
    count = len(places) - 1
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    columns = {
        "row": pa.array(np.arange(first_row, first_row + count)),
        "place": pa.array(offsets[:-1] + start),
        "size": pa.array(np.diff(offsets)),
        "line": pa.Array.from_buffers(pa.large_binary(), count, buffers),
    }
    return Lines(pa.table(columns), start, start + places[-1], data.isascii())


def outcomes_of_lines(database: Database, lines: Lines) -> tuple[pa.Table, list[int]]:
    """``OUTCOMES`` of ``lines_of``, and the rows that are no episodes."""
    found = _parsed(database, _OUTCOMES_OF_LINES, lines)
    if found is None:
        even, odd = OUTCOMES.empty_table(), lines.table
    else:
        even = _outcomes(found.filter(pc.invert(found["odd"])), lines.table)
        odd = lines.table.filter(found["odd"])
    more, damaged = _each(odd, outcome_of_line)
    try:
        rest = _table(more, OUTCOMES)
    except _MISFITS:
        misfits = {found[0] for found in more if not _fits(found)}
        rest = _table([found for found in more if found[0] not in misfits], OUTCOMES)
        damaged = sorted({*damaged, *misfits})
    if not len(rest):
        return even, damaged
    return pa.concat_tables([even, rest]).sort_by("row").combine_chunks(), damaged


_MISFITS = (pa.ArrowException, OverflowError, TypeError, ValueError)


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    fields = zip(columns, schema, strict=True)
    return pa.table([pa.array(column, field.type) for column, field in fields], schema=schema)


def _fits(found: tuple[Any, ...]) -> bool:
    """Whether the values of a line have the types that they should."""
    try:
        _table([found], OUTCOMES)
    except _MISFITS:
        return False
    return True


def texts_of_lines(database: Database, lines: Lines) -> pa.Table:
    """``TEXTS`` of ``lines_of``; of those that are episodes."""
    found = _parsed(database, _TEXTS_OF_LINES, lines)
    if found is None:
        even, odd = TEXTS.empty_table(), lines.table
    else:
        even = found.filter(pc.invert(found["odd"])).select(TEXTS.names).cast(TEXTS)
        odd = lines.table.filter(found["odd"])
    rows, _ = _each(odd, lambda record, row, *_: (row, text_of_line(record)))
    return pa.concat_tables([even, lowered(_table(rows, TEXTS))]).combine_chunks()


def _parsed(database: Database, query: str, lines: Lines) -> pa.Table | None:
    """What the database makes of lines, in their order; ``None``: some are not in ASCII."""
    if not len(lines.table) or not lines.is_ascii:
        return None
    texts = lines.table["line"].chunk(0).view(pa.large_string())
    texts = lines.table.select(["row"]).append_column("line", texts)
    batches = texts.to_batches(max_chunksize=_AT_ONCE)
    return database.table(query, lines=pa.Table.from_batches(batches)).combine_chunks()


def _outcomes(found: pa.Table, lines: pa.Table) -> pa.Table:
    """``OUTCOMES`` of what ``_OUTCOMES_OF_LINES`` gives."""
    rows = pc.index_in(found["row"], value_set=lines["row"])
    turns = _chunk(found["turns"])
    starts, of_turn = turns.offsets.to_numpy(), turns.flatten()
    starts = starts - starts[0]
    columns = {
        "place": lines["place"].take(rows),
        "size": lines["size"].take(rows),
        "batch": pa.nulls(len(found)),
        "status": pa.array(["evaluated"]).take(pa.array(np.zeros(len(found), np.int64))),
        "turns": np.diff(starts),
        "verdicts": turn_outcomes(starts, of_turn.field("public_verdicts")),
        "reward": pa.nulls(len(found)),
        "tokens": sums_of_turns(starts, of_turn.field("completion_tokens").cast(pa.int64())),
    }
    named = [columns[name] if name in columns else found[name] for name in OUTCOMES.names]
    return pa.table(named, OUTCOMES.names).cast(OUTCOMES)


def _each(
    lines: pa.Table, work: Callable[[Mapping[str, Any], int, int, int], tuple[Any, ...]]
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """What is made of lines each by itself, and the rows of those that nothing can be made of."""
    found, damaged = [], []
    for line in lines.to_pylist():
        try:
            record = json.loads(line["line"])
            found.append(work(record, line["row"], line["place"], line["size"]))
        except _ODD_ERRORS:
            damaged.append(line["row"])
    return found, damaged


def _chunk(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def outcome_of_line(record: Mapping[str, Any], row: int, place: int, size: int) -> tuple[Any, ...]:
    """A row of ``OUTCOMES`` of an evaluation's line.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is no line of an evaluation.
    """
    turns = record["turns"]
    counts = [turn["completion_tokens"] for turn in turns]
    text_of_line(record)  # it has its texts, too
    return (
        *(row, place, size, None, "evaluated", escape_text(record["problem"])),
        record.get("problem_hash"),
        *(_escaped(record[name]) for name in ("family", "hidden_detail")),
        *(len(turns), [turn_outcome(turn["public_verdicts"]) for turn in turns]),
        *(record[name] for name in ("solved", "final_verdict", "stop", "blind")),
        *(None, None if None in counts else sum(counts)),
    )


def text_of_line(record: Mapping[str, Any]) -> str:
    """The text of ``TEXTS`` of an evaluation's line, in its own letters."""
    parts = []
    for turn in record["turns"]:
        parts.append(turn["response"])
        if turn["program"] is not None and turn["program"] not in turn["response"]:
            parts.append(turn["program"])
        if turn["feedback"] is not None:
            parts.append(turn["feedback"])
    return BETWEEN.join(map(escape_text, parts))


def _escaped(text: str | None) -> str | None:
    return None if text is None else escape_text(text)
