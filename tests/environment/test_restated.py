"""What a teacher reads: the first message with what feedback has shown as examples."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from reports import AC, ADD, DOUBLE, failure, make_report

from rlef.environment import FeedbackOptions, Prompts, TurnRecord, write_feedback
from rlef.environment.restated import restated_message
from rlef.problems import PublicProblem, Test
from rlef.sandbox import JudgeReport, Verdict

MINI, DEFAULT = Prompts.load("mini"), Prompts.load("default")
WA = failure(Verdict.WA, stdout="25\n")


def after(
    problem: PublicProblem,
    *reports: JudgeReport,
    prompts: Prompts = MINI,
    fits: Callable[[str], bool] | None = None,
    **options: Any,
) -> str | None:
    """The message after answers with these reports."""
    settings = FeedbackOptions(**options)
    turns = [
        TurnRecord(
            response="",
            program="",
            public_verdicts=tuple(test.verdict for test in report.tests),
            feedback=write_feedback(problem, report, prompts, settings, fits),
        )
        for report in reports
    ]
    return restated_message(problem, turns, prompts, settings)


def test_a_test_that_was_answered_wrongly_is_an_example_of_the_statement() -> None:
    example = "Example\nInput:\n5\nExpected output:\n10"
    assert after(DOUBLE, make_report(AC, WA)) == f"Read n, print 2n.\n{example}"
    whole = after(DOUBLE, make_report(AC, WA), prompts=DEFAULT)
    assert whole is not None and f"\n\nRead n, print 2n.\n\n{example}\n\nPut the" in whole
    rust = after(replace(DOUBLE, language="rust"), make_report(AC, WA))
    assert rust == f"Write Rust.\nRead n, print 2n.\n{example}"


def test_examples_of_all_messages_so_far_stand_once_in_the_order_of_tests() -> None:
    message = after(DOUBLE, make_report(AC, WA), make_report(WA, WA), make_report(AC, WA))
    assert message is not None
    assert [message.count(f"Input:\n{n}\n") for n in (2, 5)] == [1, 1]
    assert message.index("Input:\n2\n") < message.index("Input:\n5\n")


def test_a_function_is_shown_as_a_call() -> None:
    assert after(ADD, make_report(failure(Verdict.WA, stdout="1"))) == (
        "Add a and b.\nExample\nInput:\nadd('x', True)\nExpected output:\n{'a': [None, 1.5]}\n"
        "Function: add"
    )
    checked = replace(ADD, public_tests=(Test('{"call": "add(1)"}', '{"__check__": "result"}'),))
    message = after(checked, make_report(failure(Verdict.WA, stdout="1")))
    assert message is not None and "add(1)\nExpected output:\na result for which this" in message


def test_only_what_a_message_lists_is_told() -> None:
    both = make_report(WA, WA)
    message = after(DOUBLE, both, max_tests=1)
    assert message is not None and "Input:\n2\n" in message and "Input:\n5\n" not in message
    short = write_feedback(DOUBLE, both, MINI, FeedbackOptions(max_tests=1))
    message = after(DOUBLE, both, fits=lambda text: len(text) <= len(short))
    assert message is not None and "Input:\n2\n" in message and "Input:\n5\n" not in message
    assert after(DOUBLE, both, fits=lambda _: False) is None
    for kind in ("pass_fail", "no_traceback"):
        assert (after(DOUBLE, both, kind=kind) is None) == (kind == "pass_fail")


def test_a_long_field_is_cut_as_feedback_cuts_it() -> None:
    long = replace(DOUBLE, public_tests=(Test("7" * 90, "14"),))
    message = after(long, make_report(WA), max_chars=50)
    assert message is not None and f"{'7' * 50}… (40 more characters)\nExpected" in message
    # shortened further, for want of room, it is no example any more
    assert (
        after(long, make_report(WA), max_chars=50, fits=lambda text: "7" * 50 not in text) is None
    )


@pytest.mark.parametrize("verdict", [Verdict.RE, Verdict.TLE, Verdict.MLE, Verdict.OLE, Verdict.CE])
def test_other_failures_tell_no_output(verdict: Verdict) -> None:
    assert after(DOUBLE, make_report(failure(verdict, message="Error: x"), AC)) is None


def test_what_feedback_did_not_tell_is_no_example() -> None:
    turn = TurnRecord(response="", program="", public_verdicts=(Verdict.WA,), feedback=None)
    said = [replace(turn, feedback=text) for text in ("A test failed.", "Input:\n2\nYour output:")]
    assert restated_message(DOUBLE, [turn, *said], MINI, FeedbackOptions()) is None
    assert restated_message(DOUBLE, [], MINI, FeedbackOptions()) is None


@pytest.mark.parametrize(
    ("problem", "statement", "shows"),
    [
        (DOUBLE, "Read n.\nExample\nInput:\n 5\nOutput:\n10\n", True),
        (DOUBLE, "Read n.\n10\n5\n", False),
        (DOUBLE, "Read 5, print 10.", False),
        (ADD, "Add.\n>>> add('x', True)\n{'a': [None, 1.5]}", True),
        (ADD, "Add. add('x', True) == {'a': [None, 1.5]}", True),
        (ADD, "add('x', True)\n\n\n{'a': [None, 1.5]}", False),
    ],
)
def test_a_test_that_the_statement_shows_is_nothing_new(
    problem: PublicProblem, statement: str, shows: bool
) -> None:
    report = make_report(*[AC] * (len(problem.public_tests) - 1), failure(Verdict.WA, stdout="1"))
    assert (after(replace(problem, statement=statement), report) is None) == shows


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    text = (resources.files("rlef.environment") / "prompts" / "mini.txt").read_text("utf-8")
    path = tmp_path / "mine.txt"
    path.write_text(text[: text.index("[[example]]")], "utf-8")
    assert Prompts.load(str(path)).example == MINI.example
    path.write_text(text + "See {input} and {expected}.", "utf-8")
    message = after(DOUBLE, make_report(AC, WA), prompts=Prompts.load(str(path)))
    assert message is not None and message.endswith("\n10\nSee 5 and 10.")
    path.write_text(text.replace("Expected output:\n{expected}\nYour", "Your"), "utf-8")
    silent = Prompts.load(str(path))
    assert not silent.tell_outputs and MINI.tell_outputs
    assert after(DOUBLE, make_report(AC, WA), prompts=silent) is None
    path.write_text(text[: text.index("[[example]]")] + "[[example]]\n{input}", "utf-8")
    with pytest.raises(ValueError, match=r"section 'example': lacks \{expected\}"):
        Prompts.load(str(path))
