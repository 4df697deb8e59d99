"""Episodes whose turns are sequences of their own: tokens, context, storage, what is learnt."""

from collections.abc import Iterator

import numpy as np
import pytest
from scripted import LEAST, RIGHT, TEMPLATE, WRONG, ScriptedEngine, make_chat, run
from some_rollouts import same, there_and_back

from rlef.environment import ChatFormat, StopReason
from rlef.rollout import RolloutBatch
from rlef.sandbox import Sandbox
from rlef.study.wrappers import after_first_turn

THOUGHT = "<think>\n```python\nprint(2 * 2)\n```\n</think>\n"
FORGETS = TEMPLATE.replace(
    "m['content'] + '<|end|>'", "m['content'].split('</think>\n')[-1] + '<|end|>'"
)


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    tokenizer = make_chat().tokenizer
    tokenizer.chat_template = FORGETS  # type: ignore[attr-defined]
    return ChatFormat(tokenizer)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened:
        yield opened


def answers(_: str, turn: int) -> str:
    return THOUGHT + [WRONG, "No.", RIGHT][turn]


def test_each_turn_is_its_prompt_and_its_answer(chat: ChatFormat, sandbox: Sandbox) -> None:
    engine = ScriptedEngine(chat, answers)
    [rollout] = run(engine, sandbox)
    assert chat.turns == "per_turn" and rollout.record.solved
    prompts = [call[0][0] for call in engine.calls]
    row: list[int] = []
    for turn, prompt in enumerate(prompts):
        assert rollout.sequence_starts[turn] == len(row)
        row += prompt
        assert rollout.prompt_ends[turn] == len(row) - 1
        said = THOUGHT + [WRONG, "No.", RIGHT][turn]
        row += [*chat.tokenizer.encode(said, add_special_tokens=False), chat.end_of_turn]
        record = rollout.record.turns[turn]
        assert record.prompt_tokens == len(prompt) and record.response == said
        assert (rollout.turn_ids[len(row) - record.completion_tokens : len(row)] == turn).all()  # type: ignore[operator]
    assert rollout.token_ids.tolist() == row and len(rollout.sequence_starts) == 3
    last = chat.decode(prompts[2])
    assert WRONG in last and "<think>" not in last and last.count("<|assistant|>") == 3
    batch = RolloutBatch.from_rollouts([rollout], num_turns=3)
    starts = [*rollout.sequence_starts.tolist(), len(row)]
    assert batch.sequence_ids[0].bincount().tolist() == np.diff(starts).tolist()


def test_the_context_of_a_turn_is_that_of_its_own_sequence(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    engine = ScriptedEngine(chat, answers)
    [whole] = run(engine, sandbox)
    longest = max(turn.prompt_tokens or 0 for turn in whole.record.turns)
    assert longest + LEAST < len(whole.token_ids)
    [fits] = run(engine, sandbox, max_context=longest + LEAST)
    assert fits.record.solved
    [rollout] = run(engine, sandbox, max_context=(whole.record.turns[0].prompt_tokens or 0) + LEAST)
    assert rollout.record.stop is StopReason.CONTEXT_LIMIT and len(rollout.sequence_starts) == 1
    assert (rollout.token_ids == whole.token_ids[: len(rollout.token_ids)]).all()


def test_feedback_has_the_room_of_its_own_sequence(chat: ChatFormat, sandbox: Sandbox) -> None:
    loud = "```python\nprint('9' * 500)\n```"
    long_thought = "<think>\n" + "hm " * 300 + "</think>\n"
    engine = ScriptedEngine(chat, lambda _, turn: long_thought + [loud, RIGHT][turn])
    [whole] = run(engine, sandbox)
    full = whole.record.turns[1].prompt_tokens or 0
    assert full < len(whole.token_ids) - 500  # the thought is in no later prompt
    [rollout] = run(engine, sandbox, max_context=full + 40)
    assert "more characters)" in (rollout.record.turns[0].feedback or "")
    assert full - 40 < (rollout.record.turns[1].prompt_tokens or 0) <= full + 40 - 64
    assert rollout.record.solved


def test_sequences_come_back_from_the_file(chat: ChatFormat, sandbox: Sandbox) -> None:
    rollouts = run(ScriptedEngine(chat, answers), sandbox, 2)
    assert all(map(same, there_and_back(rollouts), rollouts))


def test_after_its_first_turn_the_first_sequence_is_gone(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    [whole] = run(ScriptedEngine(chat, answers), sandbox)
    later, cut = after_first_turn(whole), int(whole.sequence_starts[1])
    assert (later.token_ids == whole.token_ids[cut:]).all()
    assert later.sequence_starts.tolist() == [0, int(whole.sequence_starts[2]) - cut]
    assert later.prompt_ends.tolist() == (whole.prompt_ends[1:] - cut).tolist()
    assert sorted(set(later.turn_ids.tolist())) == [-1, 0, 1]
    assert later.turn_ids[later.prompt_ends + 1].tolist() == [0, 1]
