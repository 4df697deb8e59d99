"""Answers about a run or a study, put together: what its page holds instead of a server.

They are those of the viewer's own server, but for what would make the page too large to be mailed:
long runs are thinned out, and of their episodes some are chosen. What is left out is said.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlef import __version__
from rlef.view.answers import Answers, as_json
from rlef.view.errors import ViewError
from rlef.view.folders import Found

_FINAL = ("eval-after", "eval", "train", "eval-before", "eval-random")
"""Stages that say most of a run first."""
_DIGITS = 6
_TOKEN_DIGITS = 4
_NAMED = 6
_TEXTS = ("prompt", "response", "program", "feedback")
_CHOSEN = """
WITH kinds AS (
  SELECT row, place, problem,
    CASE WHEN solved AND turns > 1 THEN 0 WHEN solved THEN 2 ELSE 1 END AS kind
  FROM outcomes WHERE status != 'too_old' AND stop != 'infra_error'
    AND batch IS NOT DISTINCT FROM (SELECT max(batch) FROM outcomes)),
spread AS (
  SELECT *, row_number() OVER (PARTITION BY kind, problem ORDER BY place) AS nth FROM kinds),
ranked AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY nth, place) AS rank FROM spread)
SELECT row FROM ranked ORDER BY rank, kind LIMIT ?
"""
"""In turn an episode that was repaired, one that failed, one solved at once; of training from the
last batch; each problem once before any stands twice."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a page holds.

    Attributes:
        size: bytes of JSON, about.
        lines: batches that have their numbers in it.
        episodes: at most, over all stages.
        text: longest text of an episode, in characters.
    """

    size: int = 3_000_000
    lines: int = 1000
    episodes: int = 36
    text: int = 20_000

    def shared(self, runs: int) -> "Bounds":
        """The bounds of one of some runs."""
        return replace(
            self,
            size=self.size // runs,
            lines=max(50, self.lines // runs),
            episodes=max(2, self.episodes // runs),
        )


def snapshot(answers: Answers, found: Found, written: float, bounds: Bounds) -> dict[str, Any]:
    """All that the page of a run or a study holds, as JSON values.

    Args:
        answers: Knows the folder.
        found: The run or the study.
        written: When, in seconds since 1970.
        bounds: How much.

    Returns:
        ``home`` (the id of what is shown), ``written``, ``version``; ``answers``: ``path``,
        ``words``, ``ids`` and ``value`` of each; ``lists``: the rows of the episodes that it holds,
        by run and stage, and of how many they are; ``left_out``: lines.

    Raises:
        ViewError: A file cannot be read.
    """
    taken = _Taken(answers)
    if found.kind == "study":
        _add_study(taken, found, bounds)
    else:
        _add_run(taken, found.id, bounds)
    return {
        "home": found.id,
        "written": written,
        "version": __version__,
        "answers": taken.answers,
        "lists": taken.lists,
        "left_out": list(dict.fromkeys(taken.left_out)),
    }


class _Taken:
    """What a page holds so far."""

    def __init__(self, answers: Answers) -> None:
        self.source = answers
        self.answers: list[dict[str, Any]] = []
        self.lists: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.size = 0

    def ask(self, path: str, ids: Sequence[str], **words: str) -> Any:
        names = {"first": "from", "last": "to"}
        return self.source.ask(path, {names.get(k, k): v for k, v in words.items()}, ids)

    def put(self, path: str, ids: Sequence[str], value: Any, **words: str) -> int:
        """Adds an answer. Returns its size in bytes."""
        names = {"first": "from", "last": "to"}
        words = {names.get(key, key): word for key, word in words.items()}
        value = _rounded(value, _DIGITS)
        self.answers.append({"path": path, "words": words, "ids": list(ids), "value": value})
        size = len(as_json(value))
        self.size += size
        return size

    def add(self, path: str, ids: Sequence[str], **words: str) -> Any:
        """Asks, and adds the answer."""
        value = self.ask(path, ids, **words)
        self.put(path, ids, value, **words)
        return value


def _add_study(taken: _Taken, found: Found, bounds: Bounds) -> None:
    members: list[str] = taken.add("run", [found.id])["runs"]
    entries = [one for one in taken.ask("runs", [])["runs"] if one["id"] in members]
    taken.put("runs", [], {"runs": entries})
    for one in entries:
        if one["state"] == "damaged":
            taken.left_out.append(f"{one['name']}, which is damaged: {one['note']}")
    kinds = {one["id"]: one["kind"] for one in entries if one["state"] != "damaged"}
    trainings = [run_id for run_id in members if kinds.get(run_id) == "training"]
    if len(trainings) > 1:
        taken.add("compare", trainings)
        taken.add("settings", trainings)
    for run_id in kinds:
        try:
            _add_run(taken, run_id, bounds.shared(len(kinds)))
        except ViewError as error:
            taken.left_out.append(f"what else is in {run_id}: {error}")


def _add_run(taken: _Taken, run_id: str, bounds: Bounds) -> None:
    first, ids = taken.size, [run_id]
    about = taken.add("run", ids)
    _add_lines(taken, run_id, bounds.lines)
    names = [stage["name"] for stage in about["stages"] if stage["episodes"]]
    names.sort(key=lambda name: _FINAL.index(name) if name in _FINAL else len(_FINAL))
    for name in names:
        taken.add("transitions", ids, stage=name)
    taken.add("changes", ids)
    without = []
    for name in names:
        rows = taken.ask("problems", ids, stage=name)
        if taken.size - first + len(as_json(rows)) > bounds.size // 2:
            without.append(name)
        else:
            taken.put("problems", ids, rows, stage=name)
    _leave_out(taken, "problems", without)
    shown = names[:1] if "train" not in names[1:] else [names[0], "train"]
    for number, name in enumerate(shown, start=1):
        share = bounds.episodes // len(shown)
        room = first + bounds.size * (1 + number) // (1 + len(shown)) - taken.size
        _add_episodes(taken, run_id, name, replace(bounds, episodes=share, size=room))
    _leave_out(taken, "episodes", [name for name in names if name not in shown])


def _leave_out(taken: _Taken, what: str, names: Sequence[str]) -> None:
    if names:
        rest = f" and {len(names) - _NAMED} other stages" if len(names) > _NAMED else ""
        taken.left_out.append(f"{what} of {', '.join(names[:_NAMED])}{rest}")


def _add_lines(taken: _Taken, run_id: str, most: int) -> None:
    """Adds what is known of each batch."""
    metrics = taken.ask("metrics", [run_id], after="0")
    every = _stride(metrics["next"], most)
    if every > 1:
        taken.left_out.append(f"numbers of batches but for every {every}th")
    columns = {name: _thinned(values, every) for name, values in metrics["columns"].items()}
    length = len(_thinned(range(metrics["next"]), every))
    taken.put("metrics", [run_id], {"columns": columns, "next": length}, after="0")
    mix = taken.ask("verdicts", [run_id])
    every = _stride(len(mix["batches"]), most)
    batches = _thinned(mix["batches"], every)
    series = {name: _thinned(values, every) for name, values in mix["series"].items()}
    taken.put("verdicts", [run_id], {"batches": batches, "series": series})
    if len(batches) > 3:  # the page asks for the first and the last tenth, see run-turns.tsx
        tenth = max(1, math.floor(len(batches) / 10 + 0.5))
        for part in (batches[:tenth], batches[-tenth:]):
            first, last = str(part[0]), str(part[-1])
            taken.add("transitions", [run_id], stage="train", first=first, last=last)


def _add_episodes(taken: _Taken, run_id: str, name: str, bounds: Bounds) -> None:
    """Adds episodes of a stage as long as there is room, then the tokens of some."""
    run = taken.source.library.run(run_id)
    stage = run.stage(name)
    chosen = run.database.rows(_CHOSEN, [bounds.episodes], outcomes=stage.outcomes())
    room, kept, tokens = bounds.size, dict[int, Any](), dict[int, list[Any]]()
    for (row,) in chosen:
        value = _shortened(taken.ask("episode", [run_id], stage=name, row=str(row)), bounds.text)
        tokens[row] = [_compact(turn.pop("tokens")) for turn in value["turns"]]
        for turn in value["turns"]:
            turn["tokens"] = None
        room -= len(as_json(value))
        if room < 0:
            break
        kept[row] = value
    without = 0
    for row, value in kept.items():
        room -= len(as_json(tokens[row]))
        if room < 0:
            without += 1
            continue
        for turn, of_turn in zip(value["turns"], tokens[row], strict=True):
            turn["tokens"] = of_turn
    if without:
        taken.left_out.append(f"tokens of {without} episodes of {name}")
    rows = taken.source.episodes.rows(run, stage, list(kept))
    order = [row["row"] for row in rows]
    for place, row in enumerate(order):
        value = kept[row]
        value["previous_row"] = order[place - 1] if place else None
        value["next_row"] = order[place + 1] if place + 1 < len(order) else None
        taken.put("episode", [run_id], value, stage=name, row=str(row))
    taken.lists.append({"id": run_id, "stage": name, "rows": rows, "of": len(stage.outcomes())})


def _stride(count: int, most: int) -> int:
    return max(1, -(-count // most))


def _thinned(values: Sequence[Any], every: int) -> list[Any]:
    """Every so many of the values, the last one among them."""
    return list(values[(len(values) - 1) % every :: every]) if values else []


def _rounded(value: Any, digits: int) -> Any:
    """The value with so many significant digits in its numbers."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item, digits) for item in value]
    return value


def _compact(tokens: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    """Tokens in columns: a third of the size. Those without ``logprob`` were not sampled."""
    if tokens is None:
        return None
    found: dict[str, Any] = {"text": [token["text"] for token in tokens]}
    for name in ("logprob", "policy_logprob", "ref_logprob"):
        values = [token[name] for token in tokens]
        is_known = any(value is not None for value in values)
        found[name] = _rounded(values, _TOKEN_DIGITS) if is_known else None
    return found


def _shortened(episode: dict[str, Any], limit: int) -> dict[str, Any]:
    """The episode without the middle of its long texts, which is noted as ``episode`` does."""
    _cut(episode, ("statement",), episode["cut"], limit)
    for turn in episode["turns"]:
        _cut(turn, _TEXTS, turn["cut"], limit)
        for test in turn["public_tests"] or ():
            _cut(test, ("input", "expected", "got", "error"), {}, limit // 4)
    return episode


def _cut(texts: dict[str, Any], names: Sequence[str], cut: dict[str, int], limit: int) -> None:
    side = limit // 2
    for name in names:
        text = texts[name]
        if text is not None and len(text) > limit:
            cut[name] = cut.get(name, 0) + len(text) - 2 * side
            texts[name] = f"{text[:side]}\n…\n{text[-side:]}"
