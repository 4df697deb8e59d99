"""What a run does not train on: counted, told, and a reason to stop where nothing is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlef.environment import ChatFormat, Episode, Prompts, StopReason
from rlef.environment.room import least_answer
from rlef.problems import Problem
from rlef.rollout import Rollout
from rlef.train.recipe import TrainConfig

EMPTY_BATCHES = 3
"""Batches in a row without any rollout to train on, after which a run stops."""
IDLE_BATCHES = 10
"""Batches in a row without a gradient for the policy, after which a run stops."""
IDLE_ROLLOUTS = 1000
"""Rollouts that either of these must hold: chance alone leaves small batches without a gradient
where few problems are solved, or few have room."""


class NothingToLearn(RuntimeError):
    """A run has nothing to train on. One line: why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Rollouts of a batch that are not trained on, by cause.

    Attributes:
        no_room: the first prompt leaves no room for an answer in ``rollout.max_context``.
        infra: the judge could not do its work.
        nothing: what a study leaves of the rollout has no turn.
        total: rollouts of the batch.
    """

    no_room: int
    infra: int
    nothing: int
    total: int

    @classmethod
    def of(cls, rollouts: Sequence[Rollout]) -> "LeftOut":
        """Counts; each rollout has one cause at most."""
        judged = [r for r in rollouts if r.record.stop is not StopReason.INFRA_ERROR]
        no_room = sum(not rollout.record.turns for rollout in judged)
        return cls(
            no_room=no_room,
            infra=len(rollouts) - len(judged),
            nothing=sum(not rollout.trainable for rollout in judged) - no_room,
            total=len(rollouts),
        )

    @property
    def trained(self) -> int:
        """Rollouts that are trained on."""
        return self.total - self.no_room - self.infra - self.nothing


def check_room(
    config: TrainConfig,
    key: str,
    problems: Sequence[Problem],
    prompts: Prompts,
    chat: ChatFormat,
    say: Callable[[str], None],
) -> None:
    """Says how many first prompts leave no room for the least answer in ``rollout.max_context``.

    Args:
        config: The recipe.
        key: Of the problems in it, for the user.
        problems: Whose prompts to look at.
        prompts: Templates.
        chat: The model's chat format.
        say: Receives a line where there are such prompts.

    Raises:
        NothingToLearn: None leaves any.
    """
    rollout = config.rollout
    limit = rollout.max_context - least_answer(rollout.max_new_tokens, rollout.min_new_tokens)
    # A token stands for a byte or more, so that most prompts need no tokenizer.
    around = 2 * len(chat.prompt_ids("x")) + 16

    def has_room(problem: Problem) -> bool:
        message = Episode(problem.public, max_turns=1, prompts=prompts).next_message or ""
        if len(message.encode("utf-8", "replace")) + around <= limit:
            return True
        return len(chat.prompt_ids(message)) <= limit

    count = sum(not has_room(problem) for problem in problems)
    if count:
        line = (
            f"{count} of {len(problems)} problems of {key} leave no room for an answer in "
            f"rollout.max_context ({rollout.max_context} tokens)"
        )
        if count == len(problems):
            raise NothingToLearn(f"{line}; allowed: a larger one, or shorter problems")
        say(f"{line}: nothing is learnt from them; a larger one would take them in")


class IdleWatch:
    """Looks at each batch of a run for what is not trained on.

    Args:
        config: The recipe.
        say: Receives a line when a cause shows first, and each time its count has doubled.
        why_idle: What it means that the policy learns nothing, and what to do; ``None``: what it
            means for the recipe.
    """

    def __init__(
        self, config: TrainConfig, say: Callable[[str], None], why_idle: str | None = None
    ) -> None:
        self._config = config
        self._known_cause = why_idle
        self._say = say
        self._counts: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._empty = self._idle = self._rollouts = 0

    def see(self, update: int, left_out: LeftOut, *, policy_moved: bool) -> str | None:
        """Takes note of a batch.

        Args:
            update: Updates that the run has come to with it.
            left_out: What was not trained on.
            policy_moved: Whether it had a gradient for the policy.

        Returns:
            Why the run should stop, in one line; ``None``: it should not.
        """
        self._count("no_room", left_out.no_room, left_out, update)
        self._count("infra", left_out.infra, left_out, update)
        self._empty = 0 if left_out.trained else self._empty + 1
        self._idle = 0 if policy_moved else self._idle + 1
        self._rollouts = 0 if policy_moved else self._rollouts + left_out.total
        if left_out.trained and not policy_moved:
            self._count("idle", 1, left_out, update)
        if self._rollouts < IDLE_ROLLOUTS:
            return None
        if self._empty >= EMPTY_BATCHES:
            causes = " and ".join(
                f"{count} {self._words(cause)}"
                for cause in ("no_room", "infra", "nothing")
                if (count := getattr(left_out, cause))
            )
            return (
                f"{self._empty} batches in a row had no rollout to train on: in the last {causes}"
            )
        if self._idle >= IDLE_BATCHES:
            return f"{self._idle} batches in a row taught the policy nothing: {self._why_idle()}"
        return None

    def _count(self, cause: str, new: int, left_out: LeftOut, update: int) -> None:
        count = self._counts[cause] = self._counts.get(cause, 0) + new
        if not new or count < 2 * self._told.get(cause, 0):
            return
        self._told[cause] = count
        if cause == "idle":
            self._say(f"update {update}: the policy learnt nothing: {self._why_idle()}")
        else:
            self._say(
                f"update {update}: of {left_out.total} rollouts {new} {self._words(cause)}, and "
                f"are not trained on ({count} so far)"
            )

    def _words(self, cause: str) -> str:
        return {
            "no_room": "had no room for an answer in rollout.max_context "
            f"({self._config.rollout.max_context} tokens; a new run may have more, or shorter "
            "problems)",
            "infra": "could not be judged (what the judge needs shows: rlef env)",
            "nothing": "left nothing to learn",
        }[cause]

    def _why_idle(self) -> str:
        learner = self._config.learner
        if self._known_cause is not None:
            return self._known_cause
        if learner.compares_groups:
            return (
                "all rollouts of a problem earned the same; try problems that are solved now and "
                "then, or a larger rollout.per_problem"
            )
        if learner.advantage == "reinforce++":
            return (
                "all rollouts of a batch earned the same; try problems that are solved now and "
                "then, or a larger rollout.batch"
            )
        if learner.target_kl is not None:
            return f"learner.target_kl ({learner.target_kl:g}) is exceeded before the first step"
        return "its gradient is zero; has a batch but one turn, or are its parameters frozen?"
