"""Programs of a data set whose values are expected values: named here, run by who loads.

EvalPlus, and the loops in a few checks of HumanEval, define what is expected by what their own
solutions return. This layer runs no program; ``rlef.curation.expected`` does.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rlef.problems.odd import OddRows
from rlef.problems.records import Record

RESULT = "rlef_result"
"""Name of the function without arguments whose value is wanted."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A program that defines ``rlef_result``, and the row and field that it is from."""

    record: Record
    field: str
    program: str


RunReferences = Callable[[Sequence[Reference], OddRows], list[list[Any] | None]]
"""Returns what ``rlef_result()`` of each program returns; ``None``: the row is left out."""


def run_in_sandbox(references: Sequence[Reference], odd: OddRows) -> list[list[Any] | None]:
    """Runs programs where the installed package does, found by name when there are any."""
    if not references:
        return []
    run = cast(RunReferences, pkgutil.resolve_name("rlef.curation.expected:run_references"))
    return run(references, odd)
