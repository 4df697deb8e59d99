"""What training changed: its evaluations before and after, problem by problem."""

from typing import Any

from rlef.view.comparing import paired
from rlef.view.runs import Run

_PAIRS = (
    ("eval-before", "eval-after"),
    ("eval-before-also", "eval-after-also"),
    ("eval-random", "eval-after"),
    ("eval-random-also", "eval-after-also"),
)
"""Stages of a training that are set against each other."""


def changes(run: Run) -> dict[str, Any]:
    """Pairs of evaluations of one training: ``/api/changes``."""
    names, notes = run.stage_names(), list[str]()
    pairs = [
        row
        for before, after in _PAIRS
        if before in names and after in names
        for row in paired(run, run.stage(before), run, run.stage(after), notes)
    ]
    return {"pairs": pairs, "notes": notes}
