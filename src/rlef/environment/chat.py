"""A model's chat template: messages to token ids, and where an answer ends."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Literal, Protocol

from jinja2 import TemplateError as JinjaError
from jinja2 import TemplateSyntaxError

from rlef.environment.chat_settings import TEMPLATE_DATE, Turns
from rlef.environment.fences import split_reasoning
from rlef.environment.reasoning import by_marks, opened_reasoning
from rlef.environment.template_probes import (
    Message,
    TemplateError,
    append_fault,
    assistant,
    between,
    ending,
    extension_fault,
    keeps_all,
    keeps_reasoning,
    lead,
    reasoning_field,
    rendering_fault,
    same_at_first,
    user,
)

Exchange = tuple[str, str]
"""A user message and the answer to it."""

_DATE_CODES = ("-d", "-m", "-e", "-j", *"aAbBdejmyYDFxcuwUWVGHIMSpTX")
"""Of ``strftime``."""
_OWN_ARGUMENTS = {
    *("messages", "conversation", "chat_template", "add_generation_prompt", "tokenize"),
    *("continue_final_message", "return_dict", "return_tensors", "return_assistant_tokens_mask"),
    *("padding", "truncation", "max_length", "tokenizer_kwargs"),
}
"""What ``apply_chat_template`` is told by rlef, or tells the tokenizer and not the template."""
_TEMPLATE_FAULTS = (JinjaError, TypeError, ValueError, LookupError, AttributeError)
"""What a template raises of messages or arguments that it was not made for."""
ANOTHER_TEMPLATE = "another template, model.chat_template=FILE (rlef eval: --chat-template FILE)"


class Tokenizer(Protocol):
    """What is needed of a ``transformers`` tokenizer."""

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end-of-sequence token."""
        ...

    @property
    def all_special_tokens(self) -> list[str]:
        """Named special tokens."""
        ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """Added tokens by id; each has ``content`` and ``special``."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Text to ids; special tokens in the text are recognised."""
        ...

    def decode(self, token_ids: list[int], *, clean_up_tokenization_spaces: bool) -> Any:
        """Ids to text, special tokens among them."""
        ...

    def convert_ids_to_tokens(self, ids: int) -> str | list[str]:
        """Text of one token."""
        ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        **words: Any,
    ) -> Any:
        """Messages to text; ``chat_template`` may be among the words."""
        ...


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
        self._words = _template_words(tokenizer, template_arguments or {}, today)
        special = {str(token) for token in tokenizer.all_special_tokens}
        added = tokenizer.added_tokens_decoder.values()
        special.update(token.content for token in added if token.special)
        self._special = sorted(special, key=len, reverse=True)
        self._field = reasoning_field(self._render)
        self._keeps_reasoning = keeps_reasoning(self._render)
        before = system_message(system)
        self.opened = opened_reasoning(self._render([*before, user("x")], True))
        self.turns, self.notice = self._resolve(turns, system)
        self._lead = lead(self._render, before)
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
            raise TemplateError(fault)
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
        return self._encode(self._render(messages, True))

    def between_ids(self, message: str, last_id: int, system: str | None = None) -> list[int]:
        """Returns what stands between one answer and the next: what ends it, then the message.

        Args:
            message: The user message.
            last_id: The last token of the answer; if it ends an answer as the template does, it is
                not repeated.
            system: The system message of the dialogue.
        """
        ids = self._encode(between(self._render, system_message(system), self.plain(message)))
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
            return assistant(self.plain(plain))
        if self._field is None and self._keeps_reasoning:
            pieces = by_marks(text)
            return assistant("".join(p if is_mark else self.plain(p) for p, is_mark in pieces))
        fields = {self._field: self.plain(reasoning.strip())} if self._field else {}
        return assistant(self.plain(answer.lstrip().removeprefix(self._lead.strip())), **fields)

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
        for token in self._special:
            if len(token) > 1:
                message = message.replace(token, f"{token[0]} {token[1:]}")
        return message

    def template_ids(self) -> set[int]:
        """Returns ids that the template puts into prompts."""
        messages = self.first_messages("x")
        ids = {*self.rendered_ids(messages), *self.stop_token_ids}
        if self.turns == "per_turn":
            return ids.union(self.rendered_ids([*messages, assistant("x"), user("x")]))
        return ids.union(self.between_ids("x", -1, self.system))

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: Sequence[Message], prompts: bool) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=prompts, **self._words
                )
            )
        except _TEMPLATE_FAULTS as error:
            line = (str(error) or type(error).__name__).partition("\n")[0]
            if isinstance(error, TemplateSyntaxError):
                line = f"line {error.lineno}: {line}"
            words = (
                "" if line.startswith("Cannot use chat template") else "the chat template failed: "
            )
            raise TemplateError(f"{words}{line}") from None

    def _resolve(
        self, turns: Turns, system: str | None
    ) -> tuple[Literal["append", "per_turn"], str | None]:
        before = system_message(system)
        if turns == "append":
            if (fault := append_fault(self._render, before)) is not None:
                raise TemplateError(_refusal(fault))
            return "append", None
        in_turn = rendering_fault(self._render, before, self._field)
        if turns == "per_turn":
            if in_turn is not None:
                raise TemplateError(f"{in_turn}; allowed: {ANOTHER_TEMPLATE}")
            return "per_turn", None
        fault = extension_fault(self._render, before)
        keeps = keeps_all(self._render, before, self._field)
        if self._field is None:
            keeps = self._keeps_reasoning and (keeps or fault is None)
        if keeps:
            return "append", None
        if in_turn is None:
            return "per_turn", self._notice(fault or "", before)
        if append_fault(self._render, before) is None:
            return "append", None
        raise TemplateError(f"{in_turn}; allowed: {ANOTHER_TEMPLATE}")

    def _notice(self, fault: str, before: Sequence[Message]) -> str:
        drops = self._field is not None or not self._keeps_reasoning
        why = (
            "leaves out the reasoning of earlier answers" if drops else f"is not extended: {fault}"
        )
        line = (
            f"the chat template {why}; so each turn is a sequence of its own, as the template "
            "renders it"
        )
        if append_fault(self._render, before) is not None:
            return line
        return f"{line}. To keep dialogues as they were sampled: {_set_turns('append')}"

    def _fault_with(self, system: str | None) -> str | None:
        """Why the format's way does not work with a system message."""
        before = system_message(system)
        try:
            if self.turns == "per_turn":
                return rendering_fault(self._render, before, self._field)
            fault = append_fault(self._render, before)
            return None if fault is None else _refusal(fault)
        except TemplateError as error:
            return str(error)

    def _find_ends(self, before: Sequence[Message], end_token_ids: Sequence[int]) -> None:
        """Finds the token that ends an answer, and how many ids between answers close it.

        It is what the template puts behind an answer whether or not another message follows.
        Where the two differ (gpt-oss) it is what stands behind a last answer: the other may stand
        within one. Of several in a row it is the one that the model's files declare as an end.
        """
        own = (self.tokenizer.eos_token_id, getattr(self.tokenizer, "eot_token_id", None))
        declared = [*(end for end in own if end is not None), *end_token_ids]
        ids = self._encode(self._closing_text(before))
        blanks, followed = self._special_run(ids, declared)
        _, last = self._special_run(self._encode(ending(self._render, before)), declared)
        common = followed[: same_at_first(followed, last)]
        found = common or last or followed
        if not found:
            text = str(self.tokenizer.convert_ids_to_tokens(ids[0])) if ids else ""
            raise TemplateError(
                f"the chat template ends an answer with {text!r}; it must be a special token; "
                f"allowed: {ANOTHER_TEMPLATE}"
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

    def _special_run(self, ids: Sequence[int], declared: Sequence[int]) -> tuple[int, list[int]]:
        """Returns how many blank tokens ids begin with, and the special ones behind them."""
        run: list[int] = []
        blanks = 0
        for token in ids:
            text = str(self.tokenizer.convert_ids_to_tokens(token))
            if text in self._special or token in declared:
                run.append(token)
            elif run or self.tokenizer.decode([token], clean_up_tokenization_spaces=False).strip():
                break
            else:
                blanks += 1
        return blanks, run


def _template_words(
    tokenizer: Tokenizer, arguments: Mapping[str, Any], today: date
) -> dict[str, Any]:
    """Returns what ``apply_chat_template`` is told beside the messages.

    Raises:
        TemplateError: An argument is none of the template's.
    """
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):  # named templates
        template = template.get("default")
    for name in arguments:
        if name in _OWN_ARGUMENTS or (
            isinstance(template, str) and not re.search(rf"\b{re.escape(name)}\b", template)
        ):
            raise TemplateError(
                f"the chat template reads no argument {name!r} (model.template_arguments; rlef "
                "eval: --template-arg); allowed: those that it reads, such as enable_thinking in "
                "many"
            )
    words = dict(arguments)
    if isinstance(template, str) and "strftime_now" in template:
        words["chat_template"] = _date_macro(today) + template
    return words


def _refusal(fault: str) -> str:
    return (
        f"the chat template cannot be appended to: {fault}; allowed: {_set_turns('per_turn')}, or "
        f"{ANOTHER_TEMPLATE}"
    )


def _set_turns(value: Turns) -> str:
    return f"model.turns={value} (rlef eval: --turns-as {value})"


def stop_token_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Returns the ids that end an answer: the template's end of turn, and end of sequence.

    Raises:
        TemplateError: See ``ChatFormat``.
    """
    return ChatFormat(tokenizer).stop_token_ids


def _date_macro(today: date) -> str:
    """Returns the beginning of a template in which ``strftime_now`` tells of a fixed day.

    transformers lets no function through to a template, so it is a macro: it replaces each code.
    """
    codes = [f"%{code}" for code in _DATE_CODES]
    told = "".join(f"|replace({code!r},{today.strftime(code)!r})" for code in codes)
    return "{%- macro strftime_now(format) -%}{{- format" + told + " -}}{%- endmacro -%}"


def system_message(text: str | None) -> list[Message]:
    """Returns the system message, if there is one."""
    return [] if text is None else [{"role": "system", "content": text}]


def exchanges(pairs: Iterable[Exchange]) -> list[Message]:
    """Returns what was said as messages."""
    return [message for asked, answer in pairs for message in (user(asked), assistant(answer))]
