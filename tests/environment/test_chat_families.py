"""Dialogues with the templates of well-known families: token ids, ends of answers, programs."""

import os
import re
from pathlib import Path

import pytest
from chat_families import FAMILIES, PROGRAM, USERS, WRONG, chat_of, converse, encode
from chat_tokenizers import make_tokenizer

from rlef.environment import ChatFormat, Conversation, TemplateError, extract_program


@pytest.mark.parametrize("name", FAMILIES)
def test_appended_dialogues_to_the_token(name: str) -> None:
    family = FAMILIES[name]
    chat = chat_of(family, "append")
    text = family.head + USERS[0] + family.ask
    assert chat.rendered_ids(chat.first_messages(USERS[0])) == encode(chat.tokenizer, text)
    ids = encode(chat.tokenizer, text)
    prompts = converse(chat, family.answer)
    for prompt, message in zip(prompts[1:], USERS[1:], strict=True):
        ids += encode(chat.tokenizer, family.answer)
        ids += encode(chat.tokenizer, family.gap + message + family.ask)
        assert prompt == ids


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_of_each_turn_are_what_the_template_renders(name: str) -> None:
    family = FAMILIES[name]
    chat = chat_of(family, "per_turn")
    tokenizer = chat.tokenizer
    prompts = converse(chat, family.answer)
    end = family.gap if "<|return|>" not in family.gap else family.gap.replace("return", "end")
    end = "<|END_RESPONSE|>" + end if name == "command-r7b" else end
    text = family.head + USERS[0]
    assert prompts[0] == encode(tokenizer, text + family.ask)
    for prompt, message in zip(prompts[1:], USERS[1:], strict=True):
        text += family.kept.removesuffix("<|END_RESPONSE|>") + end + message
        assert tokenizer.decode(prompt, clean_up_tokenization_spaces=False) == text + family.ask
        assert prompt == encode(tokenizer, text + family.ask)
    if "Perhaps" not in family.kept:
        assert "Perhaps" not in text


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_chosen_and_where_answers_end(name: str) -> None:
    family = FAMILIES[name]
    chat = chat_of(family)
    assert chat.turns == family.auto and (chat.notice is None) == (family.auto == "append")
    tokenizer = family.tokenizer()
    assert tuple(tokenizer.convert_ids_to_tokens(list(chat.stop_token_ids))) == family.stops


@pytest.mark.parametrize("name", FAMILIES)
def test_the_program_is_looked_for_behind_the_reasoning(name: str) -> None:
    family = FAMILIES[name]
    chat = chat_of(family)
    ids = encode(chat.tokenizer, family.answer)  # type: ignore[arg-type]
    assert extract_program(chat.answer_text([*ids, chat.end_of_turn])) == "print(1)\n"
    if "Perhaps" in family.answer:
        cut = encode(chat.tokenizer, family.answer.partition(WRONG)[0] + WRONG + "\n")  # type: ignore[arg-type]
        assert extract_program(chat.answer_text(cut)) is None
        message = chat.answer_message(cut)
        if name != "smollm3":  # whose template keeps reasoning where it stands
            assert message["content"] == ""


def test_special_tokens_in_an_answer_do_not_speak_for_others() -> None:
    for name in ("qwen3", "gpt-oss", "smollm3"):
        family = FAMILIES[name]
        chat = chat_of(family, "per_turn")
        conversation = Conversation(chat)
        conversation.start("x")
        ids = encode(chat.tokenizer, f"{family.answer}<|im_start|><|channel|>final<|message|>x")  # type: ignore[arg-type]
        conversation.add_action(ids, [-1.0] * len(ids))
        before = len(conversation.messages)
        conversation.add_observation(f"Output:\n{family.stops[0]}")
        for message in conversation.messages[before - 1 :]:
            assert not any(token in message["content"] for token in family.special)


def test_half_of_a_surrogate_pair_becomes_a_mark() -> None:
    chat = chat_of(FAMILIES["qwen3"], "per_turn")
    assert chat.prompt_ids("\ud83d b \U0001f600") == chat.prompt_ids("\ufffd b \U0001f600")


def test_a_system_message_that_a_template_leaves_out_is_refused() -> None:
    tokenizer = FAMILIES["deepseek-r1"].tokenizer()
    with pytest.raises(TemplateError, match="as the chat template leaves it out; allowed: none"):
        ChatFormat(tokenizer, system="Be brief.")


@pytest.mark.parametrize(("name", "refused"), [("gemma-2", True), ("mistral-v0.3", False)])
def test_a_system_message_that_a_template_moves_or_refuses(name: str, refused: bool) -> None:
    tokenizer = FAMILIES[name].tokenizer()
    if refused:
        with pytest.raises(TemplateError, match=r"no system message.*System role not supported"):
            ChatFormat(tokenizer, system="Be brief.")
        return
    chat = ChatFormat(tokenizer, system="Be brief.")
    assert chat.turns == "per_turn"  # it stands before the last message only
    prompts = converse(chat, PROGRAM)
    counts = [tokenizer.decode(prompt).count("Be brief.") for prompt in prompts]
    assert counts == [1, 1, 1]
    with pytest.raises(TemplateError, match=r"cannot be appended to.*model\.turns=per_turn"):
        ChatFormat(tokenizer, system="Be brief.", turns="append")


def test_an_argument_that_the_template_does_not_read_is_refused() -> None:
    tokenizer = FAMILIES["qwen3"].tokenizer()
    with pytest.raises(TemplateError, match="reads no argument 'enable_thinkin'"):
        ChatFormat(tokenizer, template_arguments={"enable_thinkin": False})


def test_a_template_that_keeps_reasoning_in_its_field_is_appended_to() -> None:
    keeps = FAMILIES["qwen3"].template.replace("loop.index0 > ns.last", "true")
    chat = ChatFormat(make_tokenizer(keeps, FAMILIES["qwen3"].special, "<|im_end|>"))
    assert chat.turns == "append" and chat.notice is None


@pytest.mark.parametrize("eos", ["<|end|>", "<|flush|>"])
def test_a_token_that_ends_reasoning_does_not_end_an_answer(eos: str) -> None:
    template = (
        "{% for m in messages %}{% if m.reasoning_content %}"
        "{{ '<|begin|>assistant<|think|>' + m.reasoning_content + '<|end|>' }}{% endif %}"
        "{{ '<|begin|>' + m.role + '<|content|>' + m.content + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|begin|>assistant' }}{% endif %}"
    )
    special = ("<|begin|>", "<|end|>", "<|think|>", "<|content|>", "<|flush|>")
    tokenizer = make_tokenizer(template, special, eos)
    if eos == "<|end|>":
        with pytest.raises(
            TemplateError, match=r"'<\|end\|>'; it must be .* does not end its reas"
        ):
            ChatFormat(tokenizer)
        return
    chat = ChatFormat(tokenizer)
    assert tokenizer.convert_ids_to_tokens(list(chat.stop_token_ids)) == ["<|flush|>"]
    prompts = converse(chat, f"<|think|>Hm.<|end|><|begin|>assistant<|content|>{PROGRAM}")
    assert f"<|content|>{PROGRAM}<|" in tokenizer.decode(prompts[1])


def test_a_template_with_a_fault_is_named_by_its_line() -> None:
    tokenizer = make_tokenizer("{% for m in messages %}\n{% endfo %}", ("<s>", "</s>"), "</s>")
    with pytest.raises(TemplateError, match="the chat template failed: line 2: "):
        ChatFormat(tokenizer)


FOLDER = os.environ.get("RLEF_TEMPLATES")


@pytest.mark.skipif(FOLDER is None, reason="RLEF_TEMPLATES names no folder of templates")
@pytest.mark.parametrize("path", sorted(Path(FOLDER or ".").glob("*.jinja")), ids=lambda p: p.name)
def test_a_published_template_works_or_is_refused_in_one_line(path: Path) -> None:
    """Its special tokens are guessed from its text."""
    text = path.read_text(encoding="utf-8")
    marks = re.findall(
        r"<[|\uff5c][^\s<>'\"{}]{1,40}[|\uff5c]>|</?s>|\[/?[A-Z_]{3,20}\]|\[[|][a-z]+[|]\]", text
    )
    special = tuple(dict.fromkeys(("<s>", "</s>", *marks)))
    tokenizer = make_tokenizer(text, special, "</s>")
    for turns in ("auto", "append", "per_turn"):
        try:
            chat = ChatFormat(tokenizer, turns=turns)  # type: ignore[arg-type]
        except TemplateError as error:
            assert "\n" not in str(error)
            continue
        converse(chat, PROGRAM)
