"""What the model is told in training and in evaluation, and what random feedback is drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from rlef.config import ConfigError
from rlef.environment import FeedbackOptions, Prompts, RandomFeedbackPool
from rlef.problems import Problem
from rlef.sandbox import JudgePool, Limits
from rlef.train.recipe import TrainConfig

POOL_PROBLEMS = 256
"""Training problems whose feedback is shown on others, where feedback is random in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Feedback of a run.

    Attributes:
        training: what is told in training.
        evaluation: what is told in evaluations, but for the random-feedback control.
        training_pool: random feedback for training, if that is what is told.
        evaluation_pool: random feedback for evaluations and the control, if it is needed.
    """

    training: FeedbackOptions
    evaluation: FeedbackOptions
    training_pool: RandomFeedbackPool | None
    evaluation_pool: RandomFeedbackPool | None


def build_controls(
    config: TrainConfig,
    train_problems: Sequence[Problem],
    test_problems: Sequence[Problem],
    sandbox: JudgePool,
    prompts: Prompts,
    limits: Limits,
) -> Controls:
    """Runs incorrect programs where random feedback is asked for.

    This belongs before training: what is wrong with it must not come to light after it.

    Raises:
        ValueError: There is too little to draw random feedback from.
    """
    training = config.feedback
    kind = config.eval.feedback
    evaluation = config.feedback.of_kind("full" if kind == "private" else kind)

    def pool(problems: Sequence[Problem]) -> RandomFeedbackPool:
        return RandomFeedbackPool.build(
            problems, sandbox, prompts, training, config.seed, limits=limits
        )

    evaluation_pool = training_pool = None
    if evaluation.kind == "random" or config.has_control:
        try:
            evaluation_pool = pool(test_problems)
        except ValueError as error:
            if evaluation.kind == "random":
                raise
            raise ConfigError(f"data.test: {error}; or set eval.random_feedback=false") from None
    if training.kind == "random":
        count = min(POOL_PROBLEMS, len(train_problems))
        chosen = Random(f"pool/{config.seed}").sample(list(train_problems), count)
        families = {problem.name: problem.family for problem in train_problems}
        training_pool = replace(pool(chosen), families=families)
    return Controls(
        training=training,
        evaluation=evaluation,
        training_pool=training_pool,
        evaluation_pool=evaluation_pool,
    )
