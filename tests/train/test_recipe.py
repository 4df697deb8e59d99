import pytest

from rlef.config import ConfigError, load_config
from rlef.train.recipe import TrainConfig


@pytest.mark.parametrize("recipe", ["mini", "paper-8b", "paper-70b"])
def test_shipped_recipes_load(recipe: str) -> None:
    assert load_config(TrainConfig, recipe, []).name == recipe


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


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("learner.minibatch=48", "a multiple of learner.minibatch"),
        ("updates=201", "updates is 201; allowed: a multiple of the 4 updates"),
        ("eval.every=4", "data.valid and eval.every belong together"),
        ("rollout.turn_limit=0", "rollout.turn_limit"),
        ("learner.lr=-1", "learner.lr"),
        ("learner.learning_rate=1", "unknown key learner.learning_rate"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(TrainConfig, "mini", [word])
