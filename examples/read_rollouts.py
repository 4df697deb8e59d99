"""Read what a model tried in training: verdicts from turn to turn, and a repaired episode.

usage: python examples/read_rollouts.py RUN

With duckdb the same in SQL: SELECT ... FROM 'RUN/rollouts/train/batch-*.parquet'.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pyarrow.compute as pc

from rlef.run import RunFolder
from rlef.run.training import read_training_rollouts


def outcome(turn: Mapping[str, Any]) -> str:
    """AC, the first public verdict that is another, or no program."""
    if turn["program"] is None:
        return "no program"
    return next((verdict for verdict in turn["public_verdicts"] if verdict != "AC"), "AC")


def main(run: RunFolder) -> None:
    table = read_training_rollouts(run, ["batch", "problem", "solved", "turns"])
    table = table.filter(pc.is_valid(table["batch"]))
    by_batch = table.group_by("batch").aggregate([("solved", "mean"), ("solved", "count")])
    for row in by_batch.sort_by("batch").to_pylist():
        print(f"batch {row['batch']}: {row['solved_mean']:.1%} of {row['solved_count']} solved")

    steps: Counter[tuple[str, str]] = Counter()
    repaired = None
    for episode in table.to_pylist():
        outcomes = [outcome(turn) for turn in episode["turns"]]
        steps.update(pairwise(outcomes))
        if episode["solved"] and len(outcomes) > 1:
            repaired = episode
    for (before, after), count in steps.most_common():
        print(f"{before} -> {after}: {count}")

    for turn in repaired["turns"] if repaired else ():
        print(f"--- program\n{turn['program']}\n--- feedback\n{turn['feedback']}")


if __name__ == "__main__":
    main(RunFolder.open(sys.argv[1]))
