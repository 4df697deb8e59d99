"""How the room that is left in a model's context is shared by a message and the answer to it."""


def least_answer(max_new_tokens: int, min_new_tokens: int | None) -> int:
    """Returns the tokens of room without which no answer is asked for.

    Args:
        max_new_tokens: Of an answer.
        min_new_tokens: As set; ``None``: a quarter of ``max_new_tokens``. An answer that is cut
            after a few tokens has no program, so it would be punished for the want of room.

    Example:
        >>> least_answer(1024, None), least_answer(1024, 100)
        (256, 100)
    """
    return -(-max_new_tokens // 4) if min_new_tokens is None else min_new_tokens


def message_budget(
    left: int | None, *, max_new_tokens: int, least_new_tokens: int, max_tokens: int | None
) -> int | None:
    """Returns how many tokens a message of feedback may have, 0 or less where there is no room.

    An answer of full length goes first. Where that would leave the message less than half of the
    room, it gets half, for most answers are far from full length; and the least answer always fits.
    How many turns are to come does not matter: so an episode tells how one with a lower turn limit
    would have gone.

    Args:
        left: Tokens of context for the message and its answer; ``None``: nobody knows a limit.
        max_new_tokens: Of the answer.
        least_new_tokens: See ``least_answer``.
        max_tokens: Of the message, whatever room there is; ``None``: no limit.

    Returns:
        ``None`` where neither sets a limit.

    Example:
        >>> [message_budget(left, max_new_tokens=400, least_new_tokens=100, max_tokens=None)
        ...  for left in (1000, 500, 150)]
        [600, 250, 50]
    """
    if left is None:
        return max_tokens
    budget = min(max(left - max_new_tokens, left // 2), left - least_new_tokens)
    return budget if max_tokens is None else min(budget, max_tokens)
