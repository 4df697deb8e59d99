"""What the critic alone sees of a problem: ``learner.critic_sees``."""

from collections.abc import Callable, Sequence

from rlef.environment import ChatFormat
from rlef.problems import Problem
from rlef.rollout import Rollout
from rlef.train.recipe import TrainConfig


class PrivateTokens:
    """Reference programs as tokens, in front of what the critic reads.

    A message that is the program in a fence, up to where an answer would begin; cut behind
    ``rollout.max_new_tokens`` tokens. Of several programs the shortest.

    Args:
        config: The recipe.
        problems: To train on.
        chat: The model's chat format.
        say: Hears of problems without a program; the critic sees nothing of theirs.

    Raises:
        ValueError: No problem has one.
    """

    def __init__(
        self,
        config: TrainConfig,
        problems: Sequence[Problem],
        chat: ChatFormat,
        say: Callable[[str], None],
    ) -> None:
        self._chat = chat
        self._most = config.rollout.max_new_tokens
        self._problems = {problem.name: problem for problem in problems}
        self._known: dict[str, list[int]] = {}
        without = sum(not problem.solutions for problem in problems)
        if without == len(problems):
            raise ValueError(
                "learner.critic_sees is reference, but no problem of data.train has a reference "
                "program; allowed: nothing, or problems with solutions"
            )
        if without:
            say(
                f"{without} of {len(problems)} problems of data.train have no reference program: "
                "of these the critic sees no more than the policy"
            )

    def of(self, rollouts: Sequence[Rollout]) -> list[list[int]]:
        """Returns the tokens that belong to each rollout's problem."""
        return [self._of(rollout.record.problem) for rollout in rollouts]

    def _of(self, name: str) -> list[int]:
        if name not in self._known:
            problem, found = self._problems[name], []
            if problem.solutions:
                program = min(problem.solutions, key=len).rstrip("\n")
                message = f"```{problem.language}\n{program}\n```"
                found = self._chat.prompt_ids(message)[: self._most]
            self._known[name] = found
        return self._known[name]
