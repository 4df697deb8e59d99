from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from rlef.config import load_config
from rlef.engines.load import load_chat
from rlef.engines.types import ModelError
from rlef.problems import Problem, Test
from rlef.run import RunFolder
from rlef.train.parts import build_parts
from rlef.train.private import PrivateTokens
from rlef.train.progress import Silent
from rlef.train.recipe import ModelConfig, TrainConfig

PROBLEM = Problem(
    name="p",
    statement="Read n, print it.",
    public_tests=(Test("2\n", "2\n"),),
    private_tests=(Test("7\n", "7\n"),),
    solutions=("n = int(input())\nprint(n)\n", "print(input())\n"),
)
WORDS = ("learner.critic_sees=reference",)


def seen(config: TrainConfig, problems: list[Problem]) -> tuple[list[str], list[str]]:
    chat, said = load_chat("mini", ModelConfig()), []
    private = PrivateTokens(config, problems, chat, said.append)
    rollouts: list[Any] = [
        SimpleNamespace(record=SimpleNamespace(problem=problem.name)) for problem in problems
    ]
    return [chat.tokenizer.decode(ids) for ids in private.of(rollouts)], said


def test_the_shortest_program_is_a_message_of_its_own() -> None:
    config = load_config(TrainConfig, "mini", WORDS)
    other = replace(PROBLEM, name="q", solutions=())
    texts, said = seen(config, [PROBLEM, other, PROBLEM])
    message = "<|user|>```python\nprint(input())\n```<|end|><|assistant|>"
    assert texts == [message, "", message]
    assert said[0].startswith("1 of 3 problems of data.train have no reference program")
    short = load_config(TrainConfig, "mini", [*WORDS, "rollout.max_new_tokens=4"])
    assert seen(short, [PROBLEM])[0] == ["<|user|>```python\n"]
    with pytest.raises(ValueError, match=r"no problem of data.train has a reference program"):
        seen(config, [other])


def test_a_model_must_have_room_for_it(tmp_path: Any) -> None:
    config = load_config(TrainConfig, "mini", [*WORDS, "rollout.max_context=1000"])
    run = RunFolder.create(tmp_path / "run", "")
    with (
        pytest.raises(ModelError, match=r"max_new_tokens is 1112, but mini was made for 1024"),
        build_parts(config, run, Silent()),
    ):
        pass
