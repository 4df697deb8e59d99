"""Which episodes of a stage there are: filtered, sorted, counted."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import pyarrow as pa

from rlef.run.training import escape_text, unescaped
from rlef.view.errors import ViewError
from rlef.view.numbers import OUTCOME
from rlef.view.runs import Run, Stage
from rlef.view.tables import small_letters

LIMIT = 1000
"""Most rows of one answer."""
_SORTS = {
    "row": "place",
    "place": "place",
    "index": "row",
    "batch": "batch",
    "update": "batch",
    **{name: name for name in ("problem", "turns", "solved", "stop", "reward", "tokens")},
    **{name: name for name in ("final_verdict", "family", "status")},
    "repaired": "repaired",
    "verdicts": "verdicts",
}
_REPAIRED = "(solved AND turns > 1 AND NOT blind)"
_RATES = """
SELECT problem, avg(solved::INT) AS rate FROM {table}
WHERE stop != 'infra_error' AND status != 'too_old' GROUP BY problem
"""
_SEARCHES = 16
"""Searches whose hits are kept, for the next page of the same."""


class _Clause(NamedTuple):
    sql: str
    values: tuple[Any, ...] = ()


class Episodes:
    """Answers questions about lists of episodes."""

    def __init__(self) -> None:
        self._hits: OrderedDict[tuple[int, str], tuple[pa.Table, pa.Table]] = OrderedDict()
        self._prepared: WeakSet[Stage] = WeakSet()
        self._lock = threading.Lock()

    def page(self, run: Run, stage: Stage, words: Mapping[str, str]) -> dict[str, Any]:
        """Some episodes of a stage: ``/api/episodes``.

        Args:
            run: The run.
            stage: A stage of it.
            words: The request's, see ``docs/viewer.md``.

        Raises:
            ViewError: A word is wrong.
        """
        table = stage.outcomes()
        tables = {"outcomes": table}
        self._prepare(stage)
        where, values = self._where(run, stage, table, words, tables)
        offset, limit = integer(words, "offset", 0), integer(words, "limit", 100)
        if offset < 0:
            raise ViewError(400, f"offset is {offset}; allowed: 0 or more")
        if not 0 <= limit <= LIMIT:
            raise ViewError(400, f"limit is {limit}; allowed: 0 to {LIMIT}")
        sort = words.get("sort") or "row"
        if sort not in _SORTS:
            raise ViewError(400, f"sort is {sort!r}; allowed: {', '.join(_SORTS)}")
        down = "DESC" if flag(words, "desc") else "ASC"
        database = run.database
        (total,) = database.rows(f"SELECT count(*) FROM outcomes{where}", values, **tables)[0]
        rows = database.table(
            f"SELECT *, {_REPAIRED} AS repaired, {OUTCOME} AS outcome FROM outcomes{where} "
            f"ORDER BY {_SORTS[sort]} {down} NULLS LAST, place {down} "
            f"LIMIT {limit} OFFSET {offset}",
            values,
            **tables,
        )
        per_batch = updates_per_batch(run)
        return {"total": total, "rows": [_row(r, per_batch) for r in unescaped(rows.to_pylist())]}

    def rows(self, run: Run, stage: Stage, names: Sequence[int]) -> list[dict[str, Any]]:
        """The same of some episodes, by their ``row``, in the order of the files."""
        found = run.database.table(
            f"SELECT *, {_REPAIRED} AS repaired, {OUTCOME} AS outcome FROM outcomes "
            "WHERE list_contains(?, row) ORDER BY place",
            [list(names)],
            outcomes=stage.outcomes(),
        )
        per_batch = updates_per_batch(run)
        return [_row(row, per_batch) for row in unescaped(found.to_pylist())]

    def _prepare(self, stage: Stage) -> None:
        """Begins to read the texts of a stage that is looked at: the first search needs them."""
        with self._lock:
            is_known = stage in self._prepared
            self._prepared.add(stage)
        if not is_known:
            threading.Thread(target=stage.texts, daemon=True).start()

    def _where(
        self,
        run: Run,
        stage: Stage,
        table: pa.Table,
        words: Mapping[str, str],
        tables: dict[str, pa.Table],
    ) -> tuple[str, list[Any]]:
        clauses = list(_plain_clauses(words))
        if words.get("text"):
            tables["hits"] = self._search(run, stage, table, words["text"])
            clauses.append(_Clause("row IN (SELECT row FROM hits)"))
        if words.get("changed_from"):
            tables["changed"] = _changed(run, table, words)
            clauses.append(_Clause("problem IN (SELECT problem FROM changed)"))
        if not clauses:
            return "", []
        values = [value for clause in clauses for value in clause.values]
        return " WHERE " + " AND ".join(clause.sql for clause in clauses), values

    def _search(self, run: Run, stage: Stage, table: pa.Table, text: str) -> pa.Table:
        """Rows of a stage in which a text stands."""
        key = (id(table), text)  # the table is kept beside its hits, so no other gets its id
        with self._lock:
            if key in self._hits:
                self._hits.move_to_end(key)
                return self._hits[key][1]
        query = "SELECT row FROM texts WHERE contains(text, ?)"
        found = run.database.table(query, [small_letters(text)], texts=stage.texts())
        with self._lock:
            self._hits[key] = (table, found)
            while len(self._hits) > _SEARCHES:
                self._hits.popitem(last=False)
        return found


def _plain_clauses(words: Mapping[str, str]) -> list[_Clause]:
    clauses = []
    if words.get("problem"):
        clauses.append(_Clause("contains(lower(problem), ?)", (small_letters(words["problem"]),)))
    verdict, turn = words.get("verdict"), words.get("turn")
    if turn and integer(words, "turn", 1) < 1:
        raise ViewError(400, f"turn is {turn}; allowed: 1 or more")
    if verdict and turn:
        clauses.append(_Clause("verdicts[?::BIGINT] = ?", (integer(words, "turn", 1), verdict)))
    elif verdict:
        clauses.append(_Clause("list_contains(verdicts, ?)", (verdict,)))
    elif turn:
        clauses.append(_Clause("turns >= ?", (integer(words, "turn", 1),)))
    for name, sql in (("solved", "solved"), ("repaired", _REPAIRED)):
        if words.get(name):
            clauses.append(_Clause(sql if flag(words, name) else f"NOT {sql}"))
    for name, sql in (
        ("min_reward", "reward >= ?"),
        ("max_reward", "reward <= ?"),
        ("from", "batch >= ?"),
        ("to", "batch <= ?"),
    ):
        if words.get(name):
            clauses.append(_Clause(sql, (number(words, name),)))
    columns = {"stop": "stop", "status": "status", "problem_is": "problem", "family": "family"}
    for name, column in columns.items():
        if words.get(name):
            clauses.append(_Clause(f"{column} = ?", (escape_text(words[name]),)))
    return clauses


def _changed(run: Run, table: pa.Table, words: Mapping[str, str]) -> pa.Table:
    """Problems whose solve rate differs between another stage and this one."""
    other = run.stage(words["changed_from"]).outcomes()
    signs = {"": "!=", "gained": ">", "lost": "<"}
    direction = words.get("direction") or ""
    if direction not in signs:
        raise ViewError(400, f"direction is {direction!r}; allowed: gained, lost")
    return run.database.table(
        f"SELECT here.problem FROM ({_RATES.format(table='this')}) AS here "
        f"JOIN ({_RATES.format(table='other')}) AS there USING (problem) "
        f"WHERE here.rate {signs[direction]} there.rate",
        this=table,
        other=other,
    )


def updates_per_batch(run: Run) -> int | None:
    """Optimizer steps on each batch of a training; ``None`` where its config does not say."""
    options = run.options()
    try:
        learner = options["learner"]
        passes = int(learner.get("epochs", 1))
        return int(options["rollout"]["batch"]) // int(learner["minibatch"]) * passes
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _row(row: dict[str, Any], per_batch: int | None) -> dict[str, Any]:
    batch = row["batch"]
    is_training = row["status"] != "evaluated"
    return {
        "row": row["row"],
        "index": row["row"] if is_training else None,
        "update": None if batch is None or per_batch is None else (batch + 1) * per_batch,
        **{name: row[name] for name in ("batch", "problem", "family", "hidden_detail", "turns")},
        **{name: row[name] for name in ("verdicts", "solved", "final_verdict", "stop", "status")},
        **{name: row[name] for name in ("outcome", "reward", "tokens", "repaired")},
    }


def integer(words: Mapping[str, str], name: str, default: int) -> int:
    """A whole number of a request.

    Raises:
        ViewError: It is none.
    """
    text = words.get(name) or str(default)
    try:
        value = int(text)
    except ValueError:
        raise ViewError(400, f"{name} is {text[:40]!r}; allowed: a whole number") from None
    if abs(value) >= 2**62:
        raise ViewError(400, f"{name} is {text[:40]}; allowed: a smaller number")
    return value


def number(words: Mapping[str, str], name: str) -> float:
    """A number of a request.

    Raises:
        ViewError: It is none.
    """
    try:
        return float(words[name])
    except ValueError:
        raise ViewError(400, f"{name} is {words[name][:40]!r}; allowed: a number") from None


def flag(words: Mapping[str, str], name: str) -> bool:
    """Whether a word of a request is 1.

    Raises:
        ViewError: It is neither 1 nor 0.
    """
    text = words.get(name) or "0"
    if text not in ("0", "1"):
        raise ViewError(400, f"{name} is {text[:40]!r}; allowed: 1 or 0")
    return text == "1"
