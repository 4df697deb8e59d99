"""Conversations as token ids: sampled tokens stay as they were sampled, whatever they decode to.

And as messages, for servers that show no ids.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Protocol

from jinja2 import TemplateError as JinjaError

Exchange = tuple[str, str]
"""A user message and the answer to it."""
_ANSWER = "rlef-probe-answer"
TEMPLATE_DATE = date(2024, 7, 26)
"""What a chat template that asks for today's date is told, so that prompts stay the same from day
to day; it is what the template of Llama 3 itself says where it knows no date."""

_DATE_CODES = ("-d", "-m", "-e", "-j", *"aAbBdejmyYDFxcuwUWVGHIMSpTX")
"""Of ``strftime``."""


class TemplateError(ValueError):
    """A chat template that cannot be extended token by token."""


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
    """A tokenizer's chat template, checked once and then cut into what stands between answers.

    The check: text built message by message, without touching what stands before, must equal what
    the template renders of the whole conversation. A template that drops the reasoning of earlier
    answers fails it, for instance.

    Args:
        tokenizer: Whose template it is.
        end_token_ids: Further ids that end an answer: those that the model's files name.
        today: What the template is told where it asks for the date.

    Attributes:
        tokenizer: as given.
        end_of_turn: id of the special token that ends an answer.
        stop_token_ids: ids that end a sampled answer, each once: ``end_of_turn``, the tokenizer's
            end of sequence and, where it names one, end of turn, and ``end_token_ids``.

    Raises:
        TemplateError: There is no template, or it fails the check.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        end_token_ids: Sequence[int] = (),
        today: date = TEMPLATE_DATE,
    ) -> None:
        self.tokenizer = tokenizer
        template = getattr(tokenizer, "chat_template", None)
        if isinstance(template, dict):  # named templates
            template = template.get("default")
        self._words: dict[str, Any] = {}
        if isinstance(template, str) and "strftime_now" in template:
            self._words["chat_template"] = _date_macro(today) + template
        special = {str(token) for token in tokenizer.all_special_tokens}
        added = tokenizer.added_tokens_decoder.values()
        special.update(token.content for token in added if token.special)
        self._special = sorted(special, key=len, reverse=True)
        self._checked: set[str | None] = set()
        self._check(None)
        ids = self._encode(self._suffix("x"))
        text = str(tokenizer.convert_ids_to_tokens(ids[0]))
        if text not in special:
            raise TemplateError(
                f"the chat template ends an answer with {text!r}; it must be a special token"
            )
        self.end_of_turn = ids[0]
        own = (tokenizer.eos_token_id, getattr(tokenizer, "eot_token_id", None))
        ends = (ids[0], *(end for end in own if end is not None), *end_token_ids)
        self.stop_token_ids = tuple(dict.fromkeys(ends))

    def prompt_ids(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> list[int]:
        """Returns the first prompt, up to where the first answer begins.

        Args:
            message: The first user message.
            system: The system message; ``None``: whatever the template does without one.
            examples: What was said before: few-shot prompting.

        Raises:
            TemplateError: The template does not take a system message, or fails the check with it.
        """
        self._check(system)
        before = _exchanges((self._plain(asked), answer) for asked, answer in examples)
        return self._encode(self._render([*_system(system), *before, _user(self._plain(message))]))

    def next_ids(self, message: str) -> list[int]:
        """Returns what stands between one answer and the next; begins with ``end_of_turn``."""
        return self._encode(self._suffix(self._plain(message)))

    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text of a sampled answer, without the token that ended it."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_token_ids:
            ids.pop()
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _plain(self, message: str) -> str:
        """Breaks up special tokens, so that a program's output cannot pose as another speaker."""
        for token in self._special:
            if len(token) > 1:
                message = message.replace(token, f"{token[0]} {token[1:]}")
        return message

    def _suffix(self, message: str) -> str:
        messages = [_user("x"), _assistant(_ANSWER), _user(message)]
        return self._render(messages).partition(_ANSWER)[2]

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True, **self._words
                )
            )
        except JinjaError as error:
            raise TemplateError(f"the chat template failed: {error}") from None
        except ValueError as error:  # what transformers raises where there is no template
            raise TemplateError(str(error).partition("\n")[0]) from None

    def _check(self, system: str | None) -> None:
        if system in self._checked:
            return
        answers = ("Yes.", "<think>\nWell.\n</think>\n\n```python\nprint(1)\n```", "No.")
        messages = [*_system(system), _user("First.")]
        text = self._render(messages)
        for number, answer in enumerate(answers, start=1):
            message = f"Message\n{number}."
            messages += [_assistant(answer), _user(message)]
            text += answer + self._suffix(message)
            whole = self._render(messages)
            if text != whole:
                at = next(
                    (i for i, (a, b) in enumerate(zip(text, whole, strict=False)) if a != b),
                    min(len(text), len(whole)),
                )
                raise TemplateError(
                    f"the chat template cannot be extended: with {number + 1} user messages it "
                    f"renders {whole[at : at + 40]!r} where {text[at : at + 40]!r} stood before"
                )
        self._checked.add(system)


class Conversation:
    """One conversation in token ids: a prompt, an answer, the next prompt and so on.

    Example::

        conversation = Conversation(tokenizer)
        prompt = conversation.start("Say 1.")          # sample an answer to these ids
        conversation.add_action(ids, logprobs)         # as sampled, end-of-turn token included
        conversation.add_observation("Say 2.")         # only new ids; sample again

    Args:
        chat: A tokenizer, or its ``ChatFormat``, which spares the check of the template.

    Attributes:
        token_ids: all ids so far.
        action_mask: per token; True: the model sampled it.
        logprobs: per token, as given to ``add_action``; 0.0 for tokens that were not sampled.
        turn_ids: per token; its turn from 0 if it was sampled, else -1.
        prompt_ends: per turn, the index of its prompt's last token, where the critic reads.

    Raises:
        TemplateError: See ``ChatFormat``.
    """

    def __init__(self, chat: ChatFormat | Tokenizer) -> None:
        self.chat = chat if isinstance(chat, ChatFormat) else ChatFormat(chat)
        self.token_ids: list[int] = []
        self.action_mask: list[bool] = []
        self.logprobs: list[float] = []
        self.turn_ids: list[int] = []
        self.prompt_ends: list[int] = []

    def start(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> list[int]:
        """Begins with a user message, after a system message and examples if given.

        Returns:
            The prompt's ids.

        Raises:
            RuntimeError: The conversation has begun.
            TemplateError: The template does not take the system message.
        """
        if self.token_ids:
            raise RuntimeError("the conversation has begun; use add_observation")
        return self._add_prompt(self.chat.prompt_ids(message, system, examples))

    def add_action(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Appends a sampled answer, with its end-of-turn token if that was sampled.

        Args:
            token_ids: At least one.
            logprobs: One per token.

        Raises:
            RuntimeError: No answer is due.
            ValueError: No tokens, or not one log-probability per token.
        """
        if not self.token_ids or self.action_mask[-1]:
            raise RuntimeError("no answer is due")
        if not token_ids or len(token_ids) != len(logprobs):
            raise ValueError(f"{len(token_ids)} tokens and {len(logprobs)} log-probabilities")
        self.token_ids += token_ids
        self.logprobs += logprobs
        self.action_mask += [True] * len(token_ids)
        self.turn_ids += [len(self.prompt_ends) - 1] * len(token_ids)

    def observation_ids(self, message: str) -> list[int]:
        """Returns what ``add_observation`` would append, to see whether it fits.

        Raises:
            RuntimeError: No message is due.
        """
        if not self.token_ids or not self.action_mask[-1]:
            raise RuntimeError("no message is due")
        ids = self.chat.next_ids(message)
        return ids[1:] if self.token_ids[-1] == self.chat.end_of_turn else ids

    def add_observation(self, message: str) -> list[int]:
        """Appends a user message after an answer.

        An answer that was cut off gets its end-of-turn token here, as an observation.

        Returns:
            The new ids only: what ends the answer, the message, what begins the next answer.

        Raises:
            RuntimeError: No message is due.
        """
        return self._add_prompt(self.observation_ids(message))

    def _add_prompt(self, ids: list[int]) -> list[int]:
        self.token_ids += ids
        self.logprobs += [0.0] * len(ids)
        self.action_mask += [False] * len(ids)
        self.turn_ids += [-1] * len(ids)
        self.prompt_ends.append(len(self.token_ids) - 1)
        return ids


class MessageConversation:
    """The twin of ``Conversation`` for a server that takes and gives text: no ids are known.

    Attributes:
        messages: all messages so far, each with ``role`` and ``content``.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []

    def start(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> None:
        """Begins with a user message, after a system message and examples if given.

        Raises:
            RuntimeError: The conversation has begun.
        """
        if self.messages:
            raise RuntimeError("the conversation has begun; use add_observation")
        self.messages += [*_system(system), *_exchanges(examples), _user(message)]

    def add_action(self, text: str) -> None:
        """Appends an answer.

        Raises:
            RuntimeError: No answer is due.
        """
        if not self.messages or self.messages[-1]["role"] != "user":
            raise RuntimeError("no answer is due")
        self.messages.append(_assistant(text))

    def add_observation(self, message: str) -> None:
        """Appends a user message after an answer.

        Raises:
            RuntimeError: No message is due.
        """
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise RuntimeError("no message is due")
        self.messages.append(_user(message))


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


def _system(text: str | None) -> list[dict[str, str]]:
    return [] if text is None else [{"role": "system", "content": text}]


def _exchanges(pairs: Iterable[Exchange]) -> list[dict[str, str]]:
    return [message for asked, answer in pairs for message in (_user(asked), _assistant(answer))]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
