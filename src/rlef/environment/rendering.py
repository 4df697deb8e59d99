"""A tokenizer's chat template at work: messages to text, text to ids."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol

from jinja2 import TemplateError as JinjaError
from jinja2 import TemplateSyntaxError

from rlef.environment.template_probes import Message, TemplateError

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


class Renderer:
    """Renders messages.

    Args:
        tokenizer: Whose template it is.
        arguments: What the template is told beside the messages.
        today: What it is told where it asks for the date.

    Attributes:
        template: its text; empty where there is none.
        special: texts of all special tokens, the longest first.

    Raises:
        TemplateError: An argument is none of the template's.
    """

    def __init__(self, tokenizer: Tokenizer, arguments: Mapping[str, Any], today: date) -> None:
        self._tokenizer = tokenizer
        self.template = _template_of(tokenizer)
        self._words = _template_words(self.template, arguments, today)
        special = {str(token) for token in tokenizer.all_special_tokens}
        added = tokenizer.added_tokens_decoder.values()
        special.update(token.content for token in added if token.special)
        self.special = sorted(special, key=len, reverse=True)

    def render(self, messages: Sequence[Message], prompts: bool) -> str:
        """Returns messages as text.

        Args:
            messages: At least one.
            prompts: Whether the beginning of the next answer follows.

        Raises:
            TemplateError: The template does not take them, or there is none.
        """
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=prompts, **self._words
                )
            )
        except _TEMPLATE_FAULTS as error:
            line = (str(error) or type(error).__name__).partition("\n")[0]
            if not self.template:
                raise TemplateError(line) from None
            if isinstance(error, TemplateSyntaxError):
                line = f"line {error.lineno}: {line}"
            raise TemplateError(f"the chat template failed: {line}") from None

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a rendered text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def plain(self, message: str) -> str:
        """Breaks up special tokens, so that a program's output cannot pose as another speaker."""
        for token in self.special:
            if len(token) > 1:
                message = message.replace(token, f"{token[0]} {token[1:]}")
        return message

    def special_run(self, ids: Sequence[int], declared: Sequence[int]) -> tuple[int, list[int]]:
        """Returns how many blank tokens ids begin with, and the special ones behind them.

        Args:
            ids: Any.
            declared: Ids that count as special, whatever they are.
        """
        run: list[int] = []
        blanks = 0
        for token in ids:
            text = str(self._tokenizer.convert_ids_to_tokens(token))
            if text in self.special or token in declared:
                run.append(token)
            elif run or self._tokenizer.decode([token], clean_up_tokenization_spaces=False).strip():
                break
            else:
                blanks += 1
        return blanks, run


def _template_of(tokenizer: Tokenizer) -> str:
    """Returns the text of a tokenizer's template; empty where there is none."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):  # named templates
        template = template.get("default")
    return template if isinstance(template, str) else ""


def _template_words(template: str, arguments: Mapping[str, Any], today: date) -> dict[str, Any]:
    """Returns what ``apply_chat_template`` is told beside the messages.

    Raises:
        TemplateError: An argument is none of the template's.
    """
    for name in arguments:
        if name in _OWN_ARGUMENTS or not re.search(rf"\b{re.escape(name)}\b", template):
            raise TemplateError(
                f"the chat template reads no argument {name!r} (model.template_arguments; rlef "
                "eval: --template-arg); allowed: those that it reads, such as enable_thinking in "
                "many"
            )
    words = dict(arguments)
    if "strftime_now" in template:
        words["chat_template"] = _date_macro(today) + template
    return words


def _date_macro(today: date) -> str:
    """Returns the beginning of a template in which ``strftime_now`` tells of a fixed day.

    transformers lets no function through to a template, so it is a macro: it replaces each code.
    """
    codes = [f"%{code}" for code in _DATE_CODES]
    told = "".join(f"|replace({code!r},{today.strftime(code)!r})" for code in codes)
    return "{%- macro strftime_now(format) -%}{{- format" + told + " -}}{%- endmacro -%}"
