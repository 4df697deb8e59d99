"""What a chat template does to a dialogue, found out by rendering short ones.

All functions take ``Render``; ``before`` is what stands in front of the first user message.
"""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

Message = dict[str, str]
"""``role``, ``content``, and of an answer perhaps a field with its reasoning."""
Render = Callable[[Sequence[Message], bool], str]
"""Messages, and whether the beginning of the next answer follows, to text."""

REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""Where templates look for an answer's reasoning: Qwen, GLM, Nemotron and most others; gpt-oss,
LFM2.5 and Command A; Gemma 4."""
_ANSWER, _REASON = "rlef-probe-answer", "rlef-probe-reason"
_REASONED = (
    "<think>\n{}\n</think>\n\n",
    "[THINK]{}[/THINK]",
    "<|channel>thought\n{}<channel|>",
    "<|START_THINKING|>{}<|END_THINKING|>",
    "◁think▷{}◁/think▷",
)
"""Reasoning in the text of an answer; templates that take it out know one of these forms."""
_EXTENDED = ("Yes.", "<think>\nWell.\n</think>\n\n```python\nprint(1)\n```", "No.")
_FORMS = ("{}", "<think>\nWell.\n</think>\n\n{}", "```python\nprint(1)\n```\n{}")
"""Answers that templates may treat differently; each ends in what is looked for."""


ANOTHER_TEMPLATE = "another template, model.chat_template=FILE (rlef eval: --chat-template FILE)"


class TemplateError(ValueError):
    """A chat template that cannot be used as it should. One line: why, and what is allowed.

    Attributes:
        fault: why.
        allowed: what is allowed.
    """

    def __init__(self, fault: str, allowed: str = ANOTHER_TEMPLATE) -> None:
        super().__init__(fault, allowed)
        self.fault = fault
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.fault}; allowed: {self.allowed}"


def same_at_first(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Returns how many items two sequences begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def user(text: str) -> Message:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str, **fields: str) -> Message:
    """An answer."""
    return {"role": "assistant", "content": text, **fields}


def between(render: Render, before: Sequence[Message], message: str) -> str:
    """Returns the text from the end of one answer to the beginning of the next.

    Args:
        render: Of the template.
        before: See above.
        message: The user message that stands there.
    """
    text = render([*before, user("x"), assistant(_ANSWER), user(message)], True)
    _, found, after = text.partition(_ANSWER)  # the first one: a program may print it as well
    if not found:
        raise TemplateError("the chat template does not render earlier answers")
    return after


def ending(render: Render, before: Sequence[Message]) -> str:
    """Returns the text behind an answer that nothing follows; empty where that is not rendered."""
    try:
        text = render([*before, user("x"), assistant(_ANSWER)], False)
    except TemplateError:
        return ""
    _, found, after = text.rpartition(_ANSWER)
    return after if found else ""


def lead(render: Render, before: Sequence[Message]) -> str:
    """Returns what an earlier answer has before its text that its prompt does not end in.

    A model writes that itself; empty where the prompt is not what stands before an earlier answer.
    """
    messages = [*before, user("x")]
    try:
        prompt = render(messages, True)
        text = render([*messages, assistant(_ANSWER), user("x")], True)
    except TemplateError:
        return ""
    return text.removeprefix(prompt).partition(_ANSWER)[0] if text.startswith(prompt) else ""


def extension_fault(render: Render, before: Sequence[Message]) -> str | None:
    """Returns where rendering a longer dialogue differs from appending to a shorter one.

    Blanks around an answer are let pass: a model writes those of its template itself.
    """
    messages = [*before, user("First.")]
    text = render(messages, True)
    blanks = lead(render, before)
    blanks = "" if blanks.strip() else blanks
    for number, answer in enumerate(_EXTENDED, start=1):
        message = f"Message\n{number}."
        messages += [assistant(answer), user(message)]
        text += blanks + answer + between(render, before, message)
        whole = render(messages, True)
        if text != whole:
            at = same_at_first(text, whole)
            return (
                f"with {number + 1} user messages it renders {whole[at : at + 40]!r} where "
                f"{text[at : at + 40]!r} stood before"
            )
    return None


def append_fault(render: Render, before: Sequence[Message]) -> str | None:
    """Returns what a template changes beside earlier answers.

    ``None``: what stands between two answers, and before the first one, is the same text whatever
    was answered and however many messages there are; so answers may stay as they were sampled.
    """
    asked = [f"rlef-probe-message-{i}" for i in range(len(_FORMS) + 1)]
    marks = [f"rlef-probe-answer-{i}" for i in range(len(_FORMS))]
    first = render([*before, user(asked[0])], True)
    parts = [first.partition(asked[0])]
    messages = [*before, user(asked[0])]
    for count, (form, mark) in enumerate(zip(_FORMS, marks, strict=True), start=1):
        messages += [assistant(form.format(mark)), user(asked[count])]
        whole = render(messages, True)
        parts.append(between(render, before, asked[count]).partition(asked[count]))
        found = _cut(whole, [*_interleaved(asked[: count + 1], marks[:count])])
        if found is None:
            return f"of {count + 1} user messages and the answers between them it drops some"
        if whole.rpartition(mark)[2] != "".join(parts[-1]):
            return f"what stands behind answer {count} depends on it"
        # found: before the first message, then behind each message and each answer in turn
        heads, tails = found[0::2], found[1::2]
        for number, (head, part) in enumerate(zip(heads, parts, strict=True), start=1):
            if head != part[0]:
                return (
                    f"with {count + 1} user messages it changes what stands before number {number}"
                )
        for number, (tail, part) in enumerate(zip(tails, parts, strict=True), start=1):
            if part[2] and not same_at_first(tail, part[2]):
                return (
                    f"with {count + 1} user messages it changes what stands behind number {number}"
                )
    return None


def _interleaved(asked: Sequence[str], answered: Sequence[str]) -> list[str]:
    pairs = zip(asked, [*answered, ""], strict=True)
    return [text for pair in pairs for text in pair if text]


def _cut(text: str, marks: Sequence[str]) -> list[str] | None:
    """Returns what stands around marks, which follow one another; ``None``: one is not there."""
    places = [0]
    starts = []
    for mark in marks:
        at = text.find(mark, places[-1])
        if at < 0:
            return None
        starts.append(at)
        places.append(at + len(mark))
    return [text[a:b] for a, b in zip(places, [*starts, len(text)], strict=True)]


def rendering_fault(render: Render, before: Sequence[Message], field: str | None) -> str | None:
    """Returns why prompts of later turns cannot be rendered, each with all messages before it.

    Args:
        render: Of the template.
        before: See above.
        field: Of an answer's reasoning; ``None``: there is none.
    """
    fields = {field: _REASON} if field else {}
    empty = empty_answer(render, before)
    answers = [assistant(_ANSWER), assistant(_ANSWER, **fields), assistant(empty, **fields)]
    messages = [*before, user("rlef-probe-message")]
    kept = [messages[-1]["content"], _ANSWER]
    try:
        for answer in answers:
            messages += [answer, user(f"rlef-probe-message-{len(messages)}")]
            kept.append(messages[-1]["content"])
            text = render(messages, True)
            if any(part not in text for part in kept):
                return "the chat template drops messages"
    except TemplateError as error:
        return error.fault
    return None


def shown_field(render: Render) -> str | None:
    """Returns the field of a last answer whose text a template renders as its reasoning."""
    for field in REASONING_FIELDS:
        try:
            text = render([user("x"), assistant(_ANSWER, **{field: _REASON})], False)
        except TemplateError:
            continue
        if _REASON in text:
            return field
    return None


def behind_reasoning(render: Render, field: str) -> str:
    """Returns the text between the reasoning of a last answer and its own."""
    text = render([user("x"), assistant(_ANSWER, **{field: _REASON})], False)
    return text.rpartition(_REASON)[2].partition(_ANSWER)[0]


def empty_answer(render: Render, before: Sequence[Message]) -> str:
    """Returns a text for an answer without one: empty, or if a template refuses that a blank."""
    try:
        render([*before, user("x"), assistant(""), user("x")], True)
    except TemplateError:
        return " "
    return ""


def keeps_reasoning(render: Render) -> bool:
    """Whether an earlier answer is rendered with the reasoning that stands in its text."""
    for form in _REASONED:
        try:
            text = render([user("x"), assistant(form.format(_REASON) + _ANSWER), user("x")], True)
        except TemplateError:
            continue
        if _REASON not in text:
            return False
    return True


def keeps_all(render: Render, before: Sequence[Message], field: str) -> bool:
    """Whether longer dialogues begin with shorter ones, the reasoning of their answers included.

    Args:
        render: Of the template.
        before: See above.
        field: Of an answer's reasoning.
    """
    messages = [*before, user("First.")]
    text = render(messages, True)
    for number in range(1, 4):
        reason = f"{_REASON}-{number}"
        messages += [assistant("Yes.", **{field: reason}), user(f"Message\n{number}.")]
        whole = render(messages, True)
        if not whole.startswith(text) or reason not in whole:
            return False
        text = whole
    return True
