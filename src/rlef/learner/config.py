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
    """Rank of each adapter."""
    alpha: float = Field(32.0, gt=0)
    """Scale of the adapters: each is multiplied by ``alpha / rank``."""


class TeacherSettings(BaseModel):
    """Feedback as a teacher: distillation on the policy's own answers.

    The reference reads the first message with the tests that feedback has shown as examples in the
    statement. The policy, which read them in the dialogue, learns its next-token distributions at
    the tokens of the policy's own later answers.
    """

    model_config = _FROZEN

    weight: float = Field(30.0, gt=0)
    """Of the cross-entropy to the teacher. It is summed over the taught tokens and divided by all
    action tokens of the minibatch, as the policy loss is; so at a taught token with weight 1 the
    teacher pulls at log-probabilities as an advantage of 1 does."""
    top: int = Field(16, ge=1, le=128)
    """Tokens of the teacher's distribution that are kept at each place, the likeliest ones; their
    probabilities are scaled to add up to 1."""


class ReplaySettings(BaseModel):
    """Self-imitation: answers of the run that solved their problem are learnt once more.

    Beside each minibatch the policy reads answers that followed feedback and passed all tests,
    behind their own dialogues, drawn from the batches so far (Oh et al., arXiv 1806.05635, with
    solved in place of better than the value).
    """

    model_config = _FROZEN

    weight: float = Field(1.0, gt=0)
    """Of the replayed tokens' mean negative log-probability, which is added to the policy loss."""
    answers: int = Field(32, ge=1)
    """Answers per optimizer step; where the run has fewer, they come again and again."""
    newest: int = Field(4096, ge=1)
    """Solved answers that are kept, the newest ones, in memory."""


class LearnerConfig(BaseModel):
    """Settings of the update. The defaults are the paper's; what it leaves open says so."""

    model_config = _FROZEN

    advantage: Advantage = "turn_critic"
    """How an advantage is estimated. With a critic: one value per turn (``turn_critic``, the
    paper's) or per token (``token_critic``, its ablation). Without one: against the other samples
    of the problem (``grpo``, ``dr_grpo``, ``rloo``; these need ``rollout.per_problem``), or against
    the whole batch (``reinforce++``)."""
    kl: KLPlace = "reward_turn_mean"
    """Where the KL penalty goes: into the reward of a turn, as the mean over its tokens
    (``reward_turn_mean``, the paper's); into the reward of each token (``reward_token``); or into
    the loss, by an estimator (``loss_k2``, ``loss_k3``). ``none``: no penalty, and no pass of the
    reference but as a ``teacher``."""
    beta: float = Field(0.05, ge=0)
    """Weight of the KL penalty."""
    teacher: TeacherSettings | None = None
    """The reference as a teacher of later turns. ``null``: none."""
    replay: ReplaySettings | None = None
    """Solved answers that are learnt once more. ``null``: none."""
    ratio: Literal["token", "turn", "turn_mean", "cispo"] = "token"
    """What the clipped policy ratio is of: a token (the paper's), or a turn, as the product over
    its tokens (``turn``) or its geometric mean (``turn_mean``, GSPO's, for which ``clip`` is far
    smaller). ``cispo``: the clipped ratio of a token weights its log-probability, so that every
    token has a gradient."""
    importance: Literal["whole", "decoupled", "none"] = "whole"
    """How stale rollouts are corrected for: by a truncated weight π/π_b within the clipped ratio
    (``whole``, the paper's), by a truncated weight π_old/π_b outside it (``decoupled``), or not at
    all (``none``)."""
    importance_cap: float = Field(2.0, ge=1)
    """Largest weight of ``decoupled``; the largest of ``whole`` is always 1."""
    gamma: float = Field(1.0, ge=0, le=1)
    """Discount of rewards, per turn or per token, as the critic."""
    lam: float = Field(1.0, ge=0, le=1)
    """Lambda of generalised advantage estimation, per turn or per token, as the critic."""
    clip: float = Field(0.2, gt=0, le=1)
    """The policy ratio is clipped to 1 - clip and 1 + clip. 1: there is no lower bound."""
    clip_high: float | None = Field(None, gt=0)
    """The upper bound is 1 + clip_high instead. ``null``: as ``clip``."""
    dual_clip: float | None = Field(None, ge=2)
    """Largest ratio that still has a gradient where the advantage is negative. The paper has no
    such bound; set 3 where rollouts are stale. ``null``: none."""
    value_clip: float | None = Field(0.2, gt=0)
    """How far from its old value a value is moved at most, on one batch. ``null``: no limit, the
    loss is half the squared error."""
    normalize: Literal["turns", "tokens", "turn_index", "none"] = "turns"
    """What advantages are whitened over (open in the paper): turns of the batch, each counted once
    (``turns``) or by its tokens (``tokens``); or first turns among first ones, second turns among
    second ones and so on, each counted once (``turn_index``). ``none``: not at all. Advantages of
    groups (``grpo``, ``dr_grpo``, ``rloo``) stay as they are."""
    entropy_bonus: float = Field(0.0, ge=-10, le=10)
    """Weight of the tokens' mean entropy, which the loss rewards. Below 0 it is a penalty: the
    policy becomes surer of what it does (Agarwal et al., arXiv 2505.15134), which helps where
    slips of sampling cost more than exploration finds."""
    target_kl: float | None = Field(None, gt=0)
    """Most ``approx_kl``, in nats per token. Once a batch exceeds it the policy takes no more steps
    on that batch; the critic goes on. ``null``: no limit."""
    critic_bias: Literal["zero", "mean_return"] = "zero"
    """Bias of the new critic's head, whose weights are random: 0, or what makes its mean value the
    mean return of the first batch. A random head adds a constant that says nothing, as large as the
    last hidden states are (up to 9 for Qwen2.5-Coder-0.5B, with returns from -1 to 1), and a batch
    moves values by little more than ``value_clip``."""
    critic_sees: Literal["nothing", "reference"] = "nothing"
    """What the critic sees that the policy does not. ``reference``: a reference program of the
    problem, in front of all that it reads. A baseline may know anything but the answer that it
    judges, so advantages stay unbiased; after training there is no critic. Needs a critic, and a
    model that takes ``rollout.max_new_tokens`` tokens beyond ``rollout.max_context``."""
    critic_warmup_updates: int = Field(0, ge=0)
    """Optimizer steps at the beginning in which only the critic learns."""
    lora: LoraSettings | None = None
    """Adapters of policy and critic, on the same frozen weights; the reference is the policy
    without them. ``null``: full fine-tuning."""
    critic_lora: LoraSettings | None = None
    """Adapters of the critic alone, beside a policy that is trained whole: the critic then stands
    on the reference's weights. With ``lora``: a size of its own. ``null``: as the policy."""

    lr: float = Field(2e-7, gt=0, le=1)
    """Learning rate of the policy after the warm-up."""
    critic_lr: float | None = Field(None, gt=0, le=1)
    """Learning rate of the critic; ``null``: as ``lr``."""
    critic_head_lr: float | None = Field(None, gt=0, le=1)
    """Learning rate of the critic's head, which begins at random. It warms up and falls as the
    others do; ``null``: as the critic."""
    weight_decay: float = Field(0.1, ge=0)
    """Weight decay of AdamW, on all parameters. In float32 it has no effect where ``lr`` times it
    is below 3e-8, as with the paper's 2e-7 and 0.1."""
    warmup_updates: int = Field(50, ge=0)
    """Optimizer steps in which the learning rates rise linearly from 0."""
    final_lr_share: float = Field(1.0, ge=0, le=1)
    """Share of the learning rate that is left at the last update; it falls linearly. 1: it stays,
    as in the paper."""
    minibatch: int = Field(256, ge=1)
    """Rollouts per optimizer step."""
    epochs: int = Field(1, ge=1)
    """Passes over each batch, every one in an order of its own (the paper's: 1). Old
    log-probabilities, old values and advantages are those of the first one's start."""
    critic_epochs: int | None = Field(None, ge=1)
    """Passes of the critic, ``epochs`` or more; those beyond it come first, are no updates, and the
    policy has no part in them. Advantages stay those of the values before: a critic that has seen
    a rollout's return would hide it from the policy. Values move by about ``value_clip`` in all.
    ``null``: ``epochs``."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest gradient norm, of policy and critic each (open in the paper)."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's decay of the mean gradient."""
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW's decay of the mean squared gradient."""
    micro_batch_tokens: int = Field(16384, ge=1)
    """Tokens per forward and backward pass, padding included where there is any. It sets memory,
    not results."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Type of matrix products; weights stay float32. ``bfloat16``: by autocast. ``auto``: bfloat16
    where the device is fast at it, else float32."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass: less memory, about a third more
    time."""
    frozen_dtype: Literal["float32", "bfloat16", "auto"] = "auto"
    """Type of weights that are never trained: the reference, and what adapters stand on. ``auto``:
    bfloat16 on a GPU where products are in bfloat16 (``precision``), else float32."""
    offload: Literal["none", "reference", "all"] = "reference"
    """What waits in host memory while it is not needed. ``reference``: the reference, but for
    scoring. ``all``: also the optimizers' states, but for their own steps. It has no effect on a
    CPU, nor on results."""

    @property
    def has_critic(self) -> bool:
        """Whether a value network is trained."""
        return self.advantage in ("turn_critic", "token_critic")

    @property
    def has_reference(self) -> bool:
        """Whether the policy's first weights are needed: for a KL penalty, or as a teacher."""
        return self.kl != "none" or self.teacher is not None

    @property
    def extra_critic_epochs(self) -> int:
        """Passes over a batch in which only the critic learns."""
        return (self.critic_epochs or self.epochs) - self.epochs

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
        if self.ratio in ("turn", "turn_mean") and self.per_token:
            raise ValueError(
                f"ratio is {self.ratio}, but advantage {self.advantage} with kl {self.kl} gives "
                "each token its own; allowed: ratio=token, or one advantage per turn"
            )
        if self.normalize == "none" and self.advantage == "reinforce++":
            raise ValueError(
                "normalize is none, but advantage reinforce++ is nothing but whitening; allowed: "
                "turns, tokens, turn_index"
            )
        if self.dual_clip is not None and self.ratio == "cispo":
            raise ValueError(
                f"dual_clip is {self.dual_clip:g}, but ratio is cispo, where clip_high bounds all "
                "ratios; allowed: null"
            )
        if self.dual_clip is not None and self.dual_clip <= 1 + (self.clip_high or self.clip):
            raise ValueError(
                f"dual_clip is {self.dual_clip:g}, but ratios are clipped to "
                f"{1 + (self.clip_high or self.clip):g}; allowed: more than that, or null"
            )
        if self.extra_critic_epochs < 0:
            raise ValueError(
                f"critic_epochs is {self.critic_epochs}, but epochs is {self.epochs}; allowed: "
                f"{self.epochs} or more, or null"
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
                ("critic_epochs", self.critic_epochs, None),
                ("critic_head_lr", self.critic_head_lr, None),
                ("critic_sees", self.critic_sees, "nothing"),
            )
            for key, value, neutral in neutrals:
                if value != neutral:
                    raise ValueError(
                        f"{key} is {'set' if neutral is None else value}, but advantage "
                        f"{self.advantage} has no critic; allowed: "
                        f"{'null' if neutral is None else neutral}"
                    )
        if self.kl == "reward_turn_mean" and self.advantage == "grpo":
            raise ValueError(
                "kl is reward_turn_mean, but advantage grpo divides a group's returns by their "
                "spread, which would make noise of the penalty as large as a reward where all "
                "others are equal; allowed: kl=loss_k3, loss_k2 or none, or advantage dr_grpo or "
                "rloo"
            )
        return self
