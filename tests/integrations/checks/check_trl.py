"""TRL's real trainer on episodes with the mini model."""

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rlef_trl
import trl_mini
from common import broken_judge

from rlef.engines.load import load_tokenizer
from rlef.environment import problems_by_name

DATA = "mini:train?first=4"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlef_trl, "shared_judge", broken_judge)


def answers(row: dict[str, Any], program: str) -> list[float | None]:
    completion = [{"role": "assistant", "content": f"```python\n{program}\n```"}]
    return asyncio.run(
        rlef_trl.answer_reward([completion], problem=[row["problem"]], data=[row["data"]])
    )


def test_the_data_set_names_problems_and_has_no_test() -> None:
    rows = rlef_trl.dataset(DATA)
    assert rows.column_names == ["prompt", "problem", "data"] and len(rows) == 4
    problem = problems_by_name(DATA)[rows[0]["problem"]]
    assert problem.private_tests and rows[0]["prompt"][0]["role"] == "user"


def test_single_answers() -> None:
    row = rlef_trl.dataset(DATA)[0]
    right = problems_by_name(DATA)[row["problem"]].solutions[0]
    assert answers(row, right) == [1.0]
    assert answers(row, "print('no')") == [-1.0]


def test_not_judged_is_none(broken: None) -> None:
    assert answers(rlef_trl.dataset(DATA)[0], "print(1)") == [None]


def fake_trainer(replies: list[str], logprobs: bool = True) -> Any:
    """A trainer whose model gives these answers, each prompt the next one."""
    tokenizer = load_tokenizer("mini")
    waiting = iter(replies)

    def sample(prompts: list[list[int]], *_: Any) -> tuple[list[list[int]], Any]:
        sample.asked.append(len(prompts))  # type: ignore[attr-defined]
        texts = [next(waiting) for _ in prompts]
        ids = [[*tokenizer.encode(text, add_special_tokens=False), end] for text in texts]
        return ids, [[-0.5] * len(one) for one in ids] if logprobs else None

    sample.asked = []  # type: ignore[attr-defined]
    end = rlef_trl.ChatFormat(tokenizer).end_of_turn
    return SimpleNamespace(
        processing_class=tokenizer,
        max_completion_length=512,
        _generate_single_turn=sample,
    )


def test_an_episode_masks_what_was_not_sampled() -> None:
    row = rlef_trl.dataset(DATA)[0]
    right = problems_by_name(DATA)[row["problem"]].solutions[0]
    trainer = fake_trainer(["no code", "```python\nprint(0)\n```", f"```python\n{right}\n```"])
    out = rlef_trl.episodes(DATA)([row["prompt"]], trainer)
    assert out["episode_reward"] == [pytest.approx(0.8)]
    [ids], [mask], [logprobs] = out["completion_ids"], out["env_mask"], out["logprobs"]
    assert len(ids) == len(mask) == len(logprobs)
    assert mask[0] == mask[-1] == 1 and 0 in mask
    assert [value == 0 for value in logprobs] == [bit == 0 for bit in mask]
    text = trainer.processing_class.decode([i for i, bit in zip(ids, mask, strict=True) if bit])
    assert "no code" in text and right.strip() in text and "Try again" not in text
    assert out["episode_metrics"][0]["solved_by_turn_3"] == 1


def test_every_rank_asks_for_equally_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlef_trl, "gather_object", lambda own: [*own, 2])  # another rank's
    row = rlef_trl.dataset(DATA)[0]
    right = problems_by_name(DATA)[row["problem"]].solutions[0]
    trainer = fake_trainer([f"```python\n{right}\n```", *["not used"] * 5])
    out = rlef_trl.episodes(DATA)([row["prompt"]], trainer)
    assert out["episode_reward"] == [1.0]
    assert trainer._generate_single_turn.asked == [2, 2, 2]


def test_a_prompt_of_another_set() -> None:
    with pytest.raises(ValueError, match="begins with the prompt 'Hi'"):
        rlef_trl.episodes(DATA)([[{"role": "user", "content": "Hi"}]], fake_trainer([]))


def test_no_room_ends_an_episode() -> None:
    trainer = fake_trainer(["word " * 20] * 3)
    trainer.max_completion_length = 30
    out = rlef_trl.episodes(DATA)([rlef_trl.dataset(DATA)[0]["prompt"]], trainer)
    assert len(out["completion_ids"][0]) <= 30 and out["episode_metrics"][0]["turns"] == 1


def test_episodes_not_judged_have_no_reward(broken: None) -> None:
    row = rlef_trl.dataset(DATA)[0]
    out = rlef_trl.episodes(DATA)([row["prompt"]], fake_trainer(["```python\nx\n```"], False))
    assert out["episode_reward"] == [None] and out["episode_metrics"] == [{}]
    assert out["logprobs"] is None


def test_the_real_trainer_learns_from_episodes(tmp_path: Path) -> None:
    trainer = trl_mini.main(str(tmp_path), steps=2)
    steps = [line for line in trainer.state.log_history if "reward" in line]
    assert len(steps) == 2
    for line in steps:
        assert -1.4 <= line["reward"] <= 1 and math.isfinite(line["loss"])
        assert 1 <= line["rlef/turns"] <= 3 and "rlef/solved_by_turn_3" in line


def test_the_real_trainer_leaves_out_what_was_not_judged(broken: None, tmp_path: Path) -> None:
    trainer = trl_mini.main(str(tmp_path), steps=1)
    [line] = [line for line in trainer.state.log_history if "loss" in line]
    assert line["loss"] == 0 and line.get("grad_norm", 0) == 0
