"""How long the parts of a batch take on a cluster, by counts of operations and of bytes.

Arithmetic only: what is assumed stands in ``train.hardware``, what is counted comes from the
model's own modules without weights. Shapes: T tokens of a rollout, N parameters.
"""

import math
from dataclasses import dataclass, replace

from transformers import PreTrainedConfig

from rlef.learner.config import LearnerConfig
from rlef.learner.flops import pass_cost
from rlef.learner.models import join_models
from rlef.learner.passes import blocks, key_value_numbers, shaped_model
from rlef.learner.plan import SCORED_AT_ONCE
from rlef.train.hardware import Hardware, Workload
from rlef.train.recipe import TrainConfig

_ADAM_BYTES = 28
"""Of a parameter in a step: weight and both moments read and written, the gradient read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What a rollout of the mean length costs, in floating-point operations.

    Attributes:
        scoring: the passes of all networks without gradient.
        policy, critic: passes with gradient, what checkpoints compute again included.
        replayed: the policy's pass over a solved answer that is learnt once more.
        token: one token forward, without attention.
        policy_weights, critic_weights: parameters.
        policy_trained, critic_trained: of these, those that learn.
        outside: parameters of the policy outside of its decoder layers; float32 when gathered.
        layers: decoder layers.
    """

    scoring: float
    policy: float
    critic: float
    replayed: float
    token: float
    policy_weights: int
    critic_weights: int
    policy_trained: int
    critic_trained: int
    outside: int
    layers: int


def count_operations(
    model: PreTrainedConfig, learner: LearnerConfig, workload: Workload
) -> Operations:
    """Counts a model's passes over a rollout of the mean length.

    Args:
        model: Of the model.
        learner: Settings of the update.
        workload: What rollouts are like.
    """
    models = join_models(shaped_model(model), learner, 0, 1.0)
    whole, sampled = round(workload.rollout_tokens), round(workload.sampled_tokens)
    again = 1 if learner.gradient_checkpointing else 0
    cost = pass_cost(models.policy.model, [whole], sampled)
    scoring = cost.forward * (1 if learner.kl == "none" else 2)
    if learner.teacher is not None:  # at most: not every later answer is taught
        later = max(0, round(workload.sampled_tokens - workload.answer_tokens))
        scoring += pass_cost(models.policy.model, [whole], later).forward
    policy = cost.both + again * cost.forward
    answer = pass_cost(models.policy.model, [whole], round(workload.answer_tokens))
    critic = 0.0
    critic_weights = critic_trained = 0
    if models.critic is not None:
        # Values are read at the ends of prompts: the last answer is not needed.
        read = whole if learner.values_per_token else round(whole - workload.answer_tokens)
        value = pass_cost(models.critic.backbone, [read], 0)
        scoring += value.forward
        critic = value.both + again * value.forward
        critic_weights = sum(p.numel() for p in models.critic.parameters())
        critic_trained = sum(p.numel() for p in models.critic.parameters() if p.requires_grad)
    policies = list(models.policy.parameters())
    settings = model.get_text_config()
    return Operations(
        scoring=scoring,
        policy=policy,
        critic=critic,
        replayed=answer.both + again * answer.forward,
        token=pass_cost(models.policy.model, [1], 1).forward,
        policy_weights=sum(p.numel() for p in policies),
        critic_weights=critic_weights,
        policy_trained=sum(p.numel() for p in policies if p.requires_grad),
        critic_trained=critic_trained,
        outside=_outside(model),
        layers=int(settings.num_hidden_layers),
    )


def _outside(model: PreTrainedConfig) -> int:
    shaped = shaped_model(model)
    return shaped.num_parameters() - sum(p.numel() for p in blocks(shaped).parameters())


def fitted(workload: Workload, config: TrainConfig) -> Workload:
    """Returns the workload within what a recipe allows: its turns, answers and context."""
    rollout = config.rollout
    turns = max(1.0, min(workload.turns, rollout.turn_limit))
    answer = min(workload.answer_tokens, rollout.max_new_tokens)
    found = replace(workload, turns=turns, answer_tokens=answer)
    most = float(rollout.max_context)
    if found.rollout_tokens <= most:
        return found
    share = most / found.rollout_tokens
    return replace(
        found,
        prompt_tokens=found.prompt_tokens * share,
        feedback_tokens=found.feedback_tokens * share,
        answer_tokens=found.answer_tokens * share,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Tells seconds of the parts of a batch.

    Attributes:
        config: the recipe.
        operations: of its model.
        kv_token: bytes of keys and values of a token in the engine.
        kv_heads: of these, so many parts may lie on GPUs of their own; more GPUs hold copies.
        hardware, workload: what is assumed; the workload as ``fitted`` returns it.
        gpus_per_node: neighbours on ``Hardware.link``.
    """

    config: TrainConfig
    operations: Operations
    kv_token: int
    kv_heads: int
    hardware: Hardware
    workload: Workload
    gpus_per_node: int

    @property
    def width(self) -> int:
        """Bytes of a weight in the engine."""
        return 4 if self.config.learner.precision == "float32" else 2

    def update(self, ranks: int) -> dict[str, float]:
        """Returns seconds of an update on all of a batch: scoring, policy, critic, optimizer."""
        config, counted = self.config, self.operations
        micro, batch = config.learner.micro_batch_tokens, config.rollout.batch
        steps, minibatch = config.updates_per_batch, config.learner.minibatch
        width, outside = self.width, counted.outside
        inside = counted.policy_weights - outside
        gather = width * inside + 4 * outside
        networks = (counted.policy_weights > 0) + (config.learner.kl != "none")
        networks += config.learner.teacher is not None
        of_critic = (width * inside + 2 * outside) if counted.critic else 0
        scoring = self._passes(
            batch, SCORED_AT_ONCE * micro, ranks, counted.scoring, networks * gather + of_critic
        )
        # Gathered forward and backward; gradients are summed in float32.
        moved = gather + width * inside + 4 * counted.policy_trained
        policy = steps * self._passes(minibatch, micro, ranks, counted.policy, moved)
        if config.learner.replay is not None:
            answers = config.learner.replay.answers
            policy += steps * self._passes(answers, micro, ranks, counted.replayed, moved)
        critic = 0.0
        if counted.critic:
            moved = of_critic + width * inside + 4 * counted.critic_trained
            own = batch // minibatch * config.learner.extra_critic_epochs
            critic = (steps + own) * self._passes(minibatch, micro, ranks, counted.critic, moved)
        return {
            "scoring": scoring,
            "policy": policy,
            "critic": critic,
            "optimizers": steps * self._optimizers(ranks),
        }

    def _passes(
        self, rollouts: int, micro: int, ranks: int, operations: float, moved: float
    ) -> float:
        """Passes over some rollouts in micro-batches that are dealt out to the ranks.

        Each rank runs as many; the slowest rank of each is waited for, and gathering goes on
        meanwhile.
        """
        tokens = self.workload.rollout_tokens
        rounds, slowest = self.dealt(rollouts, micro, ranks)
        computing = (
            slowest / tokens * operations / (self.hardware.flops * self.hardware.train_share)
        )
        return max(computing, rounds * self._collective(moved, ranks))

    def dealt(self, rollouts: int, micro: int, ranks: int) -> tuple[int, float]:
        """Returns micro-batches of each rank, and the tokens that are waited for.

        Args:
            rollouts: In all.
            micro: Most tokens of a micro-batch, unless a rollout has more.
            ranks: That share them.
        """
        tokens = self.workload.rollout_tokens
        if ranks == 1:
            each = max(1.0, micro / tokens)
            return math.ceil(rollouts / each), rollouts * tokens
        each = max(1, int(micro / tokens))
        rounds = math.ceil(math.ceil(rollouts / each) / ranks)
        full = min(each, rollouts) * tokens
        most = float(self.config.rollout.max_context)
        longest = min(most, self.workload.longest(rollouts) * tokens)
        return rounds, (rounds - 1) * full + max(full, longest)

    def _collective(self, size: float, ranks: int) -> float:
        """Seconds of an all-gather of so many bytes in all, or of a reduce-scatter."""
        if ranks == 1:
            return 0.0
        hardware, near = self.hardware, min(ranks, self.gpus_per_node)
        if ranks <= self.gpus_per_node:
            return size * (ranks - 1) / ranks / (hardware.link * hardware.move_share)
        return size / (near * hardware.network * hardware.move_share)

    def _optimizers(self, ranks: int) -> float:
        counted, hardware = self.operations, self.hardware
        trained = (counted.policy_trained + counted.critic_trained) / ranks
        seconds = trained * _ADAM_BYTES / (hardware.bandwidth * hardware.read_share)
        if self.config.learner.offload == "all" and self.config.device != "cpu":
            seconds += 16 * trained / hardware.host
        return seconds

    # --- sampling ---------------------------------------------------------------------------------

    def kv_on_gpu(self, gpus: int) -> float:
        """Bytes of a token's keys and values on each GPU of an engine that is cut over some."""
        return self.kv_token / min(gpus, self.kv_heads)

    def step(self, rows: float, gpus: int) -> float:
        """Seconds of a decoding step of so many rows, on an engine cut over some GPUs."""
        hardware, counted, workload = self.hardware, self.operations, self.workload
        context = (workload.prompt_tokens + workload.rollout_tokens) / 2
        size = counted.policy_weights * self.width / gpus
        size += rows * context * self.kv_on_gpu(gpus)
        reading = size / (hardware.bandwidth * hardware.read_share)
        computing = rows * counted.token / (gpus * hardware.flops * hardware.prefill_share)
        eager = self.config.rollout.engine == "hf" and not self.config.rollout.hf.cuda_graphs
        launches = counted.layers * (hardware.eager_layer_s if eager else hardware.layer_s)
        cuts = 2 * counted.layers * hardware.cut_s if gpus > 1 else 0.0
        return hardware.step_s + launches + cuts + max(reading, computing)

    def prompts(self, gpus: int) -> float:
        """Seconds of an engine for the prompts of an episode, earlier turns remembered."""
        workload, hardware = self.workload, self.hardware
        tokens = workload.rollout_tokens - workload.sampled_tokens
        return tokens * self.operations.token / (gpus * hardware.flops * hardware.prefill_share)

    def sampling(self, actors: int, gpus: int, rows: int) -> float:
        """Seconds until a batch has been sampled.

        Side by side with the learner there are always enough episodes, so that it is a matter of
        rate. In turns the batch ends with its longest rollout, by when most rows are empty.

        Args:
            actors: Engines.
            gpus: Of each.
            rows: That each samples at once.
        """
        batch, sampled = self.config.rollout.batch, self.workload.sampled_tokens
        if self.config.rollout.max_staleness:
            each = sampled * self.step(rows, gpus) / rows + self.prompts(gpus)
            return batch / actors * each
        mine = math.ceil(batch / actors)
        at_once = min(mine, rows)
        before = (mine - at_once) * sampled * self.step(at_once, gpus) / at_once
        return before + self._tail(at_once, gpus) + mine * self.prompts(gpus)

    def _tail(self, rows: int, gpus: int) -> float:
        """Seconds from a full engine to an empty one; the last row is the batch's longest."""
        workload, sampled = self.workload, self.workload.sampled_tokens
        most = min(
            float(self.config.rollout.max_new_tokens * self.config.rollout.turn_limit),
            sampled * workload.longest(self.config.rollout.batch),
        )
        lengths = [sampled * workload.quantile((row + 0.5) / rows) for row in range(rows - 1)]
        lengths = [min(most, length) for length in lengths] + [most]
        seconds = done = 0.0
        for ended, length in enumerate(lengths):
            seconds += (length - done) * self.step(rows - ended, gpus)
            done = length
        return seconds

    # --- what else there is -----------------------------------------------------------------------

    def judging(self, cores: int) -> float:
        """Seconds of so many cores for the programs of a batch."""
        return self.config.rollout.batch * self.core_seconds / cores

    @property
    def core_seconds(self) -> float:
        """Core-seconds that the programs of an episode take."""
        return self.workload.tests * self.workload.test_cpu_s

    def sync(self, ranks: int, gpus: int, *, colocate: bool) -> float:
        """Seconds until all engines have new weights.

        Each tensor is gathered, and the first rank sends it to all of them; on the same GPU it is
        read there.

        Args:
            ranks: Of the learner.
            gpus: In all.
            colocate: Whether engines share the learner's GPUs.
        """
        hardware = self.hardware
        size = self.operations.policy_weights * self.width
        seconds = self._collective(size, ranks)
        if gpus == 1:
            return seconds + size / (hardware.bandwidth * hardware.read_share)
        near = colocate or gpus <= self.gpus_per_node
        return seconds + size / (
            (hardware.link if near else hardware.network) * hardware.sync_share
        )


def make_clock(
    config: TrainConfig,
    model: PreTrainedConfig,
    hardware: Hardware,
    workload: Workload,
    gpus_per_node: int,
) -> Clock:
    """Returns what tells the times of a recipe.

    Args:
        config: The recipe.
        model: Settings of its model.
        hardware: What is assumed of GPUs.
        workload: What is assumed of rollouts.
        gpus_per_node: See ``Clock``.

    Raises:
        Exception: Of any kind: keys and values cannot be counted, see ``key_value_numbers``.
    """
    workload = fitted(workload, config)
    width = 4 if config.learner.precision == "float32" else 2
    settings = model.get_text_config()
    heads = getattr(settings, "num_key_value_heads", None) or settings.num_attention_heads
    return Clock(
        config=config,
        operations=count_operations(model, config.learner, workload),
        kv_token=key_value_numbers(model) * width,
        kv_heads=int(heads),
        hardware=hardware,
        workload=workload,
        gpus_per_node=gpus_per_node,
    )
