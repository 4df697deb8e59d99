"""Which recipes fit on a card, by the count of ``rlef plan``."""

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, MixtralConfig, PreTrainedConfig, Qwen2Config

from rlef.config import join_words, load_config
from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.learner.packing import Packed
from rlef.learner.passes import key_value_numbers
from rlef.learner.plan import LearnerPlan, Phase
from rlef.rollout import Rollout, RolloutBatch
from rlef.train.memory import GB, Planner, longest_rollout, scored_by_critic
from rlef.train.recipe import TrainConfig

QWEN_1_5B = Qwen2Config(
    vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,
    num_attention_heads=12, num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip
QWEN_3B = Qwen2Config(
    vocab_size=151936, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36,
    num_attention_heads=16, num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip
LLAMA_8B = LlamaConfig(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
)  # fmt: skip
SMALL = LlamaConfig(
    vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2,
)  # fmt: skip


ALONE = ["rollout.engine=hf", "rollout.max_staleness=0", "learner.micro_batch_tokens=16384"]
PLANNERS: dict[str, Planner] = {}


def planner(model: PreTrainedConfig) -> Planner:
    """One for each model: what it has counted holds for all tests."""
    key = str(model.hidden_size)
    if key not in PLANNERS:
        PLANNERS[key] = Planner(model)
    return PLANNERS[key]


def recipe(*words: str) -> TrainConfig:
    """The paper's settings in one process."""
    return load_config(TrainConfig, "paper-8b", join_words(ALONE, words))


@pytest.mark.parametrize(
    ("model", "words", "billions"),
    [
        (QWEN_1_5B, [], 1.54),
        (QWEN_3B, ["learner.critic_lora.rank=16"], 3.09),
        (LLAMA_8B, ["learner.lora.rank=16"], 8.03),
    ],
    ids=["1.5 B whole", "3 B with a critic of adapters", "8 B with adapters"],
)
def test_what_fits_on_80_gb(model: PreTrainedConfig, words: list[str], billions: float) -> None:
    plan = planner(model).plan(recipe(*words), 80 * GB)
    assert plan.parameters / 1e9 == pytest.approx(billions, abs=0.005)
    assert plan.fits and plan.micro_batch is not None and plan.micro_batch >= 16384
    assert plan.kv_token is not None and plan.kv_room // plan.kv_token > 30 * 8192
    for phase in plan.phases:
        assert phase.total <= 78 * GB, phase


def test_weights_by_hand() -> None:
    phases = planner(QWEN_1_5B).plan(recipe(), 80 * GB).phases
    sampling, scoring, policy, critic = phases
    parameters, heads = 1_543_714_304, 1_537  # of the model, and of the critic's head
    assert policy.parts["policy weights"] == 4 * parameters
    assert policy.parts["critic weights"] == 4 * (parameters + heads)
    assert policy.parts["gradients"] == 4 * parameters
    assert policy.parts["optimizer states"] == 8 * (2 * parameters + heads)
    assert "reference weights" not in policy.parts | critic.parts | sampling.parts  # in host memory
    assert scoring.parts["reference weights"] == pytest.approx(2 * parameters, rel=1e-3)
    embeddings = 151936 * 1536
    biases_and_norms = 28 * (1536 + 2 * 256 + 2 * 1536) + 1536
    linear = parameters - embeddings - biases_and_norms + 28 * (1536 + 2 * 256)
    norms = 28 * 2 * 1536 + 1536
    head = 2 * embeddings  # tied, but rounded on a GPU
    assert policy.parts["sampler's weights"] == 2 * linear + 4 * (embeddings + norms) + head
    *_, handing = planner(QWEN_1_5B).plan(recipe("rollout.max_staleness=1"), 80 * GB).phases
    assert handing.parts["new weights"] == policy.parts["sampler's weights"]
    assert key_value_numbers(QWEN_1_5B) == 28 * 2 * 2 * 128


def test_settings_that_move_memory_show_in_the_phase_where_they_do() -> None:
    def parts(phase: int, *words: str) -> dict[str, int]:
        return planner(SMALL).plan(recipe(*words), GB).phases[phase].parts

    assert parts(0, "learner.offload=all").get("optimizer states") is None
    assert parts(2, "learner.offload=none")["reference weights"] > 0
    whole, half = parts(2), parts(2, "learner.micro_batch_tokens=8192")
    assert 0.4 < half["activations"] / whole["activations"] < 0.6
    more = parts(2, "learner.gradient_checkpointing=false")["activations"]
    assert more > 2 * whole["activations"]
    assert parts(2, "rollout.max_staleness=1")["keys and values"] == 4 * GB
    vllm = ["rollout.engine=vllm", "rollout.vllm.gpu_memory_utilization=0.5"]
    share = parts(0, *vllm)
    assert share["keys and values"] + share["sampler's weights"] == GB // 2
    assert "keys and values" in parts(2, *vllm)
    assert "keys and values" not in parts(2, *vllm, "rollout.vllm.sleep=true")


def test_the_largest_micro_batch_fits_and_no_larger_one() -> None:
    words = ["rollout.max_context=64", "rollout.max_new_tokens=32", "rollout.hf.kv_memory_gb=0.001"]
    most = planner(SMALL).plan(recipe(*words), GB).micro_batch
    assert most is not None and most > 1000
    for tokens, fits in ((most, True), (most + 1, False)):
        word = f"learner.micro_batch_tokens={tokens}"
        assert planner(SMALL).plan(recipe(*words, word), GB).fits == fits


@pytest.mark.parametrize(
    ("model", "gigabytes", "words", "first"),
    [
        (QWEN_1_5B, 80, ["rollout.hf.kv_memory_gb=60"], "rollout.hf.kv_memory_gb="),
        (QWEN_1_5B, 80, ["learner.micro_batch_tokens=200000"], "learner.micro_batch_tokens="),
        (QWEN_3B, 80, [], "learner.offload=all"),
        (QWEN_3B, 64, [], "learner.critic_lora.rank=16"),
    ],
)
def test_the_first_thing_to_change_makes_it_fit(
    model: PreTrainedConfig, gigabytes: int, words: list[str], first: str
) -> None:
    plans, memory = planner(model), gigabytes * GB
    assert not plans.plan(recipe(*words), memory).fits
    changes = plans.changes(recipe(*words), memory)
    assert any(change.startswith(first) for change in changes)
    changed = {word.partition("=")[0] for word in changes}
    others = [word for word in words if word.partition("=")[0] not in changed]
    assert plans.plan(recipe(*others, *changes), memory).fits


def test_nothing_makes_a_model_fit_that_is_larger_than_the_card() -> None:
    assert planner(SMALL).changes(recipe(), GB // 1000) == []


def test_a_text_that_keys_and_values_do_not_take_does_not_fit() -> None:
    small = recipe("rollout.hf.kv_memory_gb=0.0001")
    plan = planner(SMALL).plan(small, 24 * GB)
    assert not plan.over and plan.kv_missing > 0 and not plan.fits
    assert planner(SMALL).changes(small, 24 * GB) == ["rollout.hf.kv_memory_gb=0.1"]


def test_turns_that_are_sequences_of_their_own_make_a_rollout_longer() -> None:
    assert longest_rollout(recipe()) == 8192
    assert longest_rollout(recipe("model.turns=per_turn")) == 3 * 8192


def test_what_the_critic_alone_sees_is_planned() -> None:
    """By hand: of 8,192 tokens at most 2,048 more in front; a batch has 16 rollouts."""
    few = ["learner.micro_batch_tokens=4096", "rollout.batch=16", "learner.minibatch=16"]
    sees = [*few, "learner.critic_sees=reference"]
    model = planner(SMALL)
    _, scoring, policy, critic = model.plan(recipe(*few), GB).phases
    _, more_scoring, same_policy, more_critic = model.plan(recipe(*sees), GB).phases
    learner = LearnerPlan.of(SMALL, recipe(*sees).learner, "cuda")
    assert learner.critic is not None and learner.policy is not None

    def activations(phase: Phase) -> int:
        return phase.parts["activations"]

    assert same_policy == policy
    assert activations(critic) == activations(learner.critic_step(8192))
    assert activations(more_critic) == activations(learner.critic_step(8192 + 2048))
    assert activations(scoring) == activations(learner.scoring(8192))
    assert scored_by_critic(recipe(*sees)) == 8192 + 16 * 2048
    passes = learner.policy(8192).casts + learner.critic(8192 + 16 * 2048).scoring
    assert activations(more_scoring) == passes > activations(scoring)
    assert longest_rollout(recipe(*sees), critic=True) == 8192 + 2048
    apart = recipe(*sees, "model.turns=per_turn")
    assert longest_rollout(apart, critic=True) == 3 * (8192 + 2048)
    assert scored_by_critic(apart) == max(3 * (8192 + 2048), 8192 + 48 * 2048)


@pytest.mark.parametrize("turns", ["append", "per_turn"])
@pytest.mark.parametrize("packs", [True, False])
def test_no_part_that_the_critic_scores_is_larger_than_planned(turns: str, packs: bool) -> None:
    """Parts as ``LocalLearner.score`` cuts them: by what the policy reads."""
    rng = Random(0)
    each = 3 if turns == "per_turn" else 1
    words = [f"model.turns={turns}", "rollout.max_context=40", "rollout.max_new_tokens=12"]
    words += ["learner.critic_sees=reference", "rollout.batch=16", "learner.minibatch=16"]
    words += ["rollout.turn_limit=3"]
    for most in (1, 10, 30, 100, 1000):
        config = recipe(*words, f"learner.micro_batch_tokens={most}")
        rollouts = [
            short_rollout([rng.choice((2, 3, 9, 40)) for _ in range(each)]) for _ in range(16)
        ]
        seen = [[1] * rng.choice((12, 12, 0)) for _ in rollouts]
        batch = RolloutBatch.from_rollouts(rollouts, 3, seen)
        assert batch.critic is not None
        largest = 0
        for places in Packed.before_actions(batch, packs=packs).groups(2 * most):
            part = batch.critic.select(torch.tensor(places))
            largest = max(largest, Packed.before_actions(part, packs=packs).token_ids.numel())
        assert 0 < largest <= scored_by_critic(config)


def short_rollout(lengths: list[int]) -> Rollout:
    """One of a turn in each of its sequences; its last token is sampled."""
    ends = np.cumsum(lengths, dtype=np.int32)
    turn_ids = np.full(ends[-1], -1, np.int32)
    turn_ids[ends - 1] = np.arange(len(lengths))
    turn = TurnRecord(response="r", program="p", public_verdicts=(), feedback=None)
    record = EpisodeRecord(
        problem="p", family=None, hidden_detail=None, turns=(turn,) * len(lengths),
        stop=StopReason.TURN_LIMIT, solved=False, final_verdict=None,
    )  # fmt: skip
    return Rollout(
        record=record,
        token_ids=np.zeros(ends[-1], np.int32),
        sequence_starts=np.array([0, *ends[:-1]], np.int32),
        turn_ids=turn_ids,
        logprobs=np.zeros(ends[-1], np.float32),
        prompt_ends=ends - 2,
        rewards=np.zeros(len(lengths), np.float32),
        policy_versions=np.zeros(len(lengths), np.int64),
        seed=0,
    )


def test_a_model_that_cannot_run_without_values_is_planned_by_its_weights() -> None:
    small: dict[str, Any] = SMALL.to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    experts = MixtralConfig(
        **{name: small[name] for name in names}, num_attention_heads=4, num_key_value_heads=2,
        num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    plan = Planner(experts).plan(recipe("rollout.hf.kv_memory_gb=0.1"), GB)
    assert plan.phases[2].parts["gradients"] == 4 * plan.parameters
    assert plan.micro_batch is None and plan.kv_token == 2 * (4 * 2 * 2 * 16) * 5 // 4
