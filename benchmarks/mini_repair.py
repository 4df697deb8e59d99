"""Mini problems by what their statement leaves out: first answers, repairs, and where they fail.

A program of the mini problems is a body, which computes, and an ending, which prints; the detail
that a statement may leave out is about the ending. So a right body with a wrong ending lacks the
detail, and a wrong body is a mistake of the model's own. One line per way to treat the detail.

usage: python benchmarks/mini_repair.py SPLIT FILE ...
    FILE: lines of an evaluation (RUN/rollouts/eval-after.jsonl, EVAL/rollouts/...jsonl), or batches
    of a training (RUN/rollouts/train/batch-*.parquet); several are taken together
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rlef.problems.mini.generate import Specimen
from rlef.problems.mini.splits import load_specimens


def body(program: str | None) -> tuple[str, ...]:
    return tuple((program or "").splitlines()[1:-1])


def episodes(paths: list[str]) -> Iterator[dict[str, Any]]:
    for path in map(Path, paths):
        if path.suffix == ".parquet":
            yield from pq.read_table(path).to_pylist()
        else:
            yield from map(json.loads, path.read_text().splitlines())


def kinds(specimen: Specimen) -> tuple[str, ...]:
    if specimen.disclosure != "hidden":
        return "all", "nothing left out", specimen.disclosure
    return "all", "left out", f"left out: {specimen.problem.hidden_detail}"


def count(found: Counter[str], episode: Mapping[str, Any], specimen: Specimen) -> None:
    turns, solved = episode["turns"], bool(episode["solved"])
    known = {body(program) for program in specimen.programs}
    first = body(turns[0]["program"]) in known
    found["n"] += 1
    found["solved"] += solved
    found["solved at turn 1"] += solved and len(turns) == 1
    found["first body"] += first
    found["first body, solved"] += first and solved
    found["mended"] += solved and not first
    if len(turns) > 1:
        second = body(turns[1]["program"]) in known
        found["second"] += 1
        found["second body"] += second
        found["second body, solved"] += second and solved and len(turns) == 2
        found["same"] += turns[0]["program"] == turns[1]["program"]


def main() -> None:
    split, *paths = sys.argv[1:]
    specimens = {specimen.problem.name: specimen for specimen in load_specimens(split)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for episode in episodes(paths):
        specimen = specimens[episode["problem"]]
        for kind in kinds(specimen):
            count(counts[kind], episode, specimen)
    print("kind | n | solved | at turn 1 | first body right | of these, solved | of others, solved")
    print("    | second body right | of these, solved at turn 2 | second program the same; in %")
    for kind, found in sorted(counts.items(), key=lambda item: -item[1]["n"]):
        others = found["n"] - found["first body"]
        pairs = (
            (found["solved"], found["n"]),
            (found["solved at turn 1"], found["n"]),
            (found["first body"], found["n"]),
            (found["first body, solved"], found["first body"]),
            (found["mended"], others),
            (found["second body"], found["second"]),
            (found["second body, solved"], found["second body"]),
            (found["same"], found["second"]),
        )
        shown = (f"{100 * part / whole:.1f}" if whole else "-" for part, whole in pairs)
        print(f"{kind} | {found['n']} | {' | '.join(shown)}")


if __name__ == "__main__":
    main()
