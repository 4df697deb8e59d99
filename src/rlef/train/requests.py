"""Which episode comes next: the index of a request decides its problem and its seed."""

from collections.abc import Sequence
from random import Random

from rlef.problems import Problem
from rlef.rollout import EpisodeRequest, derive_seed


class RequestSource:
    """The run's episodes by index: each pass over the problems in a new order.

    Args:
        problems: At least one.
        per_problem: Episodes of a problem that follow one another.
        seed: Of the order and of the episodes.
    """

    def __init__(self, problems: Sequence[Problem], per_problem: int, seed: int) -> None:
        self._problems = problems
        self._per_problem = per_problem
        self._seed = seed
        self._order: tuple[int, list[int]] = (-1, [])

    def request(self, index: int) -> EpisodeRequest:
        """Returns the index-th episode, the same in every process."""
        passes, place = divmod(index // self._per_problem, len(self._problems))
        if self._order[0] != passes:
            order = list(range(len(self._problems)))
            Random(f"train/{self._seed}/{passes}").shuffle(order)
            self._order = passes, order
        return EpisodeRequest(
            problem=self._problems[self._order[1][place]],
            seed=derive_seed(self._seed, "train", index),
        )
