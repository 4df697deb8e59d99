"""Policy, critic and reference: modules whose ``forward`` is the whole pass over a batch.

Shapes: B rollouts, L tokens, U turns, H hidden size, N action tokens of a batch.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlef.learner.attention import can_pack, enable_packing, read
from rlef.learner.config import LearnerConfig
from rlef.learner.frozen import freeze, frozen_copy, frozen_dtype, frozen_twin
from rlef.learner.head import OutputHead, body, check_output_head
from rlef.learner.logprobs import likeliest_tokens, token_logprobs
from rlef.learner.lora import adapters_off, add_adapters
from rlef.learner.offload import Resting
from rlef.learner.packing import Packed
from rlef.learner.precision import (
    Precision,
    checkpoint_activations,
    resolve_precision,
    use_float32_attention,
)
from rlef.learner.ranks import Ranks
from rlef.learner.teacher import TeacherTokens, cross_entropy
from rlef.rollout import RolloutBatch, derive_seed


class ActionLogprobs(NamedTuple):
    """What the policy says of the tokens that were sampled."""

    logprobs: Tensor
    """(B, L) float32, log-probability of each action token given all before it, 0 elsewhere."""
    entropy: Tensor
    """(B, L) float32 in nats, of the distribution each action token was drawn from, 0 elsewhere;
    all 0 unless it was asked for."""
    cross_entropy: Tensor | None = None
    """(B, L) float32 in nats, of the teacher's distribution and this one, 0 where a token is not
    taught; ``None`` without a teacher."""


class Policy(nn.Module):
    """A language model as a policy: log-probabilities of what was sampled.

    Args:
        model: A causal language model whose logits are what ``OutputHead`` makes of its last
            hidden states (``check_output_head`` makes sure). It is not copied.
        temperature: What sampling divides the logits by.
    """

    def __init__(self, model: PreTrainedModel, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    @property
    def device(self) -> torch.device:
        """Where passes run."""
        return self.model.device

    def forward(
        self,
        batch: RolloutBatch,
        packed: Packed | None = None,
        *,
        with_entropy: bool = False,
        teacher: TeacherTokens | None = None,
    ) -> ActionLogprobs:
        """Returns log-probabilities and entropies of a batch's action tokens.

        Args:
            batch: The rollouts.
            packed: What ``lay_out`` made of them, on the model's device; ``None``: it is made here.
            with_entropy: Also compute entropies, which costs about half as much as the logits.
            teacher: Its distributions of the batch's tokens, on the model's device.
        """
        if packed is None:
            packed = self.lay_out(batch).to(self.model.device)
        states = read(body(self.model), packed).flatten(0, 1).index_select(0, packed.states)
        tokens, head = packed.targets[:, None], OutputHead.of(self.model)
        if teacher is not None:
            ids, probs = teacher.at(packed.places)
            tokens = torch.cat([tokens, ids], 1)
        found = token_logprobs(states, tokens, head, self.temperature, with_entropy=with_entropy)
        away = None
        if teacher is not None:
            away = packed.scatter(cross_entropy(found.logprobs[:, 1:], probs))
        return ActionLogprobs(
            packed.scatter(found.logprobs[:, 0]), packed.scatter(found.entropy), away
        )

    def likeliest(self, packed: Packed, count: int) -> tuple[Tensor, Tensor]:
        """Returns what ``likeliest_tokens`` does at each action token, in their order.

        Args:
            packed: What ``lay_out`` made of a batch, on the model's device.
            count: Tokens at each place.
        """
        states = read(body(self.model), packed).flatten(0, 1).index_select(0, packed.states)
        return likeliest_tokens(states, OutputHead.of(self.model), count, self.temperature)

    def logits(self, ids: Tensor) -> Tensor:
        """Returns the model's own logits, (B, L, V), of (B, L) token ids."""
        found: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return found

    def lay_out(self, batch: RolloutBatch) -> Packed:
        """Returns what the model has to read of a batch, on the CPU."""
        return Packed.before_actions(batch, packs=can_pack(self.model))


class WithoutAdapters(nn.Module):
    """A policy as it was before it got adapters; all its weights are the policy's own."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, batch: RolloutBatch, packed: Packed | None = None) -> ActionLogprobs:
        """As ``Policy.forward``."""
        with adapters_off(self.policy):
            found: ActionLogprobs = self.policy(batch, packed)
        return found

    def likeliest(self, packed: Packed, count: int) -> tuple[Tensor, Tensor]:
        """As ``Policy.likeliest``."""
        with adapters_off(self.policy):
            return self.policy.likeliest(packed, count)

    def lay_out(self, batch: RolloutBatch) -> Packed:
        """As ``Policy.lay_out``."""
        return self.policy.lay_out(batch)

    @property
    def device(self) -> torch.device:
        """As ``Policy.device``."""
        return self.policy.device


class Critic(nn.Module):
    """The value function: a backbone of its own and a linear head.

    Args:
        backbone: A language model's weights, copied from the policy's first ones (RLEF, A.1).
        seed: Of the head's random weights; they are drawn from N(0, 1 / H), the bias is 0.
        per_token: Values of tokens rather than of turns.
    """

    def __init__(self, backbone: PreTrainedModel, seed: int, *, per_token: bool = False) -> None:
        super().__init__()
        self.backbone = body(backbone)
        self.per_token = per_token
        hidden_size = int(backbone.config.get_text_config().hidden_size)
        self.head = nn.Linear(hidden_size, 1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            weight = torch.randn((1, hidden_size), generator=generator) / hidden_size**0.5
            self.head.weight.copy_(weight)
            self.head.bias.zero_()
        self.head.to(backbone.device)

    def forward(self, batch: RolloutBatch, packed: Packed | None = None) -> Tensor:
        """Returns the values of a batch, float32, 0 where there is no turn or no action token.

        Of turns: (B, U), V(c_t) at the last token of turn t's prompt. Of tokens: (B, L), before
        each action token, that is at the token in front of it; so the first one of a turn has
        the turn's value. What comes after the last of these in a sequence is not run: no value
        depends on it.

        Args:
            batch: The rollouts.
            packed: What ``lay_out`` made of them, on the model's device; ``None``: it is made here.
        """
        if packed is None:
            packed = self.lay_out(batch).to(self.head.weight.device)
        states = read(self.backbone, packed).flatten(0, 1).index_select(0, packed.states)
        return packed.scatter(self._values(states))

    def lay_out(self, batch: RolloutBatch) -> Packed:
        """Returns what the backbone has to read of a batch, on the CPU."""
        needed = Packed.before_actions if self.per_token else Packed.at_prompt_ends
        packs = can_pack(self.backbone)
        if batch.critic is None:
            return needed(batch, packs=packs)
        found = needed(batch.critic, packs=packs)
        return found.placed_in(batch) if self.per_token else found

    def _values(self, states: Tensor) -> Tensor:
        """(..., H) to (...)."""
        # Not self.head(...): autocast would round the values to bfloat16.
        return (states.float() * self.head.weight[0]).sum(-1) + self.head.bias


@dataclass(frozen=True, slots=True)
class Models:
    """The networks of an update.

    Attributes:
        policy: What is trained.
        critic: A copy of the policy's first weights with a random head; ``None`` without one.
        reference: The policy as it was at first; ``None`` without a KL penalty and a teacher.
        sharded: Whether each rank has a part of them.
    """

    policy: Policy
    critic: Critic | None
    reference: Policy | WithoutAdapters | None
    sharded: bool = False

    def resting_reference(self, config: LearnerConfig) -> Resting:
        """Returns the reference's tensors, to rest off the device, where only it needs them.

        Where adapters of the policy or the critic stand on them they stay; sharded ones have gone
        already.
        """
        ours = None if self.sharded or not reference_rests(config) else self.reference
        tensors = [] if ours is None else list(ours.parameters())
        device = self.policy.model.device
        return Resting(lambda: tensors, device, constant=True)


def reference_rests(config: LearnerConfig) -> bool:
    """Whether the reference leaves the device but for scoring, where it has memory of its own."""
    return config.offload != "none" and not config.lora and not config.critic_lora


def build_models(
    model: PreTrainedModel, config: LearnerConfig, seed: int, temperature: float, ranks: Ranks
) -> Models:
    """Makes all networks of an update from one model: on its device, or sharded over ranks.

    Args:
        model: The policy's first weights, float32; below adapters also bfloat16. It becomes the
            policy: it is not copied, and is changed in place. On ranks see ``load_on_ranks``.
        config: Which networks there are, and which of them are adapters on frozen weights.
        seed: Of the critic's head and of adapters.
        temperature: What sampling divides the logits by.
        ranks: Where the learner runs.

    Raises:
        ValueError: The model's logits are not its output embedding of its hidden states, ``peft``
            is needed and not there, or ``frozen_dtype`` cannot be had.
    """
    if ranks.several:
        from rlef.learner.sharding import sharded_models

        return sharded_models(model, config, seed, temperature, ranks)
    prepare(model, resolve_precision(config.precision, model.device), model.device)
    return join_models(model, config, seed, temperature)


def prepare(model: PreTrainedModel, precision: Precision, device: torch.device) -> None:
    """Chooses how a model attends on a device, in place, and checks how it makes logits.

    Raises:
        ValueError: Its logits are not its output embedding of its hidden states.
    """
    if not enable_packing(model, precision) and precision == "bfloat16":
        use_float32_attention(model, device)
    check_output_head(model)


def join_models(
    model: PreTrainedModel,
    config: LearnerConfig,
    seed: int,
    temperature: float,
    *,
    device: torch.device | None = None,
    copies: bool = True,
) -> Models:
    """As ``build_models``, of a model that is prepared; its tensors need hold nothing.

    Args:
        model: As there.
        config: As there.
        seed: As there.
        temperature: As there.
        device: Where passes will run; ``None``: where the model is.
        copies: False: networks are only read from, and share what begins alike, in any dtype.
    """
    policy, lora, critic_lora = Policy(model, temperature), config.lora, config.critic_lora
    dtype = frozen_dtype(config, device or model.device)
    reference: Policy | WithoutAdapters | None = None
    critic = None
    if lora is not None:
        freeze(model, dtype)
        first = model
        reference = WithoutAdapters(policy)
    elif config.has_reference or critic_lora is not None:
        # adapters begin as numbers of the dtype that they stand on
        first = model
        if copies or critic_lora is not None:
            first = frozen_copy(model, dtype, shares=not copies)
        reference = Policy(first, temperature)
    critic_lora = critic_lora or lora
    if config.has_critic:
        if critic_lora is not None:
            twin = frozen_twin(first)
        else:
            twin = copy.deepcopy(model) if copies else frozen_twin(model)
        critic = Critic(twin, seed, per_token=config.values_per_token)
        if critic_lora is not None:
            add_adapters(critic.backbone, critic_lora, derive_seed(seed, "critic adapters"))
    if lora is not None:
        add_adapters(model, lora, derive_seed(seed, "policy adapters"))
    if config.gradient_checkpointing:
        checkpoint_activations(model)
        if critic is not None:
            checkpoint_activations(critic.backbone)
    return Models(policy, critic, reference if config.has_reference else None)
