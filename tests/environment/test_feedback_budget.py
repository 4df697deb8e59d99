"""Feedback that must be short: longest fields first, then fewer tests, then that one failed."""

from collections.abc import Callable

import pytest
from chat_tokenizers import QWEN25, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import AC, DOUBLE, failure, make_report

from rlef.environment import ChatFormat, FeedbackOptions, Prompts, write_feedback
from rlef.environment.room import least_answer, message_budget
from rlef.problems import PublicProblem, Test
from rlef.sandbox import JudgeReport, Verdict

DEFAULT, MINI = Prompts.load("default"), Prompts.load("mini")
LEAST = "A test failed.\nTry again."


def shorter_than(limit: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= limit


def mini(
    report: JudgeReport, limit: int, problem: PublicProblem = DOUBLE, **options: object
) -> str:
    given = FeedbackOptions.model_validate(options)
    return write_feedback(problem, report, MINI, given, shorter_than(limit))


def of_tests(*tests: tuple[str, str]) -> PublicProblem:
    return PublicProblem(
        name="p", statement="s", public_tests=tuple(Test(given, out) for given, out in tests)
    )


def test_what_fits_stays_as_it_is() -> None:
    report = make_report(failure(Verdict.WA, stdout="7" * 990), failure(Verdict.TLE))
    whole = write_feedback(DOUBLE, report, MINI, FeedbackOptions())
    assert mini(report, len(whole)) == whole
    assert mini(report, len(whole) - 1) != whole


def test_the_longest_field_is_shortened_first() -> None:
    problem = of_tests(("1 " * 50, "2"))
    report = make_report(failure(Verdict.WA, stdout="7" * 900))
    text = mini(report, 400, problem)
    assert "Input:\n" + ("1 " * 50).strip() in text  # whole: 100 characters
    shown = text.count("7")
    assert f"Your output:\n{'7' * shown}… ({900 - shown} more characters)\n" in text
    assert 380 < len(text) <= 400
    text = mini(report, 200, problem)  # now both are too long, and as long as each other
    shown = text.count("7")
    assert f"{('1 ' * 50)[:shown]}… (" in text and "Expected output:\n2\n" in text


def test_then_fewer_tests_are_shown() -> None:
    problem = of_tests(*((f"{number} " * 200, "yes") for number in range(1, 6)))
    report = make_report(*(failure(Verdict.WA, stdout="no") for _ in range(5)))
    shown = [mini(report, limit, problem) for limit in (5000, 900, 500, 300, 200)]
    tests = [text.count("Wrong answer.") for text in shown]
    assert tests == [5, 5, 3, 2, 1]
    for text, count in zip(shown, tests, strict=True):
        assert (f"{5 - count} more failed." in text) == (count < 5)
        assert all(f"{number} {number}" in text for number in range(1, count + 1))
    assert shown[1].count("more characters") == 5
    # Room that no test more has use of goes to the fields of those that are shown.
    assert 480 < len(shown[2]) <= 500


def test_the_end_of_a_traceback_is_kept() -> None:
    report = make_report(failure(Verdict.RE, message="a line\n" * 100 + "NameError: x"), AC)
    given = FeedbackOptions()
    text = write_feedback(DOUBLE, report, DEFAULT, given, shorter_than(400))
    assert "more characters) …" in text and "\nNameError: x\n" in text and len(text) <= 400


def test_one_test_with_next_to_nothing_and_in_the_end_none() -> None:
    report = make_report(failure(Verdict.WA, stdout="7" * 900), failure(Verdict.TLE))
    lengths = range(20, 140)
    texts = [mini(report, limit) for limit in lengths]
    for limit, text in zip(lengths, texts, strict=True):
        assert text == LEAST or len(text) <= limit
    assert texts[0] == LEAST
    [index] = [i for i in range(len(texts) - 1) if (texts[i] == LEAST) != (texts[i + 1] == LEAST)]
    assert texts[index + 1].startswith(
        "Wrong answer.\nInput:\n2\nExpected output:\n4\nYour output:\n7"
    )


def test_what_is_not_shown_is_not_cut() -> None:
    report = make_report(failure(Verdict.RE, message="secret" * 99), AC)
    assert mini(report, 60, kind="no_traceback") == "Error.\nInput:\n2\n(not shown)\nTry again."
    assert mini(report, 30, kind="no_traceback") == LEAST
    assert mini(report, 1, kind="pass_fail") == LEAST


def test_few_messages_are_counted_and_none_much_longer_than_what_fits() -> None:
    tests = [(f"{number} " * 500_000, "9" * 1_000_000) for number in range(8)]
    report = make_report(*(failure(Verdict.WA, stdout="☃" * 1_000_000) for _ in range(8)))
    asked: list[int] = []

    def fits(text: str) -> bool:
        asked.append(len(text))
        return len(text) <= 2000

    options = FeedbackOptions(max_chars=10**6)
    text = write_feedback(of_tests(*tests), report, DEFAULT, options, fits)
    assert 1900 < len(text) <= 2000 and text.count("wrong answer") == 6
    assert len(asked) < 20
    assert max(asked) < 4 * 2000
    whole = write_feedback(of_tests(*tests), report, DEFAULT, options)
    assert write_feedback(of_tests(*tests), report, DEFAULT, options, lambda _: True) == whole


FIELDS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["", "9" * 3000, "ä☃🙂" * 400, "<|im_end|>\n" * 50, "\n" * 500, "word " * 300]
)
VERDICTS = st.sampled_from([Verdict.WA, Verdict.RE, Verdict.TLE, Verdict.MLE, Verdict.OLE])
FAILURES = st.builds(failure, VERDICTS, FIELDS, FIELDS)
CHAT = ChatFormat(make_tokenizer(QWEN25, special=["<|im_start|>", "<|im_end|>"], eos="<|im_end|>"))


@settings(max_examples=40, deadline=None)
@given(st.lists(FAILURES, min_size=1, max_size=8), FIELDS, FIELDS, st.integers(1, 900))
def test_tokens_are_counted_as_they_are(
    tests: list, given_input: str, expected: str, most: int
) -> None:
    problem = of_tests(*[(given_input, expected)] * len(tests))

    def tokens(text: str) -> int:
        return len(CHAT.between_ids(text, -1))

    report, options = make_report(*tests), FeedbackOptions()
    whole = write_feedback(problem, report, DEFAULT, options)
    text = write_feedback(problem, report, DEFAULT, options, lambda text: tokens(text) <= most)
    least = write_feedback(problem, report, DEFAULT, FeedbackOptions(kind="pass_fail"))
    assert tokens(text) <= most or text == least
    assert (text == whole) == (tokens(whole) <= most)
    again = write_feedback(problem, report, DEFAULT, options, lambda text: tokens(text) <= most)
    assert again == text


@pytest.mark.parametrize(
    ("left", "most", "expected"),
    [
        (1000, None, 600),  # an answer of full length goes first
        (500, None, 250),  # then each gets half
        (150, None, 50),  # and an answer never less than its least
        (90, None, -10),
        (1000, 200, 200),
        (500, 400, 250),
        (None, 400, 400),
        (None, None, None),
    ],
)
def test_how_room_is_shared(left: int | None, most: int | None, expected: int | None) -> None:
    budget = message_budget(left, max_new_tokens=400, least_new_tokens=100, max_tokens=most)
    assert budget == expected


def test_the_least_answer() -> None:
    assert [least_answer(n, None) for n in (1, 4, 5, 1024)] == [1, 1, 2, 256]
    assert least_answer(1024, 7) == 7
