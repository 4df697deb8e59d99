"""Checks problem sets before they are used: tests, reference programs, limits, duplicates.

Example:
    >>> from rlef.curation import check_problems
    >>> from rlef.problems import Problem, Test
    >>> problem = Problem(name="double", statement="Read n, print 2n.", solutions=("print(4)",),
    ...                   public_tests=(Test("2", "4"),), private_tests=(Test("7", "14"),))
    >>> [finding.kind.value for _, check in check_problems([problem]) for finding in check.findings]
    ['reference-fails']
"""

from rlef.curation.check import check_problems
from rlef.curation.repair import without_duplicates
from rlef.curation.statements import find_duplicates
from rlef.curation.types import (
    Change,
    Finding,
    Kind,
    ProblemCheck,
    ProgramRun,
    Repair,
    Repaired,
    Severity,
)

__all__ = [
    "Change",
    "Finding",
    "Kind",
    "ProblemCheck",
    "ProgramRun",
    "Repair",
    "Repaired",
    "Severity",
    "check_problems",
    "find_duplicates",
    "without_duplicates",
]
