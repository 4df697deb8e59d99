"""The first message once more, with what feedback has told since: what a teacher reads.

A model that cannot yet read feedback in a dialogue may well read the same test as an example in
the statement.
"""

from collections.abc import Sequence

from rlef.environment.feedback import FeedbackOptions, first_message, shown_input, shown_output
from rlef.environment.templates import Prompts
from rlef.environment.types import TurnRecord
from rlef.problems import PublicProblem
from rlef.sandbox import Verdict

_EXAMPLE = "Example\nInput:\n{input}\nExpected output:\n{expected}"


def restated_message(
    problem: PublicProblem,
    turns: Sequence[TurnRecord],
    prompts: Prompts,
    options: FeedbackOptions,
) -> str | None:
    """Returns the message; ``None`` where feedback has told of no expected output.

    Args:
        problem: What the model may know.
        turns: The turns whose feedback it has seen.
        prompts: The templates.
        options: What feedback told.
    """
    if options.kind not in ("full", "no_traceback"):
        return None
    told: dict[int, str] = {}
    for turn in turns:
        wrong = [i for i, v in enumerate(turn.public_verdicts) if v is Verdict.WA]
        for index in wrong[: options.max_tests]:
            test = problem.public_tests[index]
            told[index] = _EXAMPLE.format(
                input=shown_input(problem, test), expected=shown_output(problem, test.output)
            )
    if not told:
        return None
    return "\n".join([first_message(problem, prompts), *(told[index] for index in sorted(told))])
