"""What a recipe takes in memory on a card, whether it fits, and what to change first if not."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedConfig

from rlef.engines.half import halve
from rlef.engines.hf import SLOTS_ROUND
from rlef.learner.passes import Target, key_value_numbers, shaped_model
from rlef.learner.plan import SCORED_AT_ONCE, LearnerPlan, Phase
from rlef.train.recipe import TrainConfig

GB = 10**9
_MOST_TOKENS = 2**22
"""No micro-batch is planned beyond that."""
_ROUND = 256
"""Micro-batches are proposed as multiples of this."""
_RANK = 16
"""Of adapters that are proposed."""
_SAMPLED_LOGITS = 3
"""Float32 tensors of a row's vocabulary that exist when a token is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What a recipe takes.

    Attributes:
        parameters: of the model.
        memory: bytes of the card.
        phases: parts of the loop, each at its fullest moment.
        micro_batch: the largest ``learner.micro_batch_tokens`` that fits, 0 if none does; ``None``:
            passes of this model cannot be counted.
        kv_token: bytes of keys and values of a token; ``None``: they cannot be counted.
        kv_room: bytes that the rest leaves for keys and values while it samples.
        kv_used: bytes of them, as set.
        kv_least: bytes of a text of ``rollout.max_context``, 0 where they cannot be counted, or
            where nothing is sampled.
        host: bytes of what rests in host memory.
    """

    parameters: int
    memory: int
    phases: tuple[Phase, ...]
    micro_batch: int | None
    kv_token: int | None
    kv_room: int
    kv_used: int
    kv_least: int
    host: int

    @property
    def fits(self) -> bool:
        """Whether every phase does, and a text into what is set for keys and values."""
        return not self.over and not self.kv_missing

    @property
    def kv_missing(self) -> int:
        """Bytes that keys and values of one text need beyond what is set; engines refuse that."""
        return max(0, self.kv_least - self.kv_used)

    @property
    def over(self) -> int:
        """Bytes that the fullest phase has too many, 0 if it fits."""
        return max(0, *(phase.total - self.memory for phase in self.phases))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampler:
    """What sampling takes: while it samples, and at other times."""

    weights: int
    prompts: int
    keys_and_values: int
    beside: bool
    """Whether it goes on while the learner updates."""
    sleeps: bool


class Planner:
    """Plans recipes on one model; what was counted once is not counted again.

    Args:
        model: Settings of the model.
        ranks: Over how many cards the learner is sharded; one of them is planned.
        samples: Whether the engine is on the same card.
    """

    def __init__(self, model: PreTrainedConfig, ranks: int = 1, *, samples: bool = True) -> None:
        self._model = model
        self._ranks = ranks
        self._samples = samples
        self._counted: dict[str, LearnerPlan] = {}
        self._parameters = shaped_model(model).num_parameters()
        try:
            self._kv_numbers: int | None = key_value_numbers(model)
        except Exception:  # of any kind: it is the model's own code, run without values
            self._kv_numbers = None

    def of_rank(self, ranks: int, *, samples: bool) -> "Planner":
        """Returns one that plans a rank of so many, see ``Planner``; it counts nothing anew."""
        other = copy.copy(self)
        other._ranks, other._samples = ranks, samples
        return other

    def plan(self, config: TrainConfig, memory: int) -> MemoryPlan:
        """Returns what a recipe takes.

        Args:
            config: The recipe.
            memory: Bytes of the card.

        Raises:
            ValueError: It needs ``peft``, which is not installed.
        """
        learner = self._learner(config)
        sampler = self._sampler(config, learner, memory)
        phases = tuple(_phases(config, learner, sampler, config.learner.micro_batch_tokens))
        kv_token = self._kv_token(config, learner)
        slots = -(-config.rollout.max_context // SLOTS_ROUND) * SLOTS_ROUND
        if config.rollout.engine == "vllm" and learner.target == "cuda":
            kv_room = sampler.keys_and_values
        else:
            kv_room = max(0, memory - phases[0].total + sampler.keys_and_values)
        return MemoryPlan(
            parameters=self._parameters,
            memory=memory,
            phases=phases,
            micro_batch=_largest_micro_batch(config, learner, sampler, memory),
            kv_token=kv_token,
            kv_room=kv_room,
            kv_used=sampler.keys_and_values,
            kv_least=(kv_token or 0) * slots if self._samples else 0,
            host=learner.host_bytes,
        )

    def changes(self, config: TrainConfig, memory: int) -> list[str]:
        """Returns settings, the first thing to change first, with which a recipe fits.

        Empty: it fits as it is, or nothing that this knows makes it fit.
        """
        chosen: list[str] = []
        changed = config
        for propose in _PROPOSALS:
            plan = self.plan(changed, memory)
            if plan.fits:
                break
            words = propose(changed, plan)
            other = _with(changed, words) if words else None
            if other is not None and _helps(plan, self.plan(other, memory)):
                chosen += words
                changed = other
        fits = self.plan(changed, memory).fits
        return self._needed(config, memory, chosen) if fits else []

    def _needed(self, config: TrainConfig, memory: int, words: list[str]) -> list[str]:
        """Leaves out what is not needed once the others are there."""
        for word in list(words):
            others = [other for other in words if other != word]
            changed = _with(config, others)
            if changed is not None and self.plan(changed, memory).fits:
                words = others
        return words

    def _learner(self, config: TrainConfig) -> LearnerPlan:
        target: Target = "cpu" if config.device == "cpu" else "cuda"
        counts = {"micro_batch_tokens", "lr", "critic_lr", "critic_head_lr", "minibatch", "offload"}
        whole = self._ranks == 1
        key = f"{target} {whole} {config.learner.model_dump_json(exclude=counts)}"
        if key not in self._counted:
            self._counted[key] = LearnerPlan.of(self._model, config.learner, target, self._ranks)
        return replace(self._counted[key].with_settings(config.learner), ranks=self._ranks)

    def _width(self, learner: LearnerPlan) -> int:
        """Bytes of a number that the sampler computes with."""
        return 2 if learner.learner.precision == "bfloat16" else 4

    def _kv_token(self, config: TrainConfig, learner: LearnerPlan) -> int | None:
        if self._kv_numbers is None:
            return None
        layers = int(self._model.get_text_config().num_hidden_layers)
        spare = layers + 1 if config.rollout.engine == "hf" else layers  # see ``RowShape.cost``
        width = 4 if learner.target == "cpu" else self._width(learner)  # ``attention_dtype``
        return self._kv_numbers * width * spare // layers

    def _sampled_weights(self, learner: LearnerPlan, *, beside: bool) -> int:
        """Bytes of the copy that ``hf`` samples from; 0: it is the learner's own module."""
        if self._width(learner) == 4:
            return 4 * self._parameters * beside
        shaped = shaped_model(self._model)
        halve(shaped, torch.bfloat16, on_gpu=learner.target == "cuda")
        return sum(parameter.nbytes for parameter in shaped.parameters())

    def _sampler(self, config: TrainConfig, learner: LearnerPlan, memory: int) -> _Sampler:
        rollout, beside = config.rollout, config.rollout.max_staleness > 0
        if not self._samples:
            return _Sampler(weights=0, prompts=0, keys_and_values=0, beside=False, sleeps=True)
        if rollout.engine == "vllm" and learner.target == "cuda":
            share = int(rollout.vllm.gpu_memory_utilization * memory)
            weights = self._parameters * self._width(learner)
            return _Sampler(
                weights=min(weights, share),
                prompts=0,
                keys_and_values=max(0, share - weights),
                beside=True,
                sleeps=rollout.vllm.sleep and not beside,
            )
        prompts = 0
        if learner.policy is not None:
            passes = learner.policy(rollout.hf.prefill_tokens)
            prompts = passes.scoring - passes.casts
        logits = _SAMPLED_LOGITS * 4 * learner.sizes.head[0] * rollout.group
        return _Sampler(
            weights=self._sampled_weights(learner, beside=beside),
            prompts=prompts + logits,
            keys_and_values=int(rollout.hf.kv_memory_gb * GB),
            beside=beside,
            sleeps=False,
        )


def _phases(
    config: TrainConfig, learner: LearnerPlan, sampler: _Sampler, tokens: int
) -> Iterator[Phase]:
    """Yields the phases; a rollout is never cut, so that a long one may be a micro-batch."""
    own = {"sampler's weights": sampler.weights}
    busy = {"keys and values": sampler.keys_and_values, "prompts": sampler.prompts}
    samples = sampler.weights or sampler.keys_and_values
    yield Phase("sampling" if samples else "at rest", learner.resident() | own | busy)
    beside = {} if sampler.sleeps else own | (busy if sampler.beside else {})
    longest = longest_rollout(config)
    scoring = _scoring_critic(learner, scored_by_critic(config, tokens))
    yield _joined(scoring.scoring(max(SCORED_AT_ONCE * tokens, longest)), beside)
    yield _joined(learner.policy_step(max(tokens, longest)), beside)
    if learner.learner.has_critic:
        longest = longest_rollout(config, critic=True)
        yield _joined(learner.critic_step(max(tokens, longest)), beside)
    if config.rollout.engine == "hf" and sampler.beside:  # copies, for when it has sampled a batch
        twice = own | {"new weights": sampler.weights} | busy
        yield Phase("new weights", learner.resident() | twice)


def _largest_micro_batch(
    config: TrainConfig, learner: LearnerPlan, sampler: _Sampler, memory: int
) -> int | None:
    if learner.policy is None:
        return None

    def fits(tokens: int) -> bool:
        phases = list(_phases(config, learner, sampler, tokens))[1:]
        return all(phase.total <= memory for phase in phases)

    if not fits(1):
        return 0
    low, high = 1, _MOST_TOKENS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _helps(before: MemoryPlan, after: MemoryPlan) -> bool:
    if after.kv_missing < before.kv_missing:
        return True
    return after.over < before.over or (after.micro_batch or 0) > (before.micro_batch or 0)


def longest_rollout(config: TrainConfig, *, critic: bool = False) -> int:
    """Returns tokens of a rollout at most: of all its turns' sequences where these are apart.

    Args:
        config: The recipe.
        critic: As the critic reads it, with what it alone sees.
    """
    more = _private_tokens(config) if critic else 0
    return _sequences(config) * (config.rollout.max_context + more)


def scored_by_critic(config: TrainConfig, tokens: int | None = None) -> int:
    """Returns tokens that the critic reads of a part of the scoring pass at most.

    Parts are cut by what the policy reads (``LocalLearner.score``), at least a token of each
    sequence; the critic reads more of each.

    Args:
        config: The recipe.
        tokens: Of a micro-batch; ``None``: as the recipe says.
    """
    most = SCORED_AT_ONCE * (config.learner.micro_batch_tokens if tokens is None else tokens)
    sequences = min(config.rollout.batch * _sequences(config), most)
    several = most + sequences * _private_tokens(config)
    return max(several, longest_rollout(config, critic=True))


def _sequences(config: TrainConfig) -> int:
    """Of a rollout at most."""
    return config.rollout.turn_limit if config.model.turns == "per_turn" else 1


def _private_tokens(config: TrainConfig) -> int:
    """Tokens that the critic alone sees in front of a sequence at most, see ``PrivateTokens``."""
    return config.rollout.max_new_tokens if config.learner.critic_sees == "reference" else 0


def _scoring_critic(learner: LearnerPlan, tokens: int) -> LearnerPlan:
    """Returns a plan whose critic reads so many tokens, however many the policy reads."""
    critic = learner.critic
    return learner if critic is None else replace(learner, critic=lambda _: critic(tokens))


def _joined(phase: Phase, more: dict[str, int]) -> Phase:
    return Phase(phase.name, phase.parts | more)


# --- what to change -------------------------------------------------------------------------------


def _with(config: TrainConfig, words: list[str]) -> TrainConfig | None:
    """Returns the recipe with other settings; ``None`` where they do not go together."""
    values = config.model_dump()
    for word in words:
        key, _, value = word.partition("=")
        section = values
        *path, last = key.split(".")
        for name in path:
            section[name] = section[name] or {}
            section = section[name]
        section[last] = value
    try:
        return type(config).model_validate(values)
    except ValueError:
        return None


def _larger_cache(config: TrainConfig, plan: MemoryPlan) -> list[str]:
    """Room for one row of the whole context."""
    if not plan.kv_missing or config.rollout.engine != "hf":
        return []
    return [f"rollout.hf.kv_memory_gb={-(-plan.kv_least // (GB // 10)) / 10:g}"]


def _smaller_cache(config: TrainConfig, plan: MemoryPlan) -> list[str]:
    """Room for one row of the whole context at least."""
    sampling = plan.phases[0]
    if sampling.total <= plan.memory or plan.kv_token is None:
        return []
    least = plan.kv_least
    if config.rollout.engine == "hf" and plan.kv_room > least:
        return [f"rollout.hf.kv_memory_gb={plan.kv_room // (GB // 10) / 10:g}"]
    if config.rollout.engine == "vllm":
        others = sampling.total - plan.kv_used - sampling.parts["sampler's weights"]
        share = (plan.memory - others) / plan.memory
        if share * plan.memory > sampling.parts["sampler's weights"] + least:
            return [f"rollout.vllm.gpu_memory_utilization={int(100 * share) / 100:g}"]
    return []


def _sleeping_engine(config: TrainConfig, _plan: MemoryPlan) -> list[str]:
    rollout = config.rollout
    may = rollout.engine == "vllm" and not rollout.vllm.sleep and not rollout.max_staleness
    return ["rollout.vllm.sleep=true"] if may else []


def _smaller_micro_batch(config: TrainConfig, plan: MemoryPlan) -> list[str]:
    now, most = config.learner.micro_batch_tokens, plan.micro_batch
    if not most or most >= now:
        return []
    return [
        f"learner.micro_batch_tokens={max(1, most // _ROUND * _ROUND) if most > _ROUND else most}"
    ]


def _checkpointing(config: TrainConfig, _plan: MemoryPlan) -> list[str]:
    return [] if config.learner.gradient_checkpointing else ["learner.gradient_checkpointing=true"]


def _half_precision(config: TrainConfig, _plan: MemoryPlan) -> list[str]:
    may = config.learner.precision == "float32" and config.device != "cpu"
    return ["learner.precision=bfloat16"] if may else []


def _offload(config: TrainConfig, _plan: MemoryPlan) -> list[str]:
    may = config.learner.offload != "all" and config.device != "cpu"
    return ["learner.offload=all"] if may else []


def _critic_of_adapters(config: TrainConfig, _plan: MemoryPlan) -> list[str]:
    learner = config.learner
    whole = learner.has_critic and not learner.critic_lora and not learner.lora
    return [f"learner.critic_lora.rank={_RANK}"] if whole else []


def _policy_of_adapters(config: TrainConfig, _plan: MemoryPlan) -> list[str]:
    return [] if config.learner.lora else [f"learner.lora.rank={_RANK}"]


_PROPOSALS: tuple[Callable[[TrainConfig, MemoryPlan], list[str]], ...] = (
    _half_precision,
    _larger_cache,
    _smaller_cache,
    _sleeping_engine,
    _smaller_micro_batch,
    _checkpointing,
    _smaller_micro_batch,
    _offload,
    _smaller_cache,
    _smaller_micro_batch,
    _critic_of_adapters,
    _smaller_cache,
    _smaller_micro_batch,
    _policy_of_adapters,
    _smaller_cache,
    _smaller_micro_batch,
)
"""What costs least first: then what costs time, then what changes the method."""
