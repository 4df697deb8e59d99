"""Answers of a batch as a teacher reads them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scripted import DOUBLE, NO_CODE, RIGHT, TEMPLATE, WRONG, ScriptedEngine, make_chat, run

from rlef.environment import ChatFormat, FeedbackOptions, Prompts
from rlef.rollout import Rollout, RolloutBatch
from rlef.rollout.teacher import TeacherBatch, teacher_batch
from rlef.sandbox import Sandbox
from rlef.study.wrappers import after_first_turn

FORGETS = TEMPLATE.replace("m['content'] + '<|end|>'", "m['content'].split('\n\n')[-1] + '<|end|>'")
RESTATED = "Read n, print 2n.\nExample\nInput:\n2\nExpected output:\n4"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened:
        yield opened


def chat_of(template: str) -> ChatFormat:
    tokenizer = make_chat().tokenizer
    tokenizer.chat_template = template  # type: ignore[attr-defined]
    return ChatFormat(tokenizer)


def read(rollouts: list[Rollout], chat: ChatFormat, max_context: int = 4096) -> TeacherBatch | None:
    return teacher_batch(
        rollouts,
        {"double": DOUBLE},
        chat=chat,
        prompts=Prompts.load("mini"),
        feedback=FeedbackOptions(),
        max_context=max_context,
    )


@pytest.mark.parametrize("template", [TEMPLATE, FORGETS])
def test_answers_stand_behind_the_restated_message(template: str, sandbox: Sandbox) -> None:
    chat = chat_of(template)
    said = [NO_CODE, WRONG, RIGHT]
    [rollout] = run(ScriptedEngine(chat, lambda _, turn: said[turn]), sandbox)
    [at_once] = run(ScriptedEngine(chat, lambda *_: RIGHT), sandbox)
    lessons = read([at_once, rollout], chat)
    assert lessons is not None  # no output was told before the second answer
    assert (lessons.rows.tolist(), lessons.turns.tolist()) == ([1], [2])
    answer = rollout.token_ids[rollout.turn_ids == 2].tolist()
    prompt = chat.prompt_ids(RESTATED)
    assert lessons.answers.token_ids.tolist() == [prompt + answer]
    assert lessons.answers.prompt_ends.tolist() == [[len(prompt) - 1]]
    batch = RolloutBatch.from_rollouts([at_once, rollout], num_turns=3)
    taught = lessons.taught(batch)
    assert taught.equal((batch.turn_ids == 2) & batch.action_mask) and batch.groups.sum() == 0
    assert batch.token_ids[taught].tolist() == answer
    other = RolloutBatch.from_rollouts([rollout, rollout], num_turns=3)
    other.token_ids[1, -1] += 1
    with pytest.raises(ValueError, match="are not those of the batch"):
        lessons.taught(other)

    most = len(prompt) + len(answer)
    assert read([rollout], chat, most) is not None and read([rollout], chat, most - 1) is None
    assert read([at_once], chat) is None
    later = read([after_first_turn(rollout)], chat)  # whose first answer is part of its prompt
    assert later is not None and later.turns.tolist() == [1]
    assert later.answers.token_ids.equal(lessons.answers.token_ids)
    mine = replace(rollout, token_ids=np.copy(rollout.token_ids))
    assert len(read([mine] * 3, chat).rows) == 3  # type: ignore[union-attr]
