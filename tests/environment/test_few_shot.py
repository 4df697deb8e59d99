"""Solved dialogues before a problem: which are taken, and what the model then sees."""

import pytest
from chat_tokenizers import EXTENDABLE, make_tokenizer

from rlef.environment import (
    ChatFormat,
    Conversation,
    EpisodeRecord,
    MessageConversation,
    Prompts,
    StopReason,
    TurnRecord,
    repair_dialogues,
)
from rlef.problems import Problem, Test
from rlef.sandbox import Verdict

AC, WA = Verdict.AC, Verdict.WA
MINI = Prompts.load("mini")
PROBLEMS = {
    name: Problem(
        name=name,
        statement=f"Say {name}.",
        public_tests=(Test("", name),),
        private_tests=(Test("", name),),
    )
    for name in "abcd"
}


def record(name: str, turns: int, solved: bool = True) -> EpisodeRecord:
    return EpisodeRecord(
        problem=name,
        family=None,
        hidden_detail=None,
        turns=tuple(
            TurnRecord(
                response=f"{name}{i}",
                program="p",
                public_verdicts=(AC if solved and i == turns - 1 else WA,),
                feedback=f"wrong {i}" if i < turns - 1 else None,
            )
            for i in range(turns)
        ),
        stop=StopReason.PUBLIC_PASSED if solved else StopReason.TURN_LIMIT,
        solved=solved,
        final_verdict=AC if solved else WA,
    )


def test_dialogues_were_solved_after_feedback() -> None:
    records = [record("a", 1), record("b", 3, solved=False), record("c", 2), record("c", 3)]
    exchanges = repair_dialogues([*records, record("d", 3)], PROBLEMS, MINI, 2)
    asked = [message for message, _ in exchanges]
    assert [answer for _, answer in exchanges] == ["c0", "c1", "d0", "d1", "d2"]
    assert "Say c." in asked[0] and "Say d." in asked[2]
    assert asked[1] == asked[3] == "wrong 0" and asked[4] == "wrong 1"
    with pytest.raises(ValueError, match="1 problems were solved in two or three turns, 2 are"):
        repair_dialogues(records, PROBLEMS, MINI, 2)


@pytest.mark.parametrize("name", EXTENDABLE)
def test_examples_are_what_a_conversation_would_have_been(name: str) -> None:
    chat = ChatFormat(make_tokenizer(*EXTENDABLE[name]))
    examples = [("One?", "1"), ("Two?", "2")]
    conversation = Conversation(chat)
    conversation.start("Three?", examples=examples)
    text = chat.tokenizer.decode(conversation.token_ids, clean_up_tokenization_spaces=False)
    grown = Conversation(chat)
    grown.start("One?")
    for message, answer in (("Two?", "1"), ("Three?", "2")):
        ids = chat.tokenizer.encode(answer, add_special_tokens=False)
        grown.add_action([*ids, chat.end_of_turn], [0.0] * (len(ids) + 1))
        grown.add_observation(message)
    wanted = chat.tokenizer.decode(grown.token_ids, clean_up_tokenization_spaces=False)
    assert text == wanted
    assert not any(conversation.action_mask) and len(conversation.prompt_ends) == 1


def test_examples_as_messages() -> None:
    conversation = MessageConversation()
    conversation.start("Two?", system="Count.", examples=[("One?", "1")])
    assert [m["content"] for m in conversation.messages] == ["Count.", "One?", "1", "Two?"]
