"""The first message once more, with the tests that feedback has shown as examples in the statement.

A model that cannot yet use feedback in a dialogue may well use the same test as an example: what
the restated message makes of the model is a teacher of its later turns (``learner.teacher``).
"""

from collections.abc import Sequence
from dataclasses import replace

from rlef.environment.feedback import (
    FeedbackOptions,
    first_message,
    shown_input,
    shown_output,
    shown_test,
)
from rlef.environment.templates import Prompts
from rlef.environment.types import TurnRecord
from rlef.problems import PublicProblem, Test
from rlef.sandbox import Verdict

_OBSERVED = "\0"
"""Stands for a program's output, which nobody stores."""


def restated_message(
    problem: PublicProblem,
    turns: Sequence[TurnRecord],
    prompts: Prompts,
    options: FeedbackOptions,
) -> str | None:
    """Returns the first message with what feedback has told of expected outputs.

    An example is a public test that a message of feedback lists as answered wrongly, in the words
    that stand there. A test that a message had no room for, or shows shorter than
    ``options.max_chars``, is none, nor is one that the statement shows already.

    Args:
        problem: What the model may know.
        turns: The turns whose feedback it has seen.
        prompts: The templates.
        options: Those of the feedback.

    Returns:
        ``None`` where there is no such test.
    """
    if not prompts.tell_outputs:
        return None
    examples = []
    for index, test in enumerate(problem.public_tests):
        shown = shown_test(problem, test, prompts, options)
        entry = prompts.wrong_answer.format(number=index + 1, observed=_OBSERVED, **shown)
        told = any(_lists(turn, index, entry) for turn in turns)
        if told and not _stands_in(problem, test):
            examples.append(prompts.example.format(**shown))
    if not examples:
        return None
    separator = "\n\n" if "\n\n" in prompts.feedback else "\n"
    statement = separator.join([problem.statement, *examples])
    return first_message(replace(problem, statement=statement), prompts)


def _lists(turn: TurnRecord, index: int, entry: str) -> bool:
    """Whether a turn's feedback has an entry on a test, whatever the output was."""
    if turn.feedback is None or turn.public_verdicts[index : index + 1] != (Verdict.WA,):
        return False
    place = 0
    for piece in entry.split(_OBSERVED):
        place = turn.feedback.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


def _stands_in(problem: PublicProblem, test: Test) -> bool:
    """Whether the statement shows a test, as far as that can be told from its text.

    On standard input: the input's lines, and somewhere after them the output's. A function: the
    call, and the value on its line or the next one. What is taken for new is told twice at worst.
    """
    given, wanted = shown_input(problem, test), shown_output(problem, test.output)
    if problem.mode == "stdin":
        lines = _lines(problem.statement)
        end = _end(lines, _lines(given), 0)
        return end is not None and _end(lines, _lines(wanted), end) is not None
    _, call, rest = problem.statement.partition(given)
    return bool(call) and wanted in "\n".join(rest.split("\n")[:2])


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _end(lines: list[str], part: list[str], start: int) -> int | None:
    """Where a run of lines ends in others, at or after a line; ``None``: it is not there."""
    last = len(lines) - len(part)
    starts = (i for i in range(start, last + 1) if lines[i : i + len(part)] == part)
    first = next(starts, None)
    return None if first is None else first + len(part)
