"""What the model is told: the first message, and what failed on the public tests.

Nothing here can see a private test: only ``PublicProblem`` comes in.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rlef.environment.templates import Prompts, language_words
from rlef.languages import LANGUAGES
from rlef.problems import PublicProblem, Test
from rlef.problems.integers import long_integers
from rlef.sandbox import JudgeReport, TestReport, Verdict

FeedbackKind = Literal["full", "pass_fail", "no_traceback", "none", "random"]
"""What a model is told of its program's run on the public tests.

* ``full``: each failed test with its input, its outcome and what belongs to that (RLEF).
* ``no_traceback``: the same without the texts of errors.
* ``pass_fail``: that a test failed, nothing else.
* ``none``: nothing. Every program is followed by the same words, and the episode goes on to its
  turn limit even where the public tests pass, for its end would tell (RLEF: "no execution
  feedback, always 3 tries"). That an answer has no code is still said.
* ``random``: feedback on another problem, see ``RandomFeedbackPool``. The episode ends as it does
  with ``full``.
"""
Fits = Callable[[str], bool]
"""Whether a message is short enough to be sent."""
_SHORT_FIELD = 40
"""Characters of each field. A message that must be shorter still shows fewer tests."""
_LONG = 2**15
"""Characters beyond which a message is not counted before shorter ones: that could take seconds."""


class FeedbackOptions(BaseModel):
    """What the model is told between turns, and how much of it; a section of a recipe too.

    Raises:
        ValueError: A number is less than 1, or there is no such kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FeedbackKind = "full"
    """What a message tells. ``full``: each failed test with its input, its outcome and the error.
    ``no_traceback``: the same without errors. ``pass_fail``: that a test failed. ``none``: nothing.
    ``random``: feedback on another problem."""
    max_chars: int = Field(1000, ge=1)
    """Characters shown of each input, output and traceback; a visible marker stands for the
    rest."""
    max_tests: int = Field(8, ge=1)
    """Failed tests that a message lists. RLEF lists all; its problems have at most 7."""
    max_tokens: int | None = Field(1024, ge=1)
    """Tokens of a message. A longer one gets shorter fields, the longest first, then fewer tests.
    ``null``: no limit but the room in the context, which always holds. With the default three turns
    fit into the default context of 8,192: three answers of 1,024, two messages, and 3,072 for the
    problem. Engines that answer in text count no tokens and ignore this."""

    def of_kind(self, kind: FeedbackKind | None) -> "FeedbackOptions":
        """The same of another kind, if one is given."""
        return self if kind is None else self.model_copy(update={"kind": kind})


def first_message(problem: PublicProblem, prompts: Prompts) -> str:
    """Returns the message that opens an episode (RLEF section 2.1)."""
    words = language_words(problem.language)
    template = prompts.first_stdin if problem.mode == "stdin" else prompts.first_function
    message = template.format(statement=problem.statement, entry_point=problem.entry_point, **words)
    if problem.language == "python" or "{language}" in template:
        return message
    return f"{prompts.other_language.format(**words)}\n{message}"


def write_feedback(
    problem: PublicProblem,
    report: JudgeReport,
    prompts: Prompts,
    options: FeedbackOptions,
    fits: Fits | None = None,
) -> str:
    """Returns the message that follows a program which failed public tests (RLEF section 2.1).

    It lists each failed test with its input and what happened, then asks for another try. A
    program that does not compile fails every test alike and is told once.

    Args:
        problem: What the model may know.
        report: The program's report on ``problem.public_tests``, in their order; it may end early.
        prompts: The templates.
        options: How much is said.
        fits: Says whether a message is short enough. If the whole one is not, the longest fields
            are shortened, down to 40 characters; then fewer tests are shown; then one, with fields
            as short as need be; and in the end only that a test failed, whether that fits or not.

    Raises:
        ValueError: The report is of other tests, names no failure, or has an IE in it, which says
            nothing about the program; or the kind of feedback is not made of reports.
    """
    check_public_report(problem, report)
    if options.kind in ("none", "random"):
        raise ValueError(f"feedback of the kind {options.kind} is not made of a report")
    if report.verdict in (Verdict.AC, Verdict.IE):
        raise ValueError(f"no feedback can be written on a report of {report.verdict}")
    words = language_words(problem.language)
    least = prompts.feedback.format(failures=prompts.test_failed.format(), **words)
    if options.kind == "pass_fail":
        return least
    failures = _failures(problem, report, prompts, options)
    shown = failures[: options.max_tests]
    separator = "\n\n" if "\n\n" in prompts.feedback else "\n"

    def message(tests: int, chars: int) -> str:
        entries = [failure.text(chars, prompts.empty.format()) for failure in shown[:tests]]
        if tests < len(failures):
            entries.append(prompts.more_failures.format(count=len(failures) - tests))
        return prompts.feedback.format(failures=separator.join(entries), **words)

    whole = message(len(shown), options.max_chars)
    if fits is None or (len(whole) <= _LONG and fits(whole)):
        return whole
    return _shortened(message, len(shown), options.max_chars, fits) or least


def check_public_report(problem: PublicProblem, report: JudgeReport) -> None:
    """Raises ValueError unless the report can be one on the problem's public tests.

    A report on more tests than there are public ones is refused: it would leak the others.
    """
    tests, expected = len(report.tests), len(problem.public_tests)
    if not 0 < tests <= expected or (report.passed and tests < expected):
        raise ValueError(
            f"problem {problem.name!r}: a {report.verdict} report on {tests} tests is not one on "
            f"its {expected} public tests"
        )


_Cut = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed test: its template, what stands there in full, and how each text is cut."""

    number: int
    template: str
    fields: Mapping[str, tuple[str, _Cut]]

    def text(self, chars: int, empty: str) -> str:
        """What is said of it, with fields of so many characters at most."""
        shown = {name: cut(text, chars) or empty for name, (text, cut) in self.fields.items()}
        return self.template.format(number=self.number, **shown)


def _failures(
    problem: PublicProblem, report: JudgeReport, prompts: Prompts, options: FeedbackOptions
) -> list[_Failure]:
    """Returns the failed tests; a program that does not compile has one."""
    failed = [(i, test) for i, test in enumerate(report.tests) if test.verdict is not Verdict.AC]
    if failed[0][1].verdict is Verdict.CE:
        failed = failed[:1]
    return [_failure(problem, index, test, prompts, options) for index, test in failed]


def _failure(
    problem: PublicProblem,
    index: int,
    report: TestReport,
    prompts: Prompts,
    options: FeedbackOptions,
) -> _Failure:
    templates = {
        Verdict.WA: prompts.wrong_answer,
        Verdict.RE: prompts.run_time_error,
        Verdict.TLE: prompts.time_limit,
        Verdict.MLE: prompts.memory_limit,
        Verdict.OLE: prompts.output_limit,
        Verdict.CE: prompts.compile_error,
    }
    test = problem.public_tests[index]
    fields: dict[str, tuple[str, _Cut]] = {
        "input": (shown_input(problem, test), _head),
        "expected": (shown_output(problem, test.output), _head),
        "observed": (shown_output(problem, report.stdout, returned=True), _head),
        "error": (report.message, _tail),
        "error_line": (report.message.strip().rpartition("\n")[2], _head),
    }
    first_error = LANGUAGES[problem.language].first_error
    if first_error is not None and report.verdict is Verdict.CE:
        first = first_error.search(report.message)
        fields["error"] = (report.message, _head)
        if first:
            fields["error_line"] = (first[0], _head)
    if options.kind == "no_traceback":
        told = prompts.not_shown.format()
        fields |= dict.fromkeys(("error", "error_line"), (told, _whole))
    return _Failure(index + 1, templates[report.verdict], fields)


def _shortened(
    message: Callable[[int, int], str], tests: int, chars: int, fits: Fits
) -> str | None:
    """Returns the fullest message that fits, or ``None`` if none about a test does.

    Args:
        message: Of so many tests, with fields of so many characters.
        tests: At most.
        chars: At most.
        fits: Whether a message does.
    """
    short = min(_SHORT_FIELD, chars)
    shown = _most(0, tests, lambda count: fits(message(count, short)))
    if shown:
        return message(shown, _most(short, chars, lambda limit: fits(message(shown, limit))))
    limit = _most(0, short, lambda limit: fits(message(1, limit)))
    return message(1, limit) if limit else None


def _most(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Returns the largest number up to ``high`` that fits, or one that is 6 % less at most.

    Steps grow from ``low``, which is taken to fit: long messages are costly to count.
    """
    step, above = max(1, low), high + 1
    while low < high and above > high:
        probe = min(low + step, high)
        low, above = (probe, above) if fits(probe) else (low, probe)
        step *= 2
    while above - low > 1 + low // 16:
        middle = (low + above) // 2
        low, above = (middle, above) if fits(middle) else (low, middle)
    return low


def shown_input(problem: PublicProblem, test: Test) -> str:
    """A test's input as the model reads it: in function mode, as a call in Python."""
    if problem.mode == "stdin":
        return test.input.rstrip("\n")
    with long_integers():
        given = json.loads(test.input)
        if isinstance(given, dict):
            return "\n".join(filter(None, (given.get("setup", "").strip(), given["call"])))
        return f"{problem.entry_point}({', '.join(map(repr, given))})"


def shown_output(problem: PublicProblem, text: str, *, returned: bool = False) -> str:
    """An output as the model reads it: in function mode, as a value or a condition in Python.

    Args:
        problem: Whose it is.
        text: Of a test, or what a program printed or returned.
        returned: Whether it is a program's: conditions are of tests only.
    """
    if problem.mode == "stdin":
        return text.rstrip("\n")
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and value.keys() == {"__python__"}:
        return str(value["__python__"])
    if not returned and isinstance(value, dict) and isinstance(value.get("__check__"), str):
        return f"a result for which this is true: {value['__check__']}"
    return repr(value)


def shown_test(
    problem: PublicProblem, test: Test, prompts: Prompts, options: FeedbackOptions
) -> dict[str, str]:
    """Returns a test's input and expected output as feedback shows them where it has room."""
    texts = {"input": shown_input(problem, test), "expected": shown_output(problem, test.output)}
    empty = prompts.empty.format()
    return {name: _head(text, options.max_chars) or empty for name, text in texts.items()}


def _head(text: str, limit: int) -> str:
    rest = len(text) - limit
    return text if rest <= 0 else f"{text[:limit]}… ({rest} more characters)"


def _tail(text: str, limit: int) -> str:
    """The end of a traceback, which names the error."""
    rest = len(text) - limit
    return text if rest <= 0 else f"({rest} more characters) …{text[-limit:]}"


def _whole(text: str, _limit: int) -> str:
    return text
