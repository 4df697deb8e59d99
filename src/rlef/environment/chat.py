"""A model's chat template: messages to token ids, and where an answer ends."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Literal

from rlef.environment.chat_settings import TEMPLATE_DATE, Turns
from rlef.environment.fences import split_reasoning
from rlef.environment.reasoning import by_marks, opened_reasoning
from rlef.environment.rendering import Renderer, Tokenizer
from rlef.environment.template_probes import (
    ANOTHER_TEMPLATE,
    Message,
    TemplateError,
    append_fault,
    assistant,
    behind_reasoning,
    between,
    empty_answer,
    ending,
    extension_fault,
    keeps_all,
    keeps_reasoning,
    lead,
    rendering_fault,
    same_at_first,
    shown_field,
    user,
)

Exchange = tuple[str, str]
"""A user message and the answer to it."""


class ChatFormat:
    r"""A tokenizer's chat template, checked once, and the way in which dialogues are made with it.

    ``append``: only the first prompt and what stands between two answers come from the template.
    The check: that is the same text whatever was answered. ``per_turn``: each turn's prompt is what
    the template renders of all messages before it. ``auto``: ``append`` where appending gives the
    text that the template renders of the whole, else ``per_turn``, which is what a server of the
    model makes of the same messages; ``append`` if that fails.

    Args:
        tokenizer: Whose template it is.
        end_token_ids: Further ids that end an answer: those that the model's files name.
        template_arguments: What the template is told beside the messages.
        system: The system message; ``None``: whatever the template does without one.
        today: What the template is told where it asks for the date.
        turns: See above.

    Attributes:
        tokenizer: as given.
        system: as given.
        examples: what was said before each dialogue's first message.
        turns: ``"append"`` or ``"per_turn"``.
        notice: why ``auto`` came to something else than ``append``, for the user; else ``None``.
        opened: by what the first prompt begins the answer's reasoning, such as ``"<think>\n"``.
        end_of_turn: id of the token that ends an answer.
        stop_token_ids: ids that end a sampled answer, each once: ``end_of_turn``, the tokenizer's
            end of sequence and, where it names one, end of turn, and ``end_token_ids``.

    Raises:
        TemplateError: There is no template, or it cannot be used in the way asked for.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        end_token_ids: Sequence[int] = (),
        template_arguments: Mapping[str, Any] | None = None,
        system: str | None = None,
        today: date = TEMPLATE_DATE,
        turns: Turns = "auto",
    ) -> None:
        self.tokenizer = tokenizer
        self.system = system
        self.examples: tuple[Exchange, ...] = ()
        self._renderer = Renderer(tokenizer, template_arguments or {}, today)
        self._render = self._renderer.render
        self._field = shown_field(self._render)
        if self._field is None and "reasoning_content" in self._renderer.template:
            self._field = "reasoning_content"  # that it may render beside tool calls only
        self._keeps_reasoning = keeps_reasoning(self._render)
        before = system_message(system)
        self.opened = opened_reasoning(self._first_prompt(system))
        self.turns, self.notice = self._resolve(turns, system)
        self._lead = lead(self._render, before)
        self._empty = empty_answer(self._render, before)
        self._fault = cache(self._fault_with)
        self._find_ends(before, end_token_ids)

    def with_examples(self, examples: Sequence[Exchange]) -> "ChatFormat":
        """Returns a format whose dialogues begin behind further examples: few-shot prompting."""
        told = copy.copy(self)
        told.examples = (*self.examples, *examples)
        return told

    def first_messages(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> list[Message]:
        """Returns the messages up to the first answer.

        Args:
            message: The first user message.
            system: The system message; ``None``: the format's own.
            examples: What was said before, behind the format's own examples.

        Raises:
            TemplateError: The template cannot be used with that system message.
        """
        system = self.system if system is None else system
        if (fault := self._fault(system)) is not None:
            raise fault
        pairs = [
            (user(self.plain(asked)), self._message(answer))
            for asked, answer in (*self.examples, *examples)
        ]
        before = [one for pair in pairs for one in pair]
        return [*system_message(system), *before, user(self.plain(message))]

    def prompt_ids(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> list[int]:
        """Returns the first prompt, up to where the first answer begins; see ``first_messages``."""
        return self.rendered_ids(self.first_messages(message, system, examples))

    def rendered_ids(self, messages: Sequence[Message]) -> list[int]:
        """Returns a prompt as the template renders it, up to where the next answer begins."""
        return self._renderer.encode(self._render(messages, True))

    def between_ids(self, message: str, last_id: int, system: str | None = None) -> list[int]:
        """Returns what stands between one answer and the next: what ends it, then the message.

        Args:
            message: The user message.
            last_id: The last token of the answer; if it ends an answer as the template does, it is
                not repeated.
            system: The system message of the dialogue.
        """
        ids = self._renderer.encode(
            between(self._render, system_message(system), self.plain(message))
        )
        closing = ids[: self._closing]
        if last_id == self.end_of_turn:
            return ids[self._closing :]
        return ids[closing.index(last_id) + 1 :] if last_id in closing else ids

    def answer_message(self, token_ids: Sequence[int]) -> Message:
        """Returns a sampled answer as the message that the template expects.

        Its reasoning goes into the field that the template reads, or stays in the text where the
        template keeps it there, or else is left out; special tokens other than marks of reasoning
        are broken up.
        """
        ids = list(token_ids)
        while ids and ids[-1] in (*self.stop_token_ids, *self._closers):
            ids.pop()
        return self._message(self.answer_text(ids))

    def _message(self, text: str) -> Message:
        """Returns the text of an answer as the message that the template expects."""
        reasoning, answer = split_reasoning(text)
        if reasoning is None:
            plain = text.removeprefix(self._lead).removeprefix(self._lead.strip())
            return assistant(self.plain(plain) or self._empty)
        if self._field is None and self._keeps_reasoning:
            pieces = by_marks(text)
            return assistant("".join(p if is_mark else self.plain(p) for p, is_mark in pieces))
        fields = {self._field: self.plain(reasoning.strip())} if self._field else {}
        answer = answer.lstrip().removeprefix(self._lead.strip())
        return assistant(self.plain(answer) or self._empty, **fields)

    def answer_text(self, token_ids: Sequence[int]) -> str:
        """Returns a sampled answer's text, behind ``opened``, without the token that ended it."""
        return self.opened + self.decode(token_ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text of sampled tokens, without the token that ended the answer."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_token_ids:
            ids.pop()
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def plain(self, message: str) -> str:
        """Breaks up special tokens, so that a program's output cannot pose as another speaker."""
        return self._renderer.plain(message)

    def template_ids(self) -> set[int]:
        """Returns ids that the template puts into prompts."""
        messages = self.first_messages("x")
        ids = {*self.rendered_ids(messages), *self.stop_token_ids}
        if self.turns == "per_turn":
            return ids.union(self.rendered_ids([*messages, assistant("x"), user("x")]))
        return ids.union(self.between_ids("x", -1, self.system))

    def _first_prompt(self, system: str | None) -> str:
        without = self._render([user("x")], True)
        if system is None:
            return without
        try:
            prompt = self._render([*system_message(system), user("x")], True)
            why = None if system.strip() in prompt else "the chat template leaves it out"
        except TemplateError as error:
            why = error.fault
        if why is not None:
            raise TemplateError(
                f"no system message can be set (model.system; rlef eval: --system), as {why}",
                f"none, or {ANOTHER_TEMPLATE}",
            )
        return prompt

    def _resolve(
        self, turns: Turns, system: str | None
    ) -> tuple[Literal["append", "per_turn"], str | None]:
        before = system_message(system)
        if turns == "append":
            if (fault := append_fault(self._render, before)) is not None:
                raise _not_appended_to(fault)
            return "append", None
        in_turn = rendering_fault(self._render, before, self._field)
        if turns == "per_turn":
            if in_turn is not None:
                raise TemplateError(in_turn)
            return "per_turn", None
        fault = extension_fault(self._render, before)
        appends = append_fault(self._render, before) is None
        if (field := shown_field(self._render)) is not None:
            keeps = keeps_all(self._render, before, field)
        else:
            keeps = fault is None and self._keeps_reasoning
        if appends and (keeps or in_turn is not None):
            return "append", None
        if in_turn is not None:
            raise TemplateError(in_turn)
        return "per_turn", self._notice(fault or "", appends)

    def _notice(self, fault: str, appends: bool) -> str:
        drops = self._field is not None or not self._keeps_reasoning
        why = (
            "leaves out the reasoning of earlier answers" if drops else f"is not extended: {fault}"
        )
        line = (
            f"the chat template {why}; so each turn is a sequence of its own, as the template "
            "renders it"
        )
        if not appends:
            return line
        return f"{line}. To keep dialogues as they were sampled: {_set_turns('append')}"

    def _fault_with(self, system: str | None) -> TemplateError | None:
        """Why the format's way does not work with a system message."""
        before = system_message(system)
        if self.turns == "per_turn":
            in_turn = rendering_fault(self._render, before, self._field)
            return None if in_turn is None else TemplateError(in_turn)
        try:
            fault = append_fault(self._render, before)
        except TemplateError as error:
            return error
        return None if fault is None else _not_appended_to(fault)

    def _find_ends(self, before: Sequence[Message], end_token_ids: Sequence[int]) -> None:
        """Finds the token that ends an answer, and how many ids between answers close it.

        It is what the template puts behind an answer whether or not another message follows.
        Where the two differ (gpt-oss) it is what stands behind a last answer: the other may stand
        within one. Of several in a row it is the one that the model's files declare as an end. What
        stands between an answer's reasoning and its text (Solar Open) cannot end it.
        """
        field = shown_field(self._render)
        within = self._renderer.encode(behind_reasoning(self._render, field)) if field else []
        own = (self.tokenizer.eos_token_id, getattr(self.tokenizer, "eot_token_id", None))
        named = [*(end for end in own if end is not None), *end_token_ids]
        declared = [end for end in named if end not in within]
        ids = self._renderer.encode(self._closing_text(before))
        blanks, followed = self._renderer.special_run(ids, declared)
        _, last = self._renderer.special_run(
            self._renderer.encode(ending(self._render, before)), declared
        )
        common = followed[: same_at_first(followed, last)]
        found = common or [end for end in last if end in declared] or followed or last
        found = [end for end in found if end not in within] or (declared if found else [])
        if not found:
            text = str(self.tokenizer.convert_ids_to_tokens(ids[0])) if ids else ""
            raise TemplateError(
                f"the chat template ends an answer with {text!r}; it must be a special token that "
                "does not end its reasoning too"
            )
        self.end_of_turn = next((end for end in found if end in declared), found[0])
        place = followed.index(self.end_of_turn) if self.end_of_turn in followed else 0
        self._closing = blanks + place + 1 if followed else 0
        self._closers = followed[: place + 1]
        self.stop_token_ids = tuple(dict.fromkeys([self.end_of_turn, *declared]))

    def _closing_text(self, before: Sequence[Message]) -> str:
        try:
            return between(self._render, before, "x")
        except TemplateError:
            if self.turns == "append":
                raise
            return ""


def _not_appended_to(fault: str) -> TemplateError:
    return TemplateError(
        f"the chat template cannot be appended to: {fault}",
        f"{_set_turns('per_turn')}, or {ANOTHER_TEMPLATE}",
    )


def _set_turns(value: Turns) -> str:
    return f"model.turns={value} (rlef eval: --turns-as {value})"


def stop_token_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Returns the ids that end an answer: the template's end of turn, and end of sequence.

    Raises:
        TemplateError: See ``ChatFormat``.
    """
    return ChatFormat(tokenizer).stop_token_ids


def system_message(text: str | None) -> list[Message]:
    """Returns the system message, if there is one."""
    return [] if text is None else [{"role": "system", "content": text}]


def exchanges(pairs: Iterable[Exchange]) -> list[Message]:
    """Returns what was said as messages."""
    return [message for asked, answer in pairs for message in (user(asked), assistant(answer))]
