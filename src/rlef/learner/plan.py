"""What an update takes in memory, phase by phase: arithmetic on counts of weights and passes.

Shapes: H hidden size, V vocabulary, T tokens of a micro-batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from rlef.learner.config import LearnerConfig
from rlef.learner.logprobs import LOGIT_BYTES
from rlef.learner.models import Models, join_models
from rlef.learner.passes import (
    PassBytes,
    Target,
    blocks,
    count_passes,
    numbers_of_layers,
    shaped_model,
    shortened,
)
from rlef.learner.precision import resolve_precision

SCORED_AT_ONCE = 2
"""Micro-batches of the scoring pass in one; see ``LocalLearner.score``."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What is in memory at the fullest moment of a part of the loop.

    Attributes:
        name: of the part.
        parts: bytes by what takes them.
    """

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes together."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Weights of the networks.

    Attributes:
        policy, critic, reference: bytes; what several share counts for the first of them.
        policy_trained, critic_trained: numbers of parameters that learn.
        embedding: bytes of the float32 gradient of the embeddings, where they learn with the
            policy; the critic's are as many where it learns whole.
        critic_embedding: the same of the critic.
        tied: whether input and output embeddings are one.
        head: (V, H).
        largest: bytes in float32 of the largest weight.
        block: numbers of parameters of the largest decoder layer, adapters included.
        block_trained: of these, those that learn with the policy.
        root: numbers of parameters outside the decoder layers.
        root_trained: of these, those that learn with the policy.
    """

    policy: int
    critic: int
    reference: int
    policy_trained: int
    critic_trained: int
    embedding: int
    critic_embedding: int
    tied: bool
    head: tuple[int, int]
    largest: int
    block: int
    block_trained: int
    root: int
    root_trained: int

    def grown(self, other: "Sizes", steps: int) -> "Sizes":
        """Returns the sizes with ``steps`` times what another model, of more layers, has more."""
        names = ("policy", "critic", "reference", "policy_trained", "critic_trained")
        own = {name: getattr(self, name) for name in names}
        return replace(
            self, **{n: size + steps * (getattr(other, n) - size) for n, size in own.items()}
        )


def settled(learner: LearnerConfig, target: Target) -> LearnerConfig:
    """Returns the settings with all that is ``auto`` as it comes out on a device."""
    on_gpu = target == "cuda"
    precision = learner.precision
    if precision == "auto":
        precision = "bfloat16" if on_gpu else resolve_precision("auto", torch.device("cpu"))
    dtype = learner.frozen_dtype
    if dtype == "auto":
        dtype = "bfloat16" if precision == "bfloat16" and on_gpu else "float32"
    return learner.model_copy(update={"precision": precision, "frozen_dtype": dtype})


def count_weights(
    config: PreTrainedConfig, learner: LearnerConfig, *, sharded: bool = False
) -> Sizes:
    """Counts the weights of all networks, made as the learner makes them but without memory.

    Args:
        config: Of the model.
        learner: As ``settled`` returns it.
        sharded: Policy and critic share no tensors.

    Raises:
        ValueError: ``peft`` is needed and not there.
    """
    model = shaped_model(config)
    layers, *numbers = numbers_of_layers(config)
    few, more = (shortened(config, number) for number in numbers)
    if numbers[0] < numbers[1]:  # adapters of many layers take long to make: count those of few
        steps, rest = divmod(layers - numbers[0], numbers[1] - numbers[0])
        least, next_one = (shaped_model(one).num_parameters() for one in (few, more))
        if not rest and model.num_parameters() == least + steps * (next_one - least):
            some = _count(shaped_model(few), learner, sharded=sharded)
            return some.grown(_count(shaped_model(more), learner, sharded=sharded), steps)
    return _count(model, learner, sharded=sharded)


def _count(model: PreTrainedModel, learner: LearnerConfig, *, sharded: bool) -> Sizes:
    models: Models = join_models(model, learner, 0, 1.0)
    seen: set[int] = set()

    def own(network: nn.Module | None) -> int:
        new = [] if network is None else [p for p in network.parameters() if id(p) not in seen]
        seen.update(id(p) for p in new)
        return sum(p.nbytes for p in new)

    def trained(network: nn.Module | None) -> int:
        parameters = [] if network is None else network.parameters()
        return sum(p.numel() for p in parameters if p.requires_grad)

    def learning(network: nn.Module | None) -> int:
        parts = [] if network is None else network.modules()
        weights = [part.weight for part in parts if isinstance(part, nn.Embedding)]
        return max((4 * w.numel() for w in weights if w.requires_grad), default=0)

    def numbers(network: nn.Module, *, learn: bool) -> int:
        some = network.parameters()
        return sum(p.numel() for p in some if p.requires_grad or not learn)

    def of_critic() -> int:
        return sum(p.nbytes for p in models.critic.parameters()) if models.critic else 0

    layers = blocks(models.policy)
    learns = numbers(models.policy, learn=True)
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    inputs: Any = model.get_input_embeddings()
    return Sizes(
        policy=own(models.policy),
        reference=own(models.reference),
        critic=of_critic() if sharded else own(models.critic),
        policy_trained=trained(models.policy),
        critic_trained=trained(models.critic),
        embedding=learning(models.policy),
        critic_embedding=learning(models.critic),
        tied=head.weight is inputs.weight,
        head=(int(head.weight.shape[0]), int(head.weight.shape[1])),
        largest=max(4 * p.numel() for p in models.policy.parameters()),
        block=max(numbers(layer, learn=False) for layer in layers),
        block_trained=max(numbers(layer, learn=True) for layer in layers),
        root=numbers(models.policy, learn=False) - numbers(layers, learn=False),
        root_trained=learns - numbers(layers, learn=True),
    )


@dataclass(frozen=True, slots=True)
class LearnerPlan:
    """An update, ready to be asked what it takes.

    Attributes:
        learner: the settings, as ``settled`` returns them.
        target: for what kind of device.
        sizes: of the networks.
        policy, critic: what their passes take by tokens; ``None``: no critic, or not to be counted.
        ranks: over how many devices weights, gradients and states are cut (FSDP2).
    """

    learner: LearnerConfig
    target: Target
    sizes: Sizes
    policy: Callable[[int], PassBytes] | None
    critic: Callable[[int], PassBytes] | None
    ranks: int = 1

    @classmethod
    def of(
        cls, config: PreTrainedConfig, learner: LearnerConfig, target: Target, ranks: int = 1
    ) -> "LearnerPlan":
        """Counts a model.

        Args:
            config: Of the model.
            learner: The settings; ``auto`` is settled here.
            target: For what kind of device.
            ranks: Over how many of them the learner is sharded.

        Raises:
            ValueError: ``peft`` is needed and not there.
        """
        learner = settled(learner, target)
        sharded = ranks > 1
        sizes = count_weights(config, learner, sharded=sharded)
        try:
            policy = count_passes(config, learner, "policy", target, sharded=sharded)
            critic = policy
            alike = learner.critic_lora in (None, learner.lora)
            if learner.has_critic and not alike:
                critic = count_passes(config, learner, "critic", target, sharded=sharded)
        except Exception:  # of any kind: it is the model's own code, run without values
            return cls(learner, target, sizes, None, None, ranks)
        return cls(learner, target, sizes, policy, critic if learner.has_critic else None, ranks)

    def with_settings(self, learner: LearnerConfig) -> "LearnerPlan":
        """Returns the plan with other settings of those that change no pass and no weight."""
        return replace(self, learner=settled(learner, self.target))

    def resident(self) -> dict[str, int]:
        """Returns what is on a device at all times."""
        sizes, learner = self.sizes, self.learner
        parts = {"policy weights": self._cut(sizes.policy)}
        parts["critic weights"] = self._cut(sizes.critic)
        if not self.reference_rests:
            parts["reference weights"] = self._cut(sizes.reference)
        if not self.states_rest:
            trained = sizes.policy_trained + (sizes.critic_trained if learner.has_critic else 0)
            parts["optimizer states"] = self._cut(8 * trained)
        return parts

    def _cut(self, size: int) -> int:
        """Returns a rank's part of so many bytes."""
        return -(-size // self.ranks)

    def gathered(self, *, trained: bool) -> int:
        """Returns bytes of what is whole for a moment on each of several ranks, as FSDP2 has it.

        The decoder layer that runs and the next one in the dtype of products; all outside the
        layers in float32. In steps also the gradients of a layer, and its sum's buffer in float32,
        and those of what is outside.

        Args:
            trained: In a step, not in a pass without gradient.
        """
        if self.ranks == 1:
            return 0
        sizes, width = self.sizes, 2 if self.learner.precision == "bfloat16" else 4
        gathered = 2 * width * sizes.block + 4 * sizes.root
        if trained:
            gathered += (width + 4) * sizes.block_trained + 8 * sizes.root_trained
        return gathered

    @property
    def reference_rests(self) -> bool:
        """Whether the reference is off the device but for scoring."""
        alone = self.learner.lora is None and self.learner.critic_lora is None
        return alone and self.learner.offload != "none" and self.target == "cuda"

    @property
    def states_rest(self) -> bool:
        """Whether optimizer states are off the device but for their own steps."""
        return self.learner.offload == "all" and self.target == "cuda"

    @property
    def host_bytes(self) -> int:
        """What rests in host memory."""
        sizes = self.sizes
        trained = sizes.policy_trained + sizes.critic_trained
        return sizes.reference * self.reference_rests + 8 * trained * self.states_rest

    def scoring(self, tokens: int) -> Phase:
        """Returns the scoring pass of a micro-batch of so many tokens."""
        parts = self.resident() | {"reference weights": self._cut(self.sizes.reference)}
        parts["gathered layers"] = self.gathered(trained=False)
        trunk = logits = 0
        if self.policy is not None:
            first = self.policy(tokens)
            forward, _ = head_bytes(self, tokens, entropy=True)
            moments = [(first.scoring, 0), (first.casts, forward)]
            if self.critic is not None:
                second = self.critic(tokens)
                moments.append((first.casts + second.scoring, 0))
            trunk, logits = max(moments, key=sum)
        return Phase("scoring", parts | {"activations": trunk, "logits": logits})

    def policy_step(self, tokens: int) -> Phase:
        """Returns the policy's part of an optimizer step, in micro-batches of so many tokens."""
        sizes = self.sizes
        moments = []
        if self.policy is not None:
            found = self.policy(tokens)
            trained_head = self.learner.lora is None
            forward, backward = head_bytes(
                self, tokens, entropy=self.learner.entropy_bonus != 0, trained=trained_head
            )
            # The gradient of a tied embedding waits for the other end of the backward pass.
            waits = sizes.embedding if sizes.tied else 0
            moments = [
                (found.forward, 0),
                (found.kept, forward),
                (found.saved, backward),
                (found.backward, waits),
                (0, sizes.embedding + waits),
            ]
        return self._step("policy step", sizes.policy_trained, moments)

    def critic_step(self, tokens: int) -> Phase:
        """Returns the critic's part of an optimizer step."""
        moments = []
        if self.critic is not None:
            found = self.critic(tokens)
            moments = [(found.forward, 0), (found.backward, 0), (self.sizes.critic_embedding, 0)]
        return self._step("critic step", self.sizes.critic_trained, moments)

    def _step(self, name: str, trained: int, moments: list[tuple[int, int]]) -> Phase:
        """Either passes or the optimizer's own step, whichever takes more."""
        parts = self.resident()
        parts["gradients"] = self._cut(4 * trained)
        parts["gathered layers"] = self.gathered(trained=True)
        passes = max(moments, key=sum, default=(0, 0))
        states = self._cut(8 * trained) if self.states_rest else 0
        own = 0 if self.target == "cuda" else 2 * self.sizes.largest  # no fused step: two copies
        if states + own > sum(passes):
            parts["optimizer states"] = parts.get("optimizer states", 0) + states
            passes = (own, 0)
        return Phase(name, parts | {"activations": passes[0], "logits": passes[1]})


def head_bytes(
    plan: LearnerPlan, tokens: int, *, entropy: bool, trained: bool = False
) -> tuple[int, int]:
    """Returns what the output head takes beside the layers' states, see ``learner.logprobs``.

    Args:
        plan: Whose head.
        tokens: Whose logits are needed.
        entropy: Whether entropies are.
        trained: Whether the head gets a gradient.

    Returns:
        Bytes in the forward pass and in the backward pass.
    """
    vocabulary, hidden = plan.sizes.head
    rows = max(1, LOGIT_BYTES[plan.target] // (4 * vocabulary))
    logits = 4 * vocabulary * min(rows, tokens)
    weight = vocabulary * hidden
    narrow = plan.target == "cuda" and plan.learner.precision == "bfloat16"
    rounded_before = plan.learner.lora is not None and plan.learner.frozen_dtype == "bfloat16"
    cast = 2 * weight if narrow and not rounded_before else 0
    forward = cast + (3 if entropy else 2) * logits
    slopes = logits // 2 if narrow else (logits if tokens > rows else 0)
    backward = cast + logits + slopes + 4 * tokens * hidden + (logits if entropy else 0)
    if trained:
        backward += 4 * weight * (2 if narrow else 1)
    return forward, backward
