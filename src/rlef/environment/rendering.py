"""A tokenizer's chat template at work: messages to text, text to ids."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol

from rlef.environment.template_probes import Message, TemplateError, assistant, user
from rlef.environment.template_text import failure, template_words
from rlef.text import whole_characters

_MARKS = ("<", "[", "◁")
"""How tokens begin that structure a dialogue."""


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
        special: texts of all special tokens, and of others that the template writes, such as
            ``<｜User｜>`` of DeepSeek, the longest first.

    Raises:
        TemplateError: An argument is none of the template's.
    """

    def __init__(self, tokenizer: Tokenizer, arguments: Mapping[str, Any], today: date) -> None:
        self._tokenizer = tokenizer
        self.template = _template_of(tokenizer)
        self._words = template_words(self.template, arguments, today)
        special = {str(token) for token in tokenizer.all_special_tokens}
        written = self._written()
        for token in tokenizer.added_tokens_decoder.values():
            if token.special or (token.content.startswith(_MARKS) and token.content in written):
                special.add(token.content)
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
        except Exception as error:  # a template is a program: it may raise anything
            raise TemplateError(failure(error)) from None

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a rendered text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def plain(self, message: str) -> str:
        """Breaks up special tokens, so that a program's output cannot pose as another speaker.

        Halves of surrogate pairs become U+FFFD.
        """
        message = whole_characters(message)
        for token in self.special:
            if len(token) > 1:
                message = message.replace(token, f"{token[0]} {token[1:]}")
        return message

    def _written(self) -> str:
        """Returns the template, and what it makes of a dialogue: it may join tokens of pieces."""
        try:
            return self.template + self.render([user("x"), assistant("x"), user("x")], True)
        except TemplateError:
            return self.template

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
