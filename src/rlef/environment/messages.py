"""Episodes as chat messages, for those who fine-tune on what a model did."""

from collections.abc import Sequence

from rlef.environment.template_probes import Message, assistant, user


def episode_messages(
    first: str, answers: Sequence[str], feedback: Sequence[str | None], system: str | None = None
) -> list[Message]:
    """Returns the dialogue of an episode.

    Example:
        >>> [m["role"] for m in episode_messages("Print 1.", ["a", "b"], ["No.", None])]
        ['user', 'assistant', 'user', 'assistant']

    Args:
        first: The message that opened it.
        answers: What the model wrote.
        feedback: The message behind each answer; that behind the last one does not count.
        system: The system message, if there was one.

    Raises:
        ValueError: A message is missing between two answers.
    """
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append(user(first))
    for place, answer in enumerate(answers):
        if place:
            message = feedback[place - 1]
            if message is None:
                raise ValueError(f"no message stands between answers {place} and {place + 1}")
            messages.append(user(message))
        messages.append(assistant(answer))
    return messages
