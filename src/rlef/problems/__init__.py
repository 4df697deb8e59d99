"""Problems: types, loaders, and the generator of the mini problem set."""

from rlef.problems.errors import ProblemError
from rlef.problems.jsonl import write_jsonl
from rlef.problems.load import load_problems
from rlef.problems.programs import full_program
from rlef.problems.types import Mode, Problem, PublicProblem, Test

__all__ = [
    "Mode",
    "Problem",
    "ProblemError",
    "PublicProblem",
    "Test",
    "full_program",
    "load_problems",
    "write_jsonl",
]
