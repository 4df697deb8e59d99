"""Solved answers of a run so far, to learn from again (``learner.replay``).

All of it follows from the rollouts as they are stored, so a run that goes on finds the same.
"""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from rlef.environment import EpisodeRecord
from rlef.environment.reward import passed_public
from rlef.rollout.batch import RolloutBatch
from rlef.rollout.seeds import derive_seed
from rlef.rollout.teacher import behind
from rlef.rollout.types import Rollout


class SolvedAnswers:
    """The newest answers of a run that follow feedback and pass all tests.

    Args:
        newest: How many are kept.
        seed: The run's.
    """

    def __init__(self, newest: int, seed: int) -> None:
        self._kept: deque[Rollout] = deque(maxlen=newest)
        self._seed = seed
        self._next = 0

    def __len__(self) -> int:
        return len(self._kept)

    def see(self, number: int, rollouts_of: Callable[[int], Sequence[Rollout]]) -> None:
        """Comes to hold what a run has after a batch, whatever it held.

        Args:
            number: The batch, from 0.
            rollouts_of: Returns those of a batch up to that one. Where not all before it have been
                seen in turn, it is asked for the newest ones, until there are enough.
        """
        found, start = [solved_answers(rollouts_of(number))], number
        if number != self._next:
            self._kept.clear()
            while start > 0 and sum(map(len, found)) < (self._kept.maxlen or 0):
                start -= 1
                found.append(solved_answers(rollouts_of(start)))
        for answers in reversed(found):
            self._kept.extend(answers)
        self._next = number + 1

    def draw(self, count: int) -> RolloutBatch | None:
        """Draws answers, each once before any comes again; the same after the same batch.

        Args:
            count: How many.

        Returns:
            Rollouts of one turn, each an answer behind its dialogue; ``None`` where none is kept.
        """
        if not self._kept:
            return None
        rng, drawn = Random(derive_seed(self._seed, "replay", self._next)), list[Rollout]()
        while len(drawn) < count:
            drawn += rng.sample(self._kept, min(len(self._kept), count - len(drawn)))
        return RolloutBatch.from_rollouts(drawn, 1)


def solved_answers(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Returns the last answers of solved rollouts in which every program before failed.

    Where nothing is told (``EpisodeRecord.blind``) a program may come again that has passed.
    """
    return [_last_answer(one) for one in rollouts if one.trainable and _is_repaired(one.record)]


def _is_repaired(record: EpisodeRecord) -> bool:
    before = record.turns[:-1]
    return record.solved and bool(before) and not any(map(passed_public, before))


def _last_answer(rollout: Rollout) -> Rollout:
    """The last turn alone, behind the tokens of its sequence."""
    prompt = rollout.token_ids[rollout.sequence_starts[-1] : rollout.prompt_ends[-1] + 1]
    return behind(rollout, len(rollout.prompt_ends) - 1, prompt.tolist())
