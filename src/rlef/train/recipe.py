"""What a recipe may set: the model, the problems, the rollouts, the update, the evaluation."""

import math
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from rlef.config import NamedSection
from rlef.config.values import leaves
from rlef.distributed import ClusterSettings
from rlef.engines.hf_settings import HFSettings
from rlef.engines.types import TEMPERATURES, check_temperature
from rlef.engines.vllm_settings import VLLMSettings
from rlef.environment import ChatSettings, FeedbackKind, FeedbackOptions, RewardConfig
from rlef.learner.config import LearnerConfig, SaveDtype
from rlef.serve.endpoint import check_urls
from rlef.serve.settings import TOKEN_VARIABLE

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_SPEC: dict[str, JsonValue] = {"allowed": "``SET:PLACE[:SPLIT][?OPTIONS]``"}
_LIMITS = ("clip_high", "dual_clip", "grad_clip", "importance_cap", "target_kl", "value_clip")
_MAY_BE_INFINITE = {f"learner.{name}" for name in _LIMITS}
"""Bounds that infinity turns off; any other number that is not finite spoils what it enters."""
_Temperature = Annotated[
    float, AfterValidator(check_temperature), Field(json_schema_extra={"allowed": TEMPERATURES})
]


class ModelConfig(ChatSettings, NamedSection):
    """The model, and how its chat template is used; a plain word stands for its name."""

    name: str = Field("mini", json_schema_extra={"allowed": "mini, a folder, a Hub id"})
    """The model: ``mini``, a Hugging Face folder or a Hub id."""


class DataConfig(BaseModel):
    """Problems, as specifications of ``load_problems``."""

    model_config = _FROZEN

    train: str = Field("mini:train", json_schema_extra=_SPEC)
    """Problems to train on."""
    valid: str | None = Field(None, json_schema_extra={"allowed": f"{_SPEC['allowed']}, or null"})
    """Problems to choose by: the policy that solves most of them is kept. ``eval.every`` says how
    often a run looks."""
    test: str = Field("mini:test", json_schema_extra=_SPEC)
    """Problems that are solved before and after training; nothing is chosen on them."""


class RolloutConfig(BaseModel):
    """How rollouts are sampled and judged."""

    model_config = _FROZEN

    batch: int = Field(1024, ge=1)
    """Rollouts of a batch. The sampling policy gets new weights after each batch."""
    per_problem: int = Field(1, ge=1)
    """Rollouts of one problem in a batch; ``grpo``, ``dr_grpo`` and ``rloo`` need several."""
    turn_limit: int = Field(3, ge=1)
    """Most answers of the model in an episode. 1: no feedback."""
    temperature: float = Field(1.0, ge=0.01)
    """Temperature at which training samples, without top-p and top-k."""
    max_new_tokens: int = Field(1024, ge=1)
    """Longest answer, in tokens."""
    min_new_tokens: int | None = Field(None, ge=1)
    """Least room for an answer, in tokens. Where the context has less, the episode ends and has
    failed. ``null``: a quarter of ``max_new_tokens``."""
    max_context: int = Field(8192, ge=16)
    """Longest conversation, in tokens; where each turn is a sequence of its own (``model.turns``),
    longest prompt with its answer."""
    prompts: str = Field("default", json_schema_extra={"allowed": "default, mini, a .txt file"})
    """Texts of the messages: ``default``, ``mini`` (short), or a file of one's own."""
    engine: Literal["hf", "vllm"] = "hf"
    """What samples: ``transformers`` (``hf``) or vLLM; in the learner's process, or with
    ``cluster.address`` in the rollout actors'."""
    hf: HFSettings = HFSettings()
    vllm: VLLMSettings = VLLMSettings()
    max_staleness: int = Field(0, ge=0)
    """Batches by which a rollout may be stale: its oldest turn against the policy that learns from
    it. 0: sampler and learner take turns. Above 0 they run side by side; what is older is dropped
    and counted."""
    keep_scores: int = Field(32, ge=0)
    """Of so many rollouts of each batch, the first ones, values, returns, advantages, KL and
    log-probabilities are stored, for the viewer; 0: of none."""
    group: int = Field(64, ge=1)
    """Episodes that are sampled at once, while others are judged."""
    judge_workers: int = Field(2, ge=1)
    """Jails that run programs at once; a core for each."""
    cpu_s: float = Field(10.0, gt=0)
    """CPU time of a program per test, in seconds, where the problem names no limit. It may sleep
    2 s longer (``Limits.idle_s``)."""
    memory_mb: int = Field(1024, ge=16)
    """Memory of a program, in MB, where the problem names no limit."""


class JudgeSection(BaseModel):
    """Where programs are judged."""

    model_config = _FROZEN

    url: str | None = Field(None, json_schema_extra={"allowed": "``http://HOST:PORT``, or null"})
    """A running ``rlef serve``; several with commas between share the programs. ``null``: jails of
    the run's own (``rollout.judge_workers``). Its token stands in ``RLEF_JUDGE_TOKEN``."""

    @field_validator("url")
    @classmethod
    def _check(cls, url: str | None) -> str | None:
        if url is not None and any(urlsplit(one).password for one in check_urls(url)):
            raise ValueError(
                "a password in it would stand in the run's folder; allowed: the address alone, and "
                f"the token in {TOKEN_VARIABLE}"
            )
        return url


class SamplingSection(BaseModel):
    """How answers are sampled."""

    model_config = _FROZEN

    temperature: _Temperature = 1.0
    """Temperature of the second setting; 0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Share of probability that is sampled from in the second setting; 1: all."""


class EvalConfig(BaseModel):
    """How the model is evaluated before and after training."""

    model_config = _FROZEN

    problems: int | None = Field(None, ge=1)
    """Number of problems, the first of ``data.test``; ``null``: all."""
    samples: int = Field(1, ge=1)
    """Episodes per problem."""
    turn_limit: int | None = Field(None, ge=1)
    """Most answers in an episode; ``null``: as ``rollout.turn_limit``. A policy that was trained
    with one turn can be evaluated with more."""
    feedback: FeedbackKind | Literal["private"] | None = None
    """What the model is told between turns; ``null``: as ``feedback.kind``. ``private``: full
    feedback on up to 20 tests, private ones among them; the episode ends when these pass."""
    temperature: _Temperature = 0.2
    """Temperature of evaluations; 0 is greedy. The default is the paper's for 1@3."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Share of probability that evaluations sample from; 1: all."""
    also: SamplingSection | None = None
    """A second setting at which the test problems are evaluated too; ``null``: none. The policy
    to keep (``every``) is chosen at the first."""
    random_feedback: bool = True
    """Whether the control is run too: the trained model with feedback on other problems. With one
    turn there is none."""
    every: int | None = Field(None, ge=1)
    """Updates between two evaluations on ``data.valid``; the last policy is evaluated too.
    ``null``: none."""

    @property
    def samplings(self) -> tuple[SamplingSection, ...]:
        """The settings at which the test problems are evaluated, without repetition."""
        first = SamplingSection(temperature=self.temperature, top_p=self.top_p)
        return (first,) if self.also in (None, first) else (first, self.also)


class TrainConfig(BaseModel):
    """A recipe."""

    model_config = _FROZEN

    name: str = "run"
    """Name of the recipe in tables and reports."""
    seed: int = Field(0, ge=0, lt=2**63, json_schema_extra={"allowed": "0 or more, below 2^63"})
    """Seed of every random draw. The same seed gives the same run on the same CPU."""
    model: ModelConfig = ModelConfig()
    device: str = Field("auto", json_schema_extra={"allowed": "auto, cpu, cuda, cuda:1, ..."})
    """Where the models are. ``auto``: a GPU if there is one, else the CPU."""
    updates: int = Field(12_000, ge=1)
    """Optimizer steps in all. Each batch of rollouts gives ``rollout.batch / learner.minibatch``
    times ``learner.epochs``, and this is a multiple of that."""
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    judge: JudgeSection = JudgeSection()
    reward: RewardConfig = RewardConfig()
    feedback: FeedbackOptions = FeedbackOptions()
    """What the model is told between turns of training; evaluations take ``eval.feedback`` where
    that is set."""
    learner: LearnerConfig = LearnerConfig()
    eval: EvalConfig = EvalConfig()
    cluster: ClusterSettings = ClusterSettings()
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Where metrics go beside the run folder, under the same names; a run that goes on may have
    others."""
    checkpoint_every: int = Field(200, ge=1)
    """Updates between two checkpoints."""
    keep_checkpoints: int = Field(1, ge=1)
    """Checkpoints that stay on disk, the newest ones."""
    checkpoint_dtype: SaveDtype = "float32"
    """Type of the model's weights in a checkpoint. A run goes on from float32 weights beside it,
    whatever this says."""

    @property
    def updates_per_batch(self) -> int:
        """Optimizer steps on each batch of rollouts."""
        return self.rollout.batch // self.learner.minibatch * self.learner.epochs

    @property
    def eval_turn_limit(self) -> int:
        """Turn limit of evaluations."""
        return self.eval.turn_limit or self.rollout.turn_limit

    @property
    def has_control(self) -> bool:
        """Whether the random-feedback control is run: with one turn nothing is told."""
        return self.eval.random_feedback and self.eval_turn_limit > 1

    @field_validator("trackers")
    @classmethod
    def _check_trackers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names a tracker twice; allowed: each once")
        return names

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_numbers()
        self._check_batches()
        self._check_rollouts()
        self._check_places()
        self._check_lessons()
        return self

    def _check_numbers(self) -> None:
        for key, value in leaves(self.model_dump()):
            if not isinstance(value, float) or math.isfinite(value):
                continue
            if value != math.inf or key not in _MAY_BE_INFINITE:
                raise ValueError(f"{key} is {value}; allowed: a finite number")

    def _check_batches(self) -> None:
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
                times = " x learner.epochs" if self.learner.epochs > 1 else ""
                raise ValueError(
                    f"{key} is {value}; allowed: a multiple of the {self.updates_per_batch} "
                    f"updates on each batch (rollout.batch / learner.minibatch{times})"
                )
        if batch % self.rollout.per_problem:
            raise ValueError(
                f"rollout.batch is {batch} and rollout.per_problem {self.rollout.per_problem}; "
                "allowed: a multiple of rollout.per_problem"
            )
        if (self.eval.every is None) != (self.data.valid is None):
            raise ValueError("data.valid and eval.every belong together; allowed: both or neither")

    def _check_rollouts(self) -> None:
        rollout, learner = self.rollout, self.learner
        if (least := rollout.min_new_tokens or 0) > rollout.max_new_tokens:
            raise ValueError(
                f"rollout.min_new_tokens is {least}; allowed: up to rollout.max_new_tokens, "
                f"{rollout.max_new_tokens}"
            )
        if learner.compares_groups and rollout.per_problem < 2:
            raise ValueError(
                f"learner.advantage is {learner.advantage}, which compares rollouts of one "
                "problem, but rollout.per_problem is 1; allowed: 2 or more"
            )
        if learner.compares_groups and rollout.max_staleness:
            raise ValueError(
                f"learner.advantage is {learner.advantage}, which compares rollouts of one "
                f"problem, but rollout.max_staleness is {rollout.max_staleness}, so a batch "
                "is what ends first, parts of groups too; allowed: 0"
            )
        if rollout.vllm.sleep and rollout.max_staleness:
            raise ValueError(
                f"rollout.vllm.sleep is true, but with rollout.max_staleness "
                f"{rollout.max_staleness} the engine never rests; allowed: false, or "
                "rollout.max_staleness=0"
            )
        if rollout.vllm.transfer != "buckets" and self.cluster.address is None:
            raise ValueError(
                f"rollout.vllm.transfer is {rollout.vllm.transfer}, but cluster.address is "
                "null, and vLLM in the learner's process; allowed: buckets"
            )

    def _check_places(self) -> None:
        cluster, rollout = self.cluster, self.rollout
        if self.judge.url is not None and cluster.judge_actors:
            raise ValueError(
                f"judge.url is set, but cluster.judge_actors is {cluster.judge_actors}; "
                "allowed: 0, or judge.url=null"
            )
        if cluster.colocate and rollout.max_staleness:
            raise ValueError(
                f"cluster.colocate is true, but with rollout.max_staleness "
                f"{rollout.max_staleness} rollout actors and learner ranks do not take turns; "
                "allowed: false, or rollout.max_staleness=0"
            )
        if cluster.colocate and rollout.vllm.tensor_parallel_size > 1:
            raise ValueError(
                f"cluster.colocate is true, but rollout.vllm.tensor_parallel_size is "
                f"{rollout.vllm.tensor_parallel_size}; allowed: 1, or colocate=false"
            )

    def _check_lessons(self) -> None:
        learner, turn_limit = self.learner, self.rollout.turn_limit
        if learner.teacher is not None and turn_limit < 2:
            raise ValueError(
                "learner.teacher is set, but rollout.turn_limit is 1, and what it teaches are "
                "later turns; allowed: rollout.turn_limit 2 or more, or learner.teacher=null"
            )
        if learner.teacher is not None and self.feedback.kind not in ("full", "no_traceback"):
            raise ValueError(
                f"learner.teacher is set, but feedback.kind is {self.feedback.kind}, which tells "
                "no expected output; allowed: full, no_traceback, or learner.teacher=null"
            )
        if learner.replay is not None and turn_limit < 2:
            raise ValueError(
                "learner.replay is set, but rollout.turn_limit is 1, and what is replayed are "
                "later turns; allowed: rollout.turn_limit 2 or more, or learner.replay=null"
            )
        if learner.critic_warmup_updates >= self.updates:
            raise ValueError(
                f"learner.critic_warmup_updates is {learner.critic_warmup_updates}, so the policy "
                f"would never learn; allowed: less than the {self.updates} updates in all"
            )
