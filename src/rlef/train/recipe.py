"""What a recipe may set: the model, the problems, the rollouts, the update, the evaluation."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlef.environment import RewardConfig
from rlef.learner.ppo import LearnerConfig

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class DataConfig(BaseModel):
    """Problems, as specifications of ``load_problems``."""

    model_config = _FROZEN

    train: str = "mini:train"
    valid: str | None = None
    """The best policy on these is kept, where ``eval.every`` says how often to look."""
    test: str = "mini:test"


class RewardSection(BaseModel):
    """Rewards of a turn, before the KL penalty (RLEF, section 2.2)."""

    model_config = _FROZEN

    solved: float = 1.0
    failed: float = -1.0
    invalid: float = -0.2

    def build(self) -> RewardConfig:
        """Returns the environment's own type."""
        return RewardConfig(solved=self.solved, failed=self.failed, invalid=self.invalid)


class RolloutConfig(BaseModel):
    """How rollouts are sampled and judged."""

    model_config = _FROZEN

    batch: int = Field(1024, ge=1)
    """Rollouts between two updates of the sampling policy."""
    turn_limit: int = Field(3, ge=1)
    temperature: float = Field(1.0, ge=0.01)
    max_new_tokens: int = Field(1024, ge=1)
    max_context: int = Field(8192, ge=16)
    """Tokens of a whole conversation."""
    prompts: str = "default"
    feedback_chars: int = Field(1000, ge=1)
    """Of each input, output and traceback in feedback."""
    group: int = Field(64, ge=1)
    """Episodes that sample at once; another group is judged meanwhile."""
    judge_workers: int = Field(2, ge=1)
    cpu_s: float = Field(10.0, gt=0)
    """Per test, where the problem names no limit; wall time is three times as much."""
    memory_mb: int = Field(1024, ge=16)


class EvalConfig(BaseModel):
    """How the model is evaluated before and after training."""

    model_config = _FROZEN

    problems: int | None = Field(None, ge=1)
    """Only the first so many problems of ``data.test``; ``null``: all."""
    samples: int = Field(1, ge=1)
    """Episodes per problem."""
    temperature: float = Field(0.2, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    random_feedback: bool = True
    """Also the control: the trained model with feedback on other problems."""
    every: int | None = Field(None, ge=1)
    """Updates between two evaluations on ``data.valid``; ``null``: none."""


class TrainConfig(BaseModel):
    """A recipe."""

    model_config = _FROZEN

    name: str = "run"
    seed: int = Field(0, ge=0, lt=2**63)
    model: str = "mini"
    """``mini``, a Hugging Face folder or a hub id."""
    device: str = "auto"
    updates: int = Field(12_000, ge=1)
    """Optimizer steps in all; a batch of rollouts gives ``rollout.batch / learner.minibatch``."""
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardSection = RewardSection()
    learner: LearnerConfig = LearnerConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint_every: int = Field(200, ge=1)
    """Updates between two checkpoints."""
    keep_checkpoints: int = Field(1, ge=1)

    @property
    def updates_per_batch(self) -> int:
        """Optimizer steps on each batch of rollouts."""
        return self.rollout.batch // self.learner.minibatch

    @model_validator(mode="after")
    def _check(self) -> Self:
        batch, minibatch = self.rollout.batch, self.learner.minibatch
        if batch % minibatch:
            raise ValueError(
                f"rollout.batch is {batch} and learner.minibatch {minibatch}; "
                "allowed: a multiple of learner.minibatch"
            )
        for key, value in (
            ("updates", self.updates),
            ("checkpoint_every", self.checkpoint_every),
            ("eval.every", self.eval.every),
        ):
            if value is not None and value % self.updates_per_batch:
                raise ValueError(
                    f"{key} is {value}; allowed: a multiple of the {self.updates_per_batch} "
                    "updates on each batch (rollout.batch / learner.minibatch)"
                )
        if (self.eval.every is None) != (self.data.valid is None):
            raise ValueError("data.valid and eval.every belong together; allowed: both or neither")
        return self
