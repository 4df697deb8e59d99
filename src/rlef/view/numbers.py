"""What the episodes of a stage come to: rates by turn, by problem and by batch."""

from typing import Any

import pyarrow as pa

from rlef.evaluation.bootstrap import DRAWS, bootstrap_interval
from rlef.run import json_value
from rlef.run.training import unescape_text
from rlef.view.database import Database

_COUNTED = "stop != 'infra_error' AND status != 'too_old'"
OUTCOME = "coalesce(final_verdict, verdicts[-1], 'none')"
"""How an episode ended, for one that is not an infrastructure error: its last program's verdict on
all tests, or on the public ones where the others were not run; "none": it has no program."""
_DRAWN = 20_000_000
"""Problems drawn for one interval at most: more would keep a reader waiting."""
ENDS = ("solved", "failed", "unjudged")
"""Nodes after the last turn: by all tests; ``unjudged``: the judge could not do its work."""


def stage_numbers(database: Database, outcomes: pa.Table, turn_limit: int) -> dict[str, Any]:
    """Counts and rates of a stage, as ``rlef.evaluation`` defines them.

    Args:
        database: Works them out.
        outcomes: Of the stage.
        turn_limit: Of its episodes.
    """
    turns = max(turn_limit, _longest(database, outcomes))
    by_problem = problem_rates(database, outcomes, turns)
    rates = {p["problem"]: [p["solve_rate"]] for p in by_problem if p["solve_rate"] is not None}
    draws = max(200, min(DRAWS, _DRAWN // max(1, len(rates))))
    interval = bootstrap_interval(rates, draws=draws)
    (repair,) = database.rows(
        "SELECT CASE WHEN bool_or(blind AND turns > 1) THEN NULL ELSE "
        "sum((solved AND turns > 1)::INT) / nullif(sum(greatest(turns - 1, 0)), 0) END "
        f"FROM outcomes WHERE {_COUNTED}",
        outcomes=outcomes,
    )
    return {
        "episodes": len(outcomes),
        "problems": len(by_problem),
        "solve_rate_by_turn": [
            _mean([problem["by_turn"][k] for problem in by_problem]) for k in range(turns)
        ],
        "solve_rate": json_value(interval.estimate),
        "low": json_value(interval.low),
        "high": json_value(interval.high),
        "repair_rate": repair[0],
        "turn_limit": turns,
    }


def problem_rates(
    database: Database, outcomes: pa.Table, turn_limit: int, other: pa.Table | None = None
) -> list[dict[str, Any]]:
    """The rows of ``/api/problems``, by name.

    Args:
        database: Works them out.
        outcomes: Of the stage.
        turn_limit: Turns that ``by_turn`` has.
        other: Outcomes of another stage, for ``other_rate``.
    """
    turns = max(turn_limit, _longest(database, outcomes))
    by_turn = ", ".join(
        f"CASE WHEN bool_or(blind AND turns > {k}) THEN NULL "
        f"ELSE avg((solved AND turns <= {k})::INT) END"
        for k in range(1, turns + 1)
    )
    found = database.rows(
        f"SELECT problem, any_value(family), any_value(hidden_detail), count(*), "
        f"avg(solved::INT), [{by_turn}] FROM outcomes WHERE {_COUNTED} GROUP BY problem "
        "ORDER BY problem",
        outcomes=outcomes,
    )
    there: dict[str, float] = {}
    if other is not None:
        query = f"SELECT problem, avg(solved::INT) FROM o WHERE {_COUNTED} GROUP BY problem"
        there = dict(database.rows(query, o=other))
    return [
        {
            "problem": unescape_text(problem),
            "family": None if family is None else unescape_text(family),
            "hidden_detail": None if detail is None else unescape_text(detail),
            "episodes": episodes,
            "solve_rate": rate,
            "turn_1": rates[0],
            "by_turn": rates,
            "other_rate": there.get(problem),
        }
        for problem, family, detail, episodes, rate, rates in found
    ]


def transitions(
    database: Database, outcomes: pa.Table, first: int | None, last: int | None
) -> dict[str, Any]:
    """How verdicts follow each other: ``/api/transitions``.

    Args:
        database: Works it out.
        outcomes: Of the stage.
        first: Batches from here on; ``None``: all, as are episodes of no batch.
        last: Batches up to here.
    """
    clauses = ["status != 'too_old'"]
    clauses += [] if first is None else [f"batch >= {int(first)}"]
    clauses += [] if last is None else [f"batch <= {int(last)}"]
    found = database.rows(
        "WITH chosen AS (SELECT verdicts, turns, CASE WHEN stop = 'infra_error' THEN 'unjudged' "
        "WHEN solved THEN 'solved' ELSE 'failed' END AS ended "
        f"FROM outcomes WHERE {' AND '.join(clauses)} AND turns > 0), "
        "steps AS (SELECT unnest(range(1, turns + 1)) AS turn, turns, verdicts, ended FROM chosen) "
        "SELECT turn, verdicts[turn] AS a, "
        "CASE WHEN turn < turns THEN verdicts[turn + 1] ELSE ended END AS b, count(*) "
        "FROM steps GROUP BY ALL ORDER BY turn, a, b",
        outcomes=outcomes,
    )
    turns = max((turn for turn, *_ in found), default=0)
    links = [{"turn": int(turn), "from": a, "to": b, "count": count} for turn, a, b, count in found]
    nodes = {(link["turn"], link["from"]) for link in links}
    nodes |= {(turns + 1, link["to"]) for link in links if link["to"] in ENDS}
    return {
        "nodes": [{"turn": turn, "outcome": outcome} for turn, outcome in sorted(nodes)],
        "links": links,
    }


def verdict_mix(database: Database, outcomes: pa.Table) -> dict[str, Any]:
    """How episodes of each batch ended: ``/api/verdicts``; each batch adds to 1.

    Names as in ``Statistics.error_types_by_turn``, of the last turn, and "solved"; "IE": the judge
    could not do its work.
    """
    found = database.rows(
        "SELECT batch, CASE WHEN stop = 'infra_error' THEN 'IE' WHEN solved THEN 'solved' "
        "WHEN coalesce(verdicts[-1], 'none') = 'none' THEN 'invalid' "
        "WHEN verdicts[-1] = 'AC' THEN 'private' ELSE verdicts[-1] END AS outcome, count(*) "
        "FROM outcomes WHERE batch IS NOT NULL AND status != 'too_old' "
        "GROUP BY ALL ORDER BY batch, outcome",
        outcomes=outcomes,
    )
    batches = sorted({batch for batch, *_ in found})
    places = {batch: place for place, batch in enumerate(batches)}
    totals = [0] * len(batches)
    for batch, _, count in found:
        totals[places[batch]] += count
    series = {name: [0.0] * len(batches) for name in sorted({name for _, name, _ in found})}
    for batch, name, count in found:
        series[name][places[batch]] = count / totals[places[batch]]
    return {"batches": batches, "series": series}


def _longest(database: Database, outcomes: pa.Table) -> int:
    query = f"SELECT coalesce(max(turns), 0) FROM outcomes WHERE {_COUNTED}"
    return int(database.rows(query, outcomes=outcomes)[0][0])


def _mean(values: list[float | None]) -> float | None:
    """The mean; ``None`` of nothing, and where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
