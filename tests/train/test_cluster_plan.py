"""Plans of clusters: who gets which GPUs, what fits, how long a batch takes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from transformers import LlamaConfig

from rlef.config import join_words, load_config
from rlef.train.cluster_plan import ClusterPlanner
from rlef.train.cluster_time import Clock, make_clock
from rlef.train.cluster_types import ClusterError, Gpus, Split, TooFewGpusError
from rlef.train.hardware import CARDS, Hardware, Workload, assume
from rlef.train.memory import GB
from rlef.train.recipe import TrainConfig

SMALL = LlamaConfig(
    vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
)  # fmt: skip
PARAMETERS = 2 * 512 * 64 + 64 + 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64)
LLAMA_8B = LlamaConfig(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
)  # fmt: skip
LLAMA_70B = LlamaConfig(
    vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80,
    num_attention_heads=64, num_key_value_heads=8, tie_word_embeddings=False,
)  # fmt: skip
PAPERS = [
    "learner.precision=bfloat16",
    "learner.gradient_checkpointing=true",
    "device=cuda",
    "rollout.max_new_tokens=2048",
]
PAPER = {
    "paper-8b": (LLAMA_8B, "36x8x80", []),
    "paper-70b": (
        LLAMA_70B,
        "288x8x80",
        ["cluster.rollout_actors=160", "cluster.learner_ranks=1024"],
    ),
}
"""Its GPUs: 160 to sample and 128 to learn, and 1,280 and 1,024."""
HOURS = 20
"""Of each, section 3.1."""


def recipe(*words: str) -> TrainConfig:
    """The paper's settings, but for those of clusters."""
    return load_config(TrainConfig, None, join_words(PAPERS, words))


def test_what_gpus_there_are() -> None:
    assert Gpus.parse("8x80") == Gpus(1, 8, 80 * GB)
    assert Gpus.parse("36x8x80").count == 288
    assert Gpus.parse("1x0.5").memory == GB // 2


@pytest.mark.parametrize("words", ["0x80", "8x0", "8y80", "8", "x80", "-8x80", "0x8x80", "8x80x"])
def test_what_is_no_cluster(words: str) -> None:
    with pytest.raises(ClusterError, match="allowed: GPUs x GB of each, such as 8x80"):
        Gpus.parse(words)


def test_assumptions_are_replaced_by_name() -> None:
    hardware, workload = assume(CARDS["a100"], Workload(), "network=1e9, turns=2")
    assert (hardware.network, workload.turns, hardware.flops) == (1e9, 2, 312e12)
    for words in ("speed=1", "turns=0", "turns=many", "name=1"):
        with pytest.raises(ValueError, match="allowed: "):
            assume(Hardware(), Workload(), words)


def clock(*words: str, workload: Workload | None = None) -> Clock:
    found = workload or Workload(
        prompt_tokens=100, feedback_tokens=50, answer_tokens=50, turns=2, spread=1e-9
    )
    return make_clock(recipe("learner.micro_batch_tokens=600", *words), SMALL, Hardware(), found, 8)


def test_micro_batches_are_dealt_out() -> None:
    """Rollouts of 250 tokens, two to a micro-batch of 600."""
    found = clock()
    assert found.workload.rollout_tokens == 250
    assert found.dealt(256, 600, 1)[1] == 256 * 250
    assert found.dealt(256, 600, 128) == (1, pytest.approx(500))
    assert found.dealt(256, 600, 64) == (2, pytest.approx(1000))
    assert found.dealt(256, 600, 256) == (1, pytest.approx(500))  # half of them have nothing to do
    uneven = clock(workload=replace(found.workload, spread=0.5))
    assert uneven.dealt(256, 600, 64)[1] > 1000  # the longest of 256 is waited for


def test_seconds_by_hand() -> None:
    """Products of an update, and bytes of a decoding step."""
    found, hardware = clock(), Hardware()
    matrices = 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    attention = 2 * 250**2 * 64 * 4
    forward = 2 * (matrices * 250 + 512 * 64 * 100) + attention
    checkpointed = 4 * forward  # once forward, once again, twice backward
    speed = hardware.flops * hardware.train_share
    assert found.update(1)["policy"] == pytest.approx(1024 * checkpointed / speed)
    again = clock("learner.replay.answers=64").update(1)["policy"] - found.update(1)["policy"]
    one_answer = 4 * (forward - 2 * 512 * 64 * 50)  # the logits of 50 tokens, in four steps
    assert again == pytest.approx(4 * 64 * one_answer / speed)
    kv_token = 2 * 4 * 2 * 16 * 2
    read = 2 * PARAMETERS + 3 * kv_token * (100 + 250) / 2
    step = 1e-3 + 4 * hardware.eager_layer_s + read / (3.35e12 * 0.75)
    assert found.step(3, 1) == pytest.approx(step)


def test_heads_of_keys_and_values_are_not_cut() -> None:
    """Two of them on four GPUs: each has one, with a copy beside it."""
    found, hardware = clock(), Hardware()
    assert [found.kv_on_gpu(gpus) for gpus in (1, 2, 4)] == [512, 256, 256]
    read = 2 * PARAMETERS / 4 + 3 * 256 * (100 + 250) / 2
    step = 1e-3 + 4 * hardware.eager_layer_s + 8 * hardware.cut_s + read / (3.35e12 * 0.75)
    assert found.step(3, 4) == pytest.approx(step)


def test_an_engine_is_cut_into_whole_heads() -> None:
    config = recipe("rollout.engine=vllm", "rollout.vllm.gpu_memory_utilization=0.0001")
    for gpus, each in (("2x4x1", 4), ("8x3x1", 2), ("1x8x1", 4), ("4x1x1", 1)):
        planner = ClusterPlanner(SMALL, Gpus.parse(gpus), Hardware(), Workload())
        assert planner._gpus_per_actor(config, clock()) == each
    odd = recipe("rollout.engine=vllm", "rollout.vllm.tensor_parallel_size=3")
    with pytest.raises(ClusterError, match=r"parallel_size is 3, .* allowed: 1, 2, 4$"):
        ClusterPlanner(SMALL, Gpus.parse("2x4x1"), Hardware(), Workload()).plan(odd)


@pytest.mark.parametrize("words", [("rollout_actors=1",), ("rollout_actors=1", "learner_ranks=1")])
def test_counts_that_do_not_go_with_whole_engines(words: Sequence[str]) -> None:
    """An engine takes all four GPUs, so that none is left to learn."""
    small = ("rollout.engine=vllm", "rollout.vllm.gpu_memory_utilization=0.0001")
    config = recipe(*small, *(f"cluster.{word}" for word in words))
    planner = ClusterPlanner(SMALL, Gpus.parse("2x4x1"), Hardware(), Workload())
    assert planner.plan(config).split.gpus_per_actor == 4
    planner = ClusterPlanner(SMALL, Gpus.parse("1x4x1"), Hardware(), Workload())
    with pytest.raises(TooFewGpusError, match=r"engines of 4 GPUs and what .* go on 4 GPUs"):
        planner.plan(config)


def test_columns_of_layers_are_whole_too() -> None:
    config = LlamaConfig(
        hidden_size=80, intermediate_size=64, num_attention_heads=20, num_key_value_heads=20
    )
    planner = ClusterPlanner(config, Gpus.parse("1x8x1"), Hardware(), Workload())
    heads = replace(clock(), kv_heads=20)
    assert [n for n in range(1, 21) if planner._may_be_cut(n, heads)] == [1, 2, 4]


def test_no_gpu_is_left_to_learn() -> None:
    config = recipe("rollout.engine=vllm", "rollout.vllm.tensor_parallel_size=4")
    planner = ClusterPlanner(SMALL, Gpus.parse("1x4x1"), Hardware(), Workload())
    with pytest.raises(ClusterError, match="has 4: none is left to learn; allowed: 5 or more"):
        planner.plan(config)


def test_a_batch_in_turns_ends_with_its_longest_rollout() -> None:
    lengths = Workload(answer_tokens=400, spread=0.5)
    one_by_one = clock("rollout.max_staleness=0", workload=lengths)
    flow = clock("rollout.max_staleness=1", workload=lengths)
    assert one_by_one.sampling(16, 1, 64) > 2 * flow.sampling(16, 1, 64)
    assert one_by_one.sampling(16, 1, 64) > one_by_one.sampling(32, 1, 64)


WORDS = ("rollout.engine=vllm", "rollout.max_staleness=1", "rollout.max_context=2048")


@pytest.fixture(scope="module")
def planner() -> ClusterPlanner:
    return ClusterPlanner(SMALL, Gpus.parse("2x4x1"), Hardware(), Workload())


def test_rollouts_that_outlast_their_staleness_are_counted(planner: ClusterPlanner) -> None:
    few = ("cluster.rollout_actors=1", "cluster.learner_ranks=7", "rollout.group=1024")
    one = planner.plan(recipe(*WORDS, *few))
    deep = [word.replace("staleness=1", "staleness=4") for word in WORDS]
    assert one.too_old > planner.plan(recipe(*deep, *few)).too_old
    assert Workload(spread=0.5).share_above(1) == pytest.approx(0.4013, abs=1e-4)  # Φ(-0.25)


def test_the_best_split_is_as_fast_as_any(planner: ClusterPlanner) -> None:
    best = planner.plan(recipe(*WORDS))
    split = best.split
    assert best.fits and split.gpus <= 8 and not split.colocate
    assert f"cluster.rollout_actors={split.rollout_actors}" in best.words
    for actors, ranks in ((1, 7), (4, 4), (6, 2)):
        given = (f"cluster.rollout_actors={actors}", f"cluster.learner_ranks={ranks}")
        other = planner.plan(recipe(*WORDS, *given))
        assert (other.split.rollout_actors, other.split.learner_ranks) == (actors, ranks)
        assert best.batch_s <= 1.02 * other.batch_s
    again = planner.plan(recipe(*WORDS, *best.words))
    assert again.batch_s == pytest.approx(best.batch_s) and again.words == ()


def test_a_rank_has_its_part_of_what_one_gpu_had(planner: ClusterPlanner) -> None:
    words = (*WORDS, "cluster.rollout_actors=1", "cluster.learner_ranks=4")
    parts = {phase.name: phase.parts for phase in planner.plan(recipe(*words)).rank.phases}
    step = parts["policy step"]
    assert step["policy weights"] == PARAMETERS  # 4 bytes each, over 4 ranks
    assert step["gradients"] == PARAMETERS
    block, root = (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64), 2 * 512 * 64 + 64
    assert parts["scoring"]["gathered layers"] == 2 * 2 * block + 4 * root
    assert step["gathered layers"] == 2 * 2 * block + 6 * block + 12 * root
    assert step["optimizer states"] == pytest.approx(4 * PARAMETERS, rel=0.1)
    assert "keys and values" not in {name for p in parts.values() for name in p if p[name]}


def test_in_turns_a_node_may_be_shared(planner: ClusterPlanner) -> None:
    words = ("rollout.engine=vllm", "rollout.max_context=2048", "cluster.colocate=true")
    found = planner.plan(recipe(*words))
    assert found.split == Split(
        rollout_actors=8, gpus_per_actor=1, learner_ranks=8, colocate=True,
        judge_cores=found.split.judge_cores,
    )  # fmt: skip
    assert found.fits and "rollout.vllm.sleep=true" in found.words
    assert "keys and values" in found.rank.phases[0].parts


def test_more_ranks_than_gpus_is_one_line_with_some_that_fit(planner: ClusterPlanner) -> None:
    words = (*WORDS, "cluster.rollout_actors=4", "cluster.learner_ranks=8")
    with pytest.raises(ClusterError, match="asks for 12 GPUs") as caught:
        planner.plan(recipe(*words))
    assert "--gpus has 8; allowed: up to those, such as cluster.rollout_actors=" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


def test_ranks_without_a_micro_batch_are_counted(planner: ClusterPlanner) -> None:
    words = (*WORDS, "cluster.rollout_actors=1", "cluster.learner_ranks=7")
    lazy = planner.plan(recipe(*words, "learner.micro_batch_tokens=200000"))
    assert lazy.busy_ranks < 7 and planner.plan(recipe(*words)).busy_ranks == 7


@pytest.mark.parametrize(("name", "low", "high"), [("paper-8b", 0.3, 1), ("paper-70b", 1, 2.2)])
def test_hours_of_the_papers_set_ups(name: str, low: float, high: float) -> None:
    """docs/scaling.md says why not nearer."""
    model, gpus, words = PAPER[name]
    config = load_config(TrainConfig, name, words)
    cluster, each = config.cluster, config.rollout.vllm.tensor_parallel_size
    assert cluster.rollout_actors * each + cluster.learner_ranks == Gpus.parse(gpus).count
    found = make_clock(config, model, Hardware(), Workload(), 8)
    update = sum(found.update(cluster.learner_ranks).values())
    sampling = found.sampling(cluster.rollout_actors, each, 13)
    sync = found.sync(cluster.learner_ranks, Gpus.parse(gpus).count, colocate=False)
    hours = config.updates / 4 * (max(sampling, update) + sync) / 3600
    assert low * HOURS < hours < high * HOURS


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_the_papers_set_ups_fit(name: str) -> None:
    model, gpus, words = PAPER[name]
    planner = ClusterPlanner(model, Gpus.parse(gpus), Hardware(), Workload())
    plan = planner.plan(load_config(TrainConfig, name, words))
    assert plan.fits and plan.bottleneck == "learner"
    assert plan.split.gpus == Gpus.parse(gpus).count
    assert max(phase.total for phase in plan.rank.phases) < 78 * GB
