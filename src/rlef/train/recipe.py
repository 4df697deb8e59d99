"""What a recipe may set: the model, the problems, the rollouts, the update, the evaluation."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlef.config import NamedSection
from rlef.distributed import ClusterSettings
from rlef.engines.hf_settings import HFSettings
from rlef.engines.vllm_settings import VLLMSettings
from rlef.environment import ChatSettings, FeedbackKind, FeedbackOptions, RewardConfig
from rlef.learner.config import LearnerConfig, SaveDtype

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(ChatSettings, NamedSection):
    """The model, and how its chat template is used; a plain word stands for its name."""

    name: str = "mini"
    """``mini``, a Hugging Face folder or a hub id."""


class DataConfig(BaseModel):
    """Problems, as specifications of ``load_problems``."""

    model_config = _FROZEN

    train: str = "mini:train"
    valid: str | None = None
    """The best policy on these is kept, where ``eval.every`` says how often to look."""
    test: str = "mini:test"


class RolloutConfig(BaseModel):
    """How rollouts are sampled and judged."""

    model_config = _FROZEN

    batch: int = Field(1024, ge=1)
    """Rollouts between two updates of the sampling policy."""
    per_problem: int = Field(1, ge=1)
    """Of these, rollouts of the same problem; advantages of groups need several."""
    turn_limit: int = Field(3, ge=1)
    temperature: float = Field(1.0, ge=0.01)
    max_new_tokens: int = Field(1024, ge=1)
    min_new_tokens: int | None = Field(None, ge=1)
    """Room without which no further answer is asked for: the episode ends, and has failed.
    ``null``: a quarter of ``max_new_tokens``."""
    max_context: int = Field(8192, ge=16)
    """Tokens of a whole conversation; of one prompt and its answer where ``model.turns`` comes to
    ``per_turn``."""
    prompts: str = "default"
    engine: Literal["hf", "vllm"] = "hf"
    """What samples: ``transformers``, or vLLM in this process."""
    hf: HFSettings = HFSettings()
    vllm: VLLMSettings = VLLMSettings()
    max_staleness: int = Field(0, ge=0)
    """Batches that the policy of a rollout's oldest turn may be behind the one that learns from it.
    0: sampler and learner take turns. Above 0 they run side by side, and what is older is dropped
    and counted."""
    keep_scores: int = Field(32, ge=0)
    """Of so many rollouts of each batch, the first ones, values, returns, advantages, KL and
    log-probabilities are stored, for the viewer; 0: of none."""
    group: int = Field(64, ge=1)
    """Episodes that sample at once; another group is judged meanwhile."""
    judge_workers: int = Field(2, ge=1)
    cpu_s: float = Field(10.0, gt=0)
    """Per test, where the problem names no limit. Time asleep: 2 s more (``Limits.idle_s``)."""
    memory_mb: int = Field(1024, ge=16)


class SamplingSection(BaseModel):
    """How answers are sampled."""

    model_config = _FROZEN

    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)


class EvalConfig(BaseModel):
    """How the model is evaluated before and after training."""

    model_config = _FROZEN

    problems: int | None = Field(None, ge=1)
    """Only the first so many problems of ``data.test``; ``null``: all."""
    samples: int = Field(1, ge=1)
    """Episodes per problem."""
    turn_limit: int | None = Field(None, ge=1)
    """``null``: as ``rollout.turn_limit``. A policy trained with turn limit 1 can be evaluated
    with more."""
    feedback: FeedbackKind | Literal["private"] | None = None
    """``null``: as ``feedback.kind``. ``private``: full feedback from up to 20 tests, private ones
    among them; an episode ends when these pass."""
    temperature: float = Field(0.2, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    also: SamplingSection | None = None
    """A second setting, at which the test problems are evaluated too; ``null``: none. What is
    kept by ``every`` is chosen at the first."""
    random_feedback: bool = True
    """Also the control: the trained model with feedback on other problems."""
    every: int | None = Field(None, ge=1)
    """Updates between two evaluations on ``data.valid``; ``null``: none."""

    @property
    def samplings(self) -> tuple[SamplingSection, ...]:
        """The settings at which the test problems are evaluated, without repetition."""
        first = SamplingSection(temperature=self.temperature, top_p=self.top_p)
        return (first,) if self.also in (None, first) else (first, self.also)


class TrainConfig(BaseModel):
    """A recipe."""

    model_config = _FROZEN

    name: str = "run"
    seed: int = Field(0, ge=0, lt=2**63)
    model: ModelConfig = ModelConfig()
    device: str = "auto"
    updates: int = Field(12_000, ge=1)
    """Optimizer steps in all; a batch of rollouts gives ``rollout.batch / learner.minibatch``."""
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    feedback: FeedbackOptions = FeedbackOptions()
    """In training; evaluations take ``eval.feedback`` where that is set."""
    learner: LearnerConfig = LearnerConfig()
    eval: EvalConfig = EvalConfig()
    cluster: ClusterSettings = ClusterSettings()
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Where metrics go beside the run folder, under the same names; a run that goes on may have
    others."""
    checkpoint_every: int = Field(200, ge=1)
    """Updates between two checkpoints."""
    keep_checkpoints: int = Field(1, ge=1)
    checkpoint_dtype: SaveDtype = "float32"
    """Of the model in a checkpoint. What a run goes on from is float32 whatever it says."""

    @property
    def updates_per_batch(self) -> int:
        """Optimizer steps on each batch of rollouts."""
        return self.rollout.batch // self.learner.minibatch

    @property
    def eval_turn_limit(self) -> int:
        """Turn limit of evaluations."""
        return self.eval.turn_limit or self.rollout.turn_limit

    @model_validator(mode="after")
    def _check(self) -> Self:
        batch, minibatch = self.rollout.batch, self.learner.minibatch
        if batch % minibatch:
            raise ValueError(
                f"rollout.batch is {batch} and learner.minibatch {minibatch}; "
                "allowed: a multiple of learner.minibatch"
            )
        if (least := self.rollout.min_new_tokens or 0) > self.rollout.max_new_tokens:
            raise ValueError(
                f"rollout.min_new_tokens is {least}; allowed: up to rollout.max_new_tokens, "
                f"{self.rollout.max_new_tokens}"
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
        per_problem, learner = self.rollout.per_problem, self.learner
        if batch % per_problem:
            raise ValueError(
                f"rollout.batch is {batch} and rollout.per_problem {per_problem}; "
                "allowed: a multiple of rollout.per_problem"
            )
        if learner.compares_groups and per_problem < 2:
            raise ValueError(
                f"learner.advantage is {learner.advantage}, which compares rollouts of one "
                "problem, but rollout.per_problem is 1; allowed: 2 or more"
            )
        if learner.compares_groups and self.rollout.max_staleness:
            raise ValueError(
                f"learner.advantage is {learner.advantage}, which compares rollouts of one "
                f"problem, but rollout.max_staleness is {self.rollout.max_staleness}, so a batch "
                "is what ends first, parts of groups too; allowed: 0"
            )
        if self.rollout.vllm.sleep and self.rollout.max_staleness:
            raise ValueError(
                f"rollout.vllm.sleep is true, but with rollout.max_staleness "
                f"{self.rollout.max_staleness} the engine never rests; allowed: false, or "
                "rollout.max_staleness=0"
            )
        if self.rollout.vllm.transfer != "buckets" and self.cluster.address is None:
            raise ValueError(
                f"rollout.vllm.transfer is {self.rollout.vllm.transfer}, but cluster.address is "
                "null, and vLLM in the learner's process; allowed: buckets"
            )
        if self.cluster.colocate and self.rollout.max_staleness:
            raise ValueError(
                f"cluster.colocate is true, but with rollout.max_staleness "
                f"{self.rollout.max_staleness} rollout actors and learner ranks do not take turns; "
                "allowed: false, or rollout.max_staleness=0"
            )
        if self.cluster.colocate and self.rollout.vllm.tensor_parallel_size > 1:
            raise ValueError(
                f"cluster.colocate is true, but rollout.vllm.tensor_parallel_size is "
                f"{self.rollout.vllm.tensor_parallel_size}; allowed: 1, or colocate=false"
            )
        if learner.critic_warmup_updates >= self.updates:
            raise ValueError(
                f"learner.critic_warmup_updates is {learner.critic_warmup_updates}, so the policy "
                f"would never learn; allowed: less than the {self.updates} updates in all"
            )
        if (self.eval.every is None) != (self.data.valid is None):
            raise ValueError("data.valid and eval.every belong together; allowed: both or neither")
        return self
