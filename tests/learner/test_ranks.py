"""A learner on several ranks is the learner of one process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_lessons, make_model, make_rollout
from on_ranks import on_ranks
from test_checkpoint import chat_tokenizer, qwen3
from test_reading import gemma3
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlef.cli.main import main
from rlef.engines.load import load_model
from rlef.engines.names import check_model
from rlef.engines.sharded import whole
from rlef.engines.types import ModelError
from rlef.learner.config import LearnerConfig
from rlef.learner.export import write_weights
from rlef.learner.frozen import loading_dtype
from rlef.learner.packing import bins, spread
from rlef.learner.passes import shaped_model
from rlef.learner.ranks import Ranks
from rlef.learner.sharding import load_on_ranks
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.rollout.teacher import TeacherBatch

ONE = Ranks()
LORA = {"lora": {"rank": 2}, "critic_lora": {"rank": 3}}
BFLOAT16 = {"precision": "bfloat16", "micro_batch_tokens": 1, "gradient_checkpointing": True}
CRITIC_LORA = {**BFLOAT16, "frozen_dtype": "bfloat16", "critic_lora": {"rank": 2}}
ON_FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "bfloat16": ("rounded", BFLOAT16),
    "critic's adapters": ("rounded", CRITIC_LORA),
    "float32": ("rounded", {}),
    "Gemma": ("gemma", {}),
}
TAUGHT: list[dict[str, Any]] = [
    {"teacher": {"top": 5}, "kl": "none", "micro_batch_tokens": 1},
    {"teacher": {"weight": 2.0}, **LORA},
]
REPLAYED: list[dict[str, Any]] = [
    {"replay": {"weight": 2.0}, "micro_batch_tokens": 1},
    {"replay": {}, "lora": {"rank": 2}},
]
ROWS = [[3, 4, 5, 6, 7], [8, 9, 10, 11, 2]]


def new_learner(ranks: Ranks, changes: dict[str, Any]) -> LocalLearner:
    common = {"lr": 1e-3, "minibatch": 5, "warmup_updates": 0, "micro_batch_tokens": 16}
    model = make_model() if ranks.first else shaped_model(make_model().config)
    config = LearnerConfig(**(common | changes))
    return LocalLearner(model, config, 0, tokenizer=chat_tokenizer(), ranks=ranks)


def seeded(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    return make()


def one_rollout() -> RolloutBatch:
    return RolloutBatch.from_rollouts([make_rollout([(3, 2), (4, 3)], seed=1)], num_turns=3)


def state(learner: LocalLearner) -> dict[str, Tensor]:
    """All weights, whole; every rank has to ask."""
    found = {}
    for name, network in (("policy", learner.policy), ("critic", learner.critic)):
        for key, tensor in ({} if network is None else network.state_dict()).items():
            found[f"{name}.{key}"] = whole(tensor).clone()
    return found


def assert_near(ours: dict[str, Tensor], theirs: dict[str, Tensor], near: float = 2e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=near, msg=name)


def assert_alike(ours: Any, theirs: Any, near: float = 2e-5) -> None:
    """Metrics of updates, and what these came to."""
    (metrics, *weights), (their_metrics, *their_weights) = ours, theirs
    for line, other in zip(metrics, their_metrics, strict=True):
        assert line.keys() == other.keys()
        for key in line.keys() - {"score_s"}:
            assert line[key] == pytest.approx(other[key], rel=1e-3, abs=20 * near, nan_ok=True), key
    for one, other in zip(weights, their_weights, strict=True):
        assert_near(one, other, near)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("ranks")
    for name in ("whole", "adapters", "experts"):
        (made / name).mkdir()
    make_model().to(torch.bfloat16).save_pretrained(made / "rounded", max_shard_size="1KB")
    seeded(gemma3).to(torch.float16).save_pretrained(made / "gemma")
    return made


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    """What the two ranks found that have written ``folder``."""
    return on_ranks(2, at_two, folder)


# --- updates --------------------------------------------------------------------------------------


def ten_steps(ranks: Ranks, changes: dict[str, Any]) -> Any:
    learner = new_learner(ranks, changes)
    return [learner.update(make_batch(), steps=2) for _ in range(5)], state(learner)


def each(ranks: Ranks, work: Callable[..., Any], cases: list[Any]) -> list[Any]:
    return [work(ranks, case) for case in cases]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "cases"), [(2, [{}, LORA, CRITIC_LORA, BFLOAT16]), (4, [{}, LORA])]
)
def test_ten_steps_equal_those_of_one_process(size: int, cases: list[dict[str, Any]]) -> None:
    for found in on_ranks(size, each, ten_steps, cases)[:: size - 1]:
        for changes, ours in zip(cases, found, strict=True):
            assert_alike(ours, ten_steps(ONE, changes))


def odd_updates(ranks: Ranks) -> Any:
    """A batch of fewer rollouts than ranks, and one that the policy leaves after a step."""
    learner = new_learner(ranks, {"target_kl": 1e-6, "lr": 1e-2})
    batches = [(one_rollout(), 2), (make_batch(), 4)]
    return [learner.update(batch, steps) for batch, steps in batches], state(learner)


def broken_updates(ranks: Ranks) -> tuple[list[float], str]:
    """Gradients that are no numbers, because of the part that one rank holds."""
    learner = new_learner(ranks, {"advantage": "rloo", "kl": "none"})
    before = state(learner)
    original = learner.policy_descent.step
    if ranks.rank == ranks.size - 1:

        def step(version: int) -> float | None:
            parameter = learner.policy_descent.optimizer.param_groups[0]["params"][0]
            parameter.grad.to_local().fill_(float("nan"))
            return original(version)

        learner.policy_descent.step = step  # type: ignore[method-assign]
    skipped = [learner.update(make_batch(), steps=1)["skipped_steps"] for _ in range(2)]
    assert_near(before, state(learner), 0.0)
    with pytest.raises(FloatingPointError, match="3 times in a row") as caught:
        learner.update(make_batch(), steps=1)
    return skipped, str(caught.value)


def taught_updates(ranks: Ranks, changes: dict[str, Any]) -> Any:
    """With a teacher of more answers than ranks, of fewer, and of none."""
    learner, lessons = new_learner(ranks, changes), make_lessons()
    one = TeacherBatch(
        answers=lessons.answers.select(torch.tensor([2])),
        rows=lessons.rows[2:3],
        turns=lessons.turns[2:3],
    )
    found = [learner.update(make_batch(), 2, some) for some in (lessons, one, None)]
    return found, state(learner)


def replayed_updates(ranks: Ranks, changes: dict[str, Any]) -> Any:
    """With more answers than ranks, and with one for both steps."""
    learner, answers = new_learner(ranks, changes), make_batch()
    pieces = (answers, answers.select(torch.tensor([1])), None)
    return [learner.update(make_batch(), 2, replay=some) for some in pieces], state(learner)


def at_two(ranks: Ranks, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"odd": odd_updates(ranks), "broken": broken_updates(ranks)}
    for name, changes in (("whole", {}), ("adapters", LORA)):
        learner = new_learner(ranks, changes)
        metrics = [learner.update(make_batch(), steps=2)]
        found[name] = metrics, state(learner)
        weights = learner.weights()
        found[f"{name} merged"] = {key: tensor.clone() for key, tensor in weights.merged()}
        found[f"{name} logprobs"] = weights.logprobs(ROWS, 2)
        learner.save(folder / name)
        learner.update(make_batch(), steps=2)  # while it is written
        assert learner.saved(wait=True) and learner.saved(wait=False)
        found[f"{name} later"] = state(learner)
    found["taught"] = [taught_updates(ranks, changes) for changes in TAUGHT]
    found["replayed"] = [replayed_updates(ranks, changes) for changes in REPLAYED]
    for name, (place, changes) in ON_FILES.items():
        config = LearnerConfig(**changes)
        model = load_on_ranks(str(folder / place), config, ranks)
        found[f"{name} on files"] = state(LocalLearner(model, config, 0, ranks=ranks))
    model = seeded(qwen3) if ranks.first else shaped_model(qwen3().config)
    config = LearnerConfig(advantage="rloo", kl="none")
    experts = LocalLearner(model, config, 0, tokenizer=chat_tokenizer(), ranks=ranks)
    experts.save_policy(folder / "experts")
    try:
        learner.save(folder / "gone" if ranks.first else folder)
    except OSError as error:
        found["unwritable"] = str(error)
    return found


def test_ranks_take_the_steps_of_one_process(two: list[dict[str, Any]]) -> None:
    for found in two:
        assert_alike(found["odd"], odd_updates(ONE))
        for name, changes in (("whole", {}), ("adapters", LORA)):
            learner = new_learner(ONE, changes)
            metrics = [learner.update(make_batch(), steps=2)]
            assert_alike(found[name], (metrics, state(learner)))
            weights = learner.weights()
            assert_near(found[f"{name} merged"], dict(weights.merged()))
            assert found[f"{name} logprobs"] == pytest.approx(weights.logprobs(ROWS, 2), abs=1e-4)
            learner.update(make_batch(), steps=2)
            assert_near(found[f"{name} later"], state(learner))


def test_ranks_learn_of_a_teacher_as_one_process_does(two: list[dict[str, Any]]) -> None:
    for number, changes in enumerate(TAUGHT):
        wanted = taught_updates(ONE, changes)
        assert [line["taught_tokens"] for line in wanted[0]] == [12.0, 6.0, 0.0]
        for found in two:
            assert_alike(found["taught"][number], wanted)


def test_ranks_replay_answers_as_one_process_does(two: list[dict[str, Any]]) -> None:
    for number, changes in enumerate(REPLAYED):
        wanted = replayed_updates(ONE, changes)
        assert ["loss/replay" in line for line in wanted[0]] == [True, True, False]
        for found in two:
            assert_alike(found["replayed"][number], wanted)


def test_a_policy_that_moved_too_far_stops_on_all_ranks(two: list[dict[str, Any]]) -> None:
    steps = [[line["policy_steps"] for line in found["odd"][0]] for found in two]
    assert steps == [[1.0, 1.0], [1.0, 1.0]]


def test_all_ranks_skip_a_step_that_one_cannot_take(two: list[dict[str, Any]]) -> None:
    words = "update 3: the gradient norm of the policy is nan, 3 times in a row"
    for found in two:
        skipped, why = found["broken"]
        assert skipped == [1.0, 1.0] and why.startswith(words)


def test_weights_read_from_files_are_those_of_one_process(
    two: list[dict[str, Any]], folder: Path
) -> None:
    for name, (place, changes) in ON_FILES.items():
        config = LearnerConfig(**changes)
        dtype = loading_dtype(config, torch.device("cpu"))
        alone = LocalLearner(load_model(str(folder / place), "cpu", dtype), config, 0)
        for found in two:
            assert_near(found[f"{name} on files"], state(alone), 0.0)


# --- checkpoints ----------------------------------------------------------------------------------


def go_on(ranks: Ranks, folder: Path) -> Any:
    found = []
    for name, changes in (("whole", {}), ("adapters", LORA)):
        learner = new_learner(ranks, changes)
        learner.restore(folder / name)
        before, version = state(learner), learner.version
        learner.update(make_batch(), steps=2)
        found.append((before, state(learner), version))
    return found


@pytest.mark.parametrize("size", [1, 4])
def test_any_number_of_ranks_goes_on_from_a_checkpoint(
    size: int, two: list[dict[str, Any]], folder: Path
) -> None:
    found = go_on(ONE, folder) if size == 1 else on_ranks(size, go_on, folder)[size - 1]
    for (before, after, version), name in zip(found, ("whole", "adapters"), strict=True):
        assert version == 2
        assert_near(before, two[0][name][1], 0.0)
        assert_near(after, two[0][f"{name} later"])


def test_ranks_go_on_from_a_checkpoint_of_one_process(tmp_path: Path) -> None:
    expected = []
    for name, changes in (("whole", {}), ("adapters", LORA)):
        learner = new_learner(ONE, changes)
        learner.update(make_batch(), steps=2)
        (tmp_path / name).mkdir()
        learner.save(tmp_path / name)
        before = state(learner)
        learner.update(make_batch(), steps=2)
        expected.append((before, state(learner)))
    for found, wanted in zip(on_ranks(2, go_on, tmp_path)[1], expected, strict=True):
        assert found[2] == 2
        assert_near(found[0], wanted[0], 0.0)
        assert_near(found[1], wanted[1])


def test_a_folder_that_a_rank_does_not_see_is_one_line(two: list[dict[str, Any]]) -> None:
    for found in two:
        assert "is not seen by all ranks; allowed: a run folder on a disk" in found["unwritable"]


def test_a_damaged_checkpoint_of_ranks_is_refused(
    two: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    learner = new_learner(ONE, {})
    broken = tmp_path / "broken"
    for name, damage, words in (
        (".metadata", lambda data: data[:40], "its index is damaged"),
        ("__1_0.distcp", lambda data: data[:100], "."),
    ):
        shutil.copytree(folder / "whole", broken)
        file = broken / "learner" / "sharded" / name
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises((OSError, ValueError), match=words) as caught:
            learner.restore(broken)
        assert "\n" not in str(caught.value)
        shutil.rmtree(broken)
    with pytest.raises(ValueError, match=r"tensors of this model are not there"):
        new_learner(ONE, {"critic_lora": {"rank": 2}}).restore(folder / "whole")


def exported(checkpoint: Path, out: Path) -> dict[str, Tensor]:
    """What others read of an exported checkpoint."""
    with pytest.raises(SystemExit) as caught:
        main(["export", str(checkpoint), "--to", str(out), "--dtype", "float32"])
    assert not caught.value.code
    return dict(AutoModelForCausalLM.from_pretrained(out).state_dict())


def test_what_ranks_wrote_is_exported_whole(
    two: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"holds a policy in parts.*allowed: what rlef export"):
        check_model(str(folder / "whole"))
    prefix, saved = "policy.model.", two[0]["whole"][1]
    policy = {name.removeprefix(prefix): x for name, x in saved.items() if name.startswith(prefix)}
    assert_near(exported(folder / "whole", tmp_path / "whole"), policy, 0.0)
    experts = exported(folder / "experts", tmp_path / "experts")
    assert_near(experts, dict(seeded(qwen3).state_dict()), 0.0)


def test_a_large_model_has_several_files_and_an_index(tmp_path: Path) -> None:
    model = make_model()
    write_weights(tmp_path, model.state_dict().items(), most=5000)
    assert len(list(tmp_path.iterdir())) > 3
    model.config.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert_near(dict(loaded.state_dict()), dict(model.state_dict()), 0.0)


# --- how work is dealt out ------------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "rollouts"), [(1, 7), (2, 7), (4, 7), (8, 7), (4, 2), (3, 40)])
def test_every_rollout_is_dealt_out_once_and_ranks_have_equally_many(
    ranks: int, rollouts: int
) -> None:
    sizes = [10 * (place % 5) + 3 for place in range(rollouts)]
    groups = spread(bins(sizes, 90), sizes, ranks)
    dealt = [Ranks(rank, ranks).deal(groups) for rank in range(ranks)]
    assert len({len(own) for own in dealt}) == 1
    counted = [place for own in dealt for group, counts in own if counts for place in group]
    assert sorted(counted) == list(range(rollouts))
    if rollouts >= ranks:
        assert all(counts for own in dealt for _, counts in own)
