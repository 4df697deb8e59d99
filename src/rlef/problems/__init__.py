"""Problems: types, loaders, and the generator of the mini problem set."""

from rlef.problems.types import Mode, Problem, PublicProblem, Test

__all__ = ["Mode", "Problem", "PublicProblem", "Test"]
