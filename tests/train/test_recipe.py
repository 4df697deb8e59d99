import math
from pathlib import Path

import pytest

from rlef.config import ConfigError, dump_config, flat_values, load_config, recipe_names
from rlef.train.recipe import TrainConfig
from rlef.train.settings import setting_rows

NUMBERS = [row.key for row in setting_rows(TrainConfig) if row.type == "number"]
LIMITS = {
    f"learner.{name}"
    for name in (
        *("clip_high", "dual_clip", "grad_clip", "importance_cap", "target_kl", "value_clip"),
    )
}


@pytest.mark.parametrize("recipe", recipe_names())
def test_shipped_recipes_load(recipe: str) -> None:
    assert load_config(TrainConfig, recipe, []).name == recipe


def test_what_is_trained_on_chosen_on_and_told_is_apart() -> None:
    for recipe in ("qwen2.5-coder-0.5b-mbpp", "qwen2.5-coder-1.5b-lora"):
        config = load_config(TrainConfig, recipe, [])
        data, rollout = config.data, config.rollout
        splits = [spec.rpartition(":")[2] for spec in (data.train, data.valid or "", data.test)]
        assert splits == ["train", "valid", "test"]
        assert config.eval.samples >= rollout.turn_limit  # so that independent answers are told
        assert config.learner.critic_lr and config.learner.critic_warmup_updates
        # Three full answers, two full messages, and some hundred tokens for the problem.
        told = config.feedback.max_tokens or 0
        rest = rollout.max_context - rollout.turn_limit * rollout.max_new_tokens
        assert rest - (rollout.turn_limit - 1) * told >= 500


@pytest.mark.parametrize(("recipe", "updates"), [("paper-8b", 12_000), ("paper-70b", 8_000)])
def test_the_papers_settings(recipe: str, updates: int) -> None:
    config = load_config(TrainConfig, recipe, [])
    assert config.updates == updates and config.updates_per_batch == 4
    learner, rollout, reward = config.learner, config.rollout, config.reward
    assert (learner.lr, learner.weight_decay, learner.warmup_updates) == (2e-7, 0.1, 50)
    assert (learner.beta, learner.clip, learner.value_clip) == (0.05, 0.2, 0.2)
    assert (learner.gamma, learner.lam, learner.minibatch) == (1.0, 1.0, 256)
    assert (rollout.batch, rollout.turn_limit, rollout.temperature) == (1024, 3, 1.0)
    assert (rollout.cpu_s, rollout.memory_mb) == (10.0, 1024)
    assert (reward.solved, reward.failed, reward.invalid) == (1.0, -1.0, -0.2)
    assert (config.eval.temperature, config.eval.top_p, config.eval.every) == (0.2, 0.95, 800)


def test_a_second_setting_of_evaluation_can_be_changed_left_out_and_equal_to_the_first() -> None:
    def settings(*words: str) -> list[tuple[float, float]]:
        samplings = load_config(TrainConfig, "mini", list(words)).eval.samplings
        return [(sampling.temperature, sampling.top_p) for sampling in samplings]

    assert settings() == [(0.2, 0.95), (1.0, 1.0)]
    assert settings("eval.also.temperature=0.6") == [(0.2, 0.95), (0.6, 1.0)]
    assert settings("eval.also=null") == [(0.2, 0.95)]
    assert settings("eval.temperature=1", "eval.top_p=1") == [(1.0, 1.0)]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("learner.minibatch=48", "a multiple of learner.minibatch"),
        ("updates=201", "updates is 201; allowed: a multiple of the 4 updates"),
        ("eval.every=4", "data.valid and eval.every belong together"),
        ("rollout.turn_limit=0", "rollout.turn_limit"),
        ("learner.lr=-1", "learner.lr"),
        ("eval.also.top_p=2", "eval.also.top_p: must be less than or equal to 1"),
        ("learner.learning_rate=1", "unknown key learner.learning_rate"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(TrainConfig, "mini", [word])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learner.kl=reward_token"], "kl is reward_token, but advantage turn_critic knows no"),
        (["learner.advantage=rloo", "learner.kl=reward_token"], "advantage rloo knows no rewards"),
        (["learner.advantage=token_critic", "learner.ratio=turn"], "allowed: ratio=token, or"),
        (["learner.advantage=token_critic", "learner.ratio=turn_mean"], "ratio is turn_mean, but"),
        (["learner.ratio=cispo", "learner.dual_clip=3"], "but ratio is cispo, where clip_high"),
        (["learner.clip_high=4", "learner.dual_clip=3"], "clipped to 5; allowed: more than that"),
        (["learner.advantage=grpo", "learner.lam=0.9"], "lam is 0.9, but advantage grpo has no"),
        (
            ["learner.advantage=rloo", "learner.critic_warmup_updates=4"],
            "critic_warmup_updates is 4, but advantage rloo has no critic; allowed: 0",
        ),
        (["learner.normalize=all"], "must be 'turns', 'tokens', 'turn_index' or 'none'"),
        (["learner.normalize=none", "learner.advantage=reinforce++"], "is nothing but whitening"),
        (["learner.importance=token"], "learner.importance: must be 'whole', 'decoupled' or"),
        (
            ["rollout.vllm.sleep=true", "rollout.max_staleness=1"],
            "rollout.max_staleness 1 the engine never rests; allowed: false, or",
        ),
        (
            ["rollout.vllm.transfer=nccl"],
            "cluster.address is null, and vLLM in the learner's process; allowed: buckets",
        ),
        (
            ["learner.advantage=rloo", "rollout.per_problem=2", "rollout.max_staleness=1"],
            "parts of groups too; allowed: 0",
        ),
        (["rollout.max_staleness=-1"], "rollout.max_staleness: must be greater than or equal to 0"),
        (
            ["learner.advantage=grpo", "learner.kl=loss_k3"],
            "but rollout.per_problem is 1; allowed: 2 or more",
        ),
        (
            ["learner.advantage=grpo", "rollout.per_problem=4"],
            "make noise of the penalty as large as a reward where all others are equal; allowed: "
            "kl=loss_k3, loss_k2 or none, or advantage dr_grpo or rloo",
        ),
        (["rollout.per_problem=3"], "rollout.per_problem 3; allowed: a multiple"),
        (["learner.epochs=2", "learner.critic_epochs=1"], "epochs is 2; allowed: 2 or more, or"),
        (["learner.advantage=rloo", "learner.critic_epochs=2"], "has no critic; allowed: null"),
        (
            ["learner.epochs=3"],
            "of the 12 updates on each batch (rollout.batch / learner.minibatch",
        ),
        (
            ["learner.teacher.weight=1", "rollout.turn_limit=1"],
            "what it teaches are later turns; allowed: rollout.turn_limit 2 or more, or learner.te",
        ),
        (
            ["learner.teacher.weight=1", "feedback.kind=pass_fail"],
            "feedback.kind is pass_fail, which tells no expected output; allowed: full, no_traceba",
        ),
        (["learner.critic_warmup_updates=200"], "allowed: less than the 200 updates"),
        (["learner.advantage=ppo"], "learner.advantage: must be 'turn_critic', 'token_critic',"),
        (["learner.target_kl=0"], "learner.target_kl: must be greater than 0"),
        (["learner.lora.rank=0"], "learner.lora.rank: must be greater than or equal to 1"),
        (["learner.lora.r=4"], "unknown key learner.lora.r"),
        (["feedback.kind=private"], "feedback.kind: must be 'full', 'pass_fail'"),
        (["feedback.version=1"], "unknown key feedback.version"),
        (["eval.feedback=some"], "eval.feedback: must be 'full'"),
        (["reward.discount=2"], "reward.discount: must be less than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, "mini", words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_walk_over_numbers_comes_to_every_section() -> None:
    sections = {key.rpartition(".")[0] for key in NUMBERS}
    assert sections == {
        *("rollout", "rollout.hf", "rollout.vllm", "reward", "learner", "learner.teacher"),
        *("learner.replay", "learner.lora", "learner.critic_lora", "eval", "eval.also", "cluster"),
    }
    assert set(NUMBERS) > LIMITS


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_numbers_are_finite_but_for_limits_that_infinity_turns_off(
    key: str, value: str, tmp_path: Path
) -> None:
    if key in LIMITS and value == ".inf":
        config = load_config(TrainConfig, "mini", [f"{key}=.inf"])
        assert flat_values(config)[key] == math.inf
        (tmp_path / "config.yaml").write_text(dump_config(config))
        assert load_config(TrainConfig, tmp_path / "config.yaml", []) == config
        return
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, "mini", [f"{key}={value}"])
    said = str(caught.value)
    assert said.startswith(f"command line: {key}") and "\n" not in said


def test_what_a_chat_template_is_told_is_finite() -> None:
    with pytest.raises(ConfigError, match=r"command line: model\.template_arguments\.x is nan; al"):
        load_config(TrainConfig, "mini", ["model.template_arguments.x=.nan"])


def test_a_number_that_is_none_is_named_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("learner:\n  weight_decay: .nan\n  beta: .inf\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:3: learner.beta is inf; allowed: a finite"):
        load_config(TrainConfig, path, ["learner.weight_decay=0"])


@pytest.mark.parametrize("key", ["eval.temperature", "eval.also.temperature"])
@pytest.mark.parametrize("value", ["1.0e-300", "9.0e-6", "-1"])
def test_a_temperature_is_0_or_one_that_logits_can_be_divided_by(key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, "mini", [f"{key}={value}"])
    assert str(caught.value) == (
        f"command line: {key}: temperature is {float(value)}; allowed: 0 (greedy), or 1e-05 or more"
    )
    for allowed in ("0", "1.0e-5"):
        load_config(TrainConfig, "mini", [f"{key}={allowed}"])


def test_memory_for_keys_and_values_has_an_upper_bound() -> None:
    with pytest.raises(ConfigError, match="kv_memory_gb: must be less than or equal to 1000000"):
        load_config(TrainConfig, "mini", ["rollout.hf.kv_memory_gb=1.0e+300"])


def test_single_turn_training_is_evaluated_with_its_own_turn_limit() -> None:
    config = load_config(TrainConfig, "mini", ["rollout.turn_limit=1", "eval.turn_limit=3"])
    assert (config.rollout.turn_limit, config.eval_turn_limit) == (1, 3)
    assert load_config(TrainConfig, "mini", ["rollout.turn_limit=2"]).eval_turn_limit == 2


def test_adapters_of_a_recipe_survive_its_own_yaml(tmp_path: Path) -> None:
    config = load_config(TrainConfig, "mini", ["learner.lora.rank=8"])
    assert config.learner.lora is not None and config.learner.lora.alpha == 32
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(TrainConfig, path, []) == config
    assert load_config(TrainConfig, path, ["learner.lora=null"]).learner.lora is None
