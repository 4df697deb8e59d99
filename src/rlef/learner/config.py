"""Settings of the update. ``docs/algorithm.md`` has a table of them with their sources."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_FROZEN = ConfigDict(frozen=True, extra="forbid")

Advantage = Literal["turn_critic", "token_critic", "grpo", "dr_grpo", "rloo", "reinforce++"]
KLPlace = Literal["reward_turn_mean", "reward_token", "loss_k2", "loss_k3", "none"]
SaveDtype = Literal["float32", "bfloat16"]
"""Of the model in a checkpoint."""


class LoraSettings(BaseModel):
    """Low-rank adapters in place of full fine-tuning (arXiv 2106.09685), through ``peft``.

    Every linear layer that ``peft`` finds, but the output embedding, gets one; fused experts of
    some models are none, and a run says what got none. All other weights are frozen.
    """

    model_config = _FROZEN

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    """Adapters are scaled by ``alpha / rank``."""


class LearnerConfig(BaseModel):
    """Settings of the update. The defaults are the paper's; what it leaves open says so."""

    model_config = _FROZEN

    advantage: Advantage = "turn_critic"
    """With a critic per turn (the paper's) or per token (its ablation); or without one: compared
    with the other samples of the problem (``grpo``, ``dr_grpo``, ``rloo``; these need
    ``rollout.per_problem``) or with the whole batch (``reinforce++``)."""
    kl: KLPlace = "reward_turn_mean"
    """Where the KL penalty goes: into the reward of a turn as the mean over its tokens (the
    paper's), into the reward of each token, or into the loss by an estimator. ``none``: no penalty,
    and no pass of the reference."""
    beta: float = Field(0.05, ge=0)
    """Weight of the KL penalty."""
    ratio: Literal["token", "turn"] = "token"
    """Of what the clipped policy ratio is: of tokens (the paper's), or the product over a turn."""
    importance: Literal["whole", "decoupled", "none"] = "whole"
    """How stale rollouts are corrected for: by a truncated weight π/π_b within the clipped ratio
    (``whole``, the paper's), by one of π_old/π_b outside it (``decoupled``), or not at all."""
    importance_cap: float = Field(2.0, ge=1)
    """Where the weight of ``decoupled`` is truncated; that of ``whole`` is at 1."""
    gamma: float = Field(1.0, ge=0, le=1)
    lam: float = Field(1.0, ge=0, le=1)
    """Of generalised advantage estimation; like ``gamma`` per turn or per token, as the critic."""
    clip: float = Field(0.2, gt=0, lt=1)
    dual_clip: float | None = Field(None, ge=2)
    """Where the advantage is negative, a ratio beyond this has no gradient; the paper has no such
    bound. Set it (3) where rollouts are stale. ``null``: none."""
    value_clip: float = Field(0.2, gt=0)
    normalize: Literal["turns", "tokens"] = "turns"
    """Over what advantages are whitened (open): turns of the batch, each once or weighted by its
    tokens. Advantages of groups (``grpo``, ``dr_grpo``, ``rloo``) are left as they are."""
    entropy_bonus: float = Field(0.0, ge=0)
    """Weight of the tokens' mean entropy, which the loss rewards."""
    target_kl: float | None = Field(None, gt=0)
    """The policy takes no more steps on a batch once ``approx_kl`` exceeds this, in nats per
    token; the critic goes on. ``null``: never."""
    critic_bias: Literal["zero", "mean_return"] = "zero"
    """Of the new critic's head, whose weights are random: 0, or what makes its mean value the mean
    return of the first batch. A random head adds a constant that says nothing, as large as the last
    hidden states are (up to 9 for Qwen2.5-Coder-0.5B, with returns from -1 to 1), and a batch moves
    values by little more than ``value_clip``."""
    critic_warmup_updates: int = Field(0, ge=0)
    """Optimizer steps at the beginning in which only the critic learns."""
    lora: LoraSettings | None = None
    """Adapters in the policy, and in the critic, on the same frozen weights; the reference is the
    policy without them. ``null``: full fine-tuning."""
    critic_lora: LoraSettings | None = None
    """Adapters in the critic alone, beside a policy that is trained whole: it then stands on the
    reference's weights. With ``lora``: another size of the critic's. ``null``: as the policy."""

    lr: float = Field(2e-7, gt=0, le=1)
    critic_lr: float | None = Field(None, gt=0, le=1)
    """``None``: as ``lr``."""
    weight_decay: float = Field(0.1, ge=0)
    warmup_updates: int = Field(50, ge=0)
    """Linear warm-up, in optimizer steps."""
    final_lr_share: float = Field(1.0, ge=0, le=1)
    """The learning rate falls linearly to this share of ``lr`` at the last update; the paper's
    stays."""
    minibatch: int = Field(256, ge=1)
    """Rollouts per optimizer step."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest gradient norm, of policy and critic each (open)."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    micro_batch_tokens: int = Field(16384, ge=1)
    """Tokens per forward and backward pass, padding included where there is any; sets memory, not
    results."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """``bfloat16``: weights stay float32, matrix products run in bfloat16 (autocast). ``auto``:
    that where the device is fast at it, else float32."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""
    frozen_dtype: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of weights that are never trained: the reference, and what adapters stand on. ``auto``:
    bfloat16 on a GPU where products are in bfloat16 (``precision``), else float32."""
    offload: Literal["none", "reference", "all"] = "reference"
    """What waits in host memory while it is not needed: the reference but for scoring; ``all``:
    also the optimizers' states but for their own steps. No word on a CPU, nor for results."""

    @property
    def has_critic(self) -> bool:
        """Whether a value network is trained."""
        return self.advantage in ("turn_critic", "token_critic")

    @property
    def compares_groups(self) -> bool:
        """Whether advantages come from several rollouts of one problem."""
        return self.advantage in ("grpo", "dr_grpo", "rloo")

    @property
    def values_per_token(self) -> bool:
        """Whether the critic values tokens rather than turns."""
        return self.advantage == "token_critic"

    @property
    def per_token(self) -> bool:
        """Whether rewards and advantages are those of tokens rather than of turns."""
        return self.values_per_token or self.kl == "reward_token"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kl == "reward_token" and self.advantage not in ("token_critic", "reinforce++"):
            raise ValueError(
                f"kl is reward_token, but advantage {self.advantage} knows no rewards of tokens; "
                "allowed: kl=reward_turn_mean, or advantage token_critic or reinforce++"
            )
        if self.ratio == "turn" and self.per_token:
            raise ValueError(
                f"ratio is turn, but advantage {self.advantage} with kl {self.kl} gives each token "
                "its own; allowed: ratio=token, or one advantage per turn"
            )
        if self.frozen_dtype == "bfloat16" and self.precision == "float32":
            raise ValueError(
                "frozen_dtype is bfloat16, but precision is float32, in which nothing multiplies "
                "it; allowed: frozen_dtype auto or float32, or precision bfloat16 or auto"
            )
        if not self.has_critic:
            neutrals: tuple[tuple[str, object, object], ...] = (
                ("lam", self.lam, 1),
                ("critic_warmup_updates", self.critic_warmup_updates, 0),
                ("critic_lora", self.critic_lora, None),
            )
            for key, value, neutral in neutrals:
                if value != neutral:
                    raise ValueError(
                        f"{key} is {'set' if neutral is None else value}, but advantage "
                        f"{self.advantage} has no critic; allowed: "
                        f"{'null' if neutral is None else neutral}"
                    )
        return self
