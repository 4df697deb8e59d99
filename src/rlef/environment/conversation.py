"""Conversations as token ids: sampled tokens stay as they were sampled, whatever they decode to.

And as messages, for servers that show no ids.
"""

from collections.abc import Sequence

from rlef.environment.chat import ChatFormat, Exchange, exchanges, system_message
from rlef.environment.rendering import Tokenizer
from rlef.environment.template_probes import Message, assistant, user


class Conversation:
    """One conversation in token ids: a prompt, an answer, the next prompt and so on.

    Where the format's ``turns`` is ``append`` all is one sequence. Where it is ``per_turn`` each
    prompt is whole and begins a sequence: tokens of different sequences know nothing of each other.

    Example::

        conversation = Conversation(tokenizer)
        prompt = conversation.start("Say 1.")          # sample an answer to these ids
        conversation.add_action(ids, logprobs)         # as sampled, end-of-turn token included
        conversation.add_observation("Say 2.")         # sample again, from ...
        prompt = conversation.prompt                   # ... these ids

    Args:
        chat: A tokenizer, or its ``ChatFormat``, which spares the check of the template.

    Attributes:
        token_ids: all ids so far.
        action_mask: per token; True: the model sampled it.
        logprobs: per token, as given to ``add_action``; 0.0 for tokens that were not sampled.
        turn_ids: per token; its turn from 0 if it was sampled, else -1.
        prompt_ends: per turn, the index of its prompt's last token, where the critic reads.
        sequence_starts: per sequence, the index of its first token.
        messages: where each turn is a sequence, all messages so far as the template is given them.

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
        self.sequence_starts: list[int] = []
        self.messages: list[Message] = []
        self._system: str | None = None

    @property
    def prompt(self) -> list[int]:
        """The ids that the next answer follows."""
        return self.token_ids[self.sequence_starts[-1] :] if self.sequence_starts else []

    def start(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> list[int]:
        """Begins with a user message, after a system message and examples if given.

        Args:
            message: The message.
            system: The system message; ``None``: the format's own.
            examples: What was said before, behind the format's own examples.

        Returns:
            The prompt's ids.

        Raises:
            RuntimeError: The conversation has begun.
            TemplateError: The template does not take the system message.
        """
        if self.token_ids:
            raise RuntimeError("the conversation has begun; use add_observation")
        self._system = self.chat.system if system is None else system
        self.messages = self.chat.first_messages(message, system, examples)
        return self._add_prompt(self.chat.rendered_ids(self.messages))

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
        if self.chat.turns == "per_turn":
            self.messages.append(self.chat.answer_message(token_ids))

    def next_prompt(self, message: str) -> list[int]:
        """Returns the whole prompt that a message would make, to see whether it fits.

        Raises:
            RuntimeError: No message is due.
        """
        if not self.token_ids:
            return self.chat.prompt_ids(message)
        ids = self._observation_ids(message)
        return ids if self.chat.turns == "per_turn" else [*self.prompt, *ids]

    def add_observation(self, message: str) -> list[int]:
        """Appends a user message after an answer.

        In one sequence an answer that was cut off gets its end-of-turn token here, as an
        observation.

        Returns:
            The new ids only: what ends the answer, the message, what begins the next answer; or the
            whole prompt, where each turn is a sequence.

        Raises:
            RuntimeError: No message is due.
        """
        ids = self._observation_ids(message)
        if self.chat.turns == "per_turn":
            self.messages.append(user(self.chat.plain(message)))
        return self._add_prompt(ids)

    def _observation_ids(self, message: str) -> list[int]:
        if not self.token_ids or not self.action_mask[-1]:
            raise RuntimeError("no message is due")
        if self.chat.turns == "per_turn":
            return self.chat.rendered_ids([*self.messages, user(self.chat.plain(message))])
        return self.chat.between_ids(message, self.token_ids[-1], self._system)

    def _add_prompt(self, ids: list[int]) -> list[int]:
        if self.chat.turns == "per_turn" or not self.sequence_starts:
            self.sequence_starts.append(len(self.token_ids))
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
        self.messages: list[Message] = []

    def start(
        self, message: str, system: str | None = None, examples: Sequence[Exchange] = ()
    ) -> None:
        """Begins with a user message, after a system message and examples if given.

        Raises:
            RuntimeError: The conversation has begun.
        """
        if self.messages:
            raise RuntimeError("the conversation has begun; use add_observation")
        self.messages += [*system_message(system), *exchanges(examples), user(message)]

    def add_action(self, text: str) -> None:
        """Appends an answer.

        Raises:
            RuntimeError: No answer is due.
        """
        if not self.messages or self.messages[-1]["role"] != "user":
            raise RuntimeError("no answer is due")
        self.messages.append(assistant(text))

    def add_observation(self, message: str) -> None:
        """Appends a user message after an answer.

        Raises:
            RuntimeError: No message is due.
        """
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise RuntimeError("no message is due")
        self.messages.append(user(message))
