"""Words that cannot do what they say are refused before anything is loaded."""

from pathlib import Path

import pytest

from rlef.config import ConfigError, dump_config, load_config, sources
from rlef.train.checks import check_training
from rlef.train.recipe import TrainConfig

GRPO = ["learner.advantage=grpo", "rollout.per_problem=4", "learner.kl=loss_k3"]


def check(recipe: str | Path, words: list[str]) -> None:
    places = {key: source for key, _, source in sources(TrainConfig, recipe, words)}
    check_training(load_config(TrainConfig, recipe, words), places, ask_hub=False)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["learner.kl=none", "learner.beta=0.5"], "learner.beta is 0.5, but learner.kl is none"),
        (
            [*GRPO, "learner.critic_lr=1e-3"],
            "learner.critic_lr is 0.001, but learner.advantage grpo has no critic",
        ),
        (
            [*GRPO, "learner={value_clip: 0.1}"],
            "learner.value_clip is 0.1, but learner.advantage grpo has no critic",
        ),
        (
            [*GRPO, "learner.normalize=tokens"],
            "learner.normalize is tokens, but learner.advantage grpo whitens nothing",
        ),
        (
            ["learner.advantage=reinforce++", "learner.critic_bias=mean_return"],
            "learner.critic_bias is mean_return, but learner.advantage reinforce++ has no critic",
        ),
        (
            ["learner.importance_cap=3"],
            "learner.importance_cap is 3.0, but learner.importance is whole",
        ),
        (["rollout.vllm.eager=true"], "rollout.vllm.eager is true, but rollout.engine is hf"),
        (
            ["judge.url=http://127.0.0.1:9", "rollout.judge_workers=3"],
            "rollout.judge_workers is 3, but judge.url is set",
        ),
        (["cluster.learner_ranks=2"], "cluster.learner_ranks is 2, but cluster.address is null"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_word_without_effect_is_refused(words: list[str], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check("mini", words)
    assert str(caught.value) == (
        f"command line: {why}, so it has no effect; allowed: to leave it out"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["learner.kl=none", "learner.beta=0"],
        [*GRPO, "learner.critic_lr=null", "learner.value_clip=null", "learner.normalize=none"],
        ["learner.importance=decoupled", "learner.importance_cap=3"],
        ["rollout.hf.kv_memory_gb=1"],
        ["learner.importance_cap=2", "rollout.vllm.eager=false", "cluster.learner_ranks=1"],
    ],
    ids=" ".join,
)
def test_a_word_that_says_what_is_so_is_not(words: list[str]) -> None:
    check("mini", words)


def test_what_a_recipe_holds_may_be_idle(tmp_path: Path) -> None:
    words = ["learner.beta=0.5", "cluster.learner_ranks=2", "learner.critic_lr=1e-3"]
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(dump_config(load_config(TrainConfig, "mini", words)))
    check(recipe, ["learner.advantage=rloo", "rollout.per_problem=4", "learner.kl=none"])
