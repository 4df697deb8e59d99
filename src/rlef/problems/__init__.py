"""Problems: types, loaders, and the generator of the mini problem set."""

from rlef.problems.errors import ProblemError
from rlef.problems.load import load_problems
from rlef.problems.types import Mode, Problem, PublicProblem, Test

__all__ = ["Mode", "Problem", "ProblemError", "PublicProblem", "Test", "load_problems"]
