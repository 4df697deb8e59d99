import json
from typing import Any

import pytest
from reports import AC, ADD, DOUBLE, failure, make_report

from rlef.environment import FeedbackOptions, Prompts, write_feedback
from rlef.environment.feedback import first_message
from rlef.problems import Problem, PublicProblem, Test
from rlef.sandbox import JudgeReport, Limits, Sandbox, TestReport, Verdict

DEFAULT, MINI = Prompts.load("default"), Prompts.load("mini")
QUICK = Limits(cpu_s=0.3)
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "program.py", line 1, in <module>\n'
    "    1 / 0\n"
    "ZeroDivisionError: division by zero\n"
)


def mini(problem: PublicProblem, report: JudgeReport, **options: Any) -> str:
    return write_feedback(problem, report, MINI, FeedbackOptions(**options))


def test_a_wrong_answer() -> None:
    report = make_report(AC, failure(Verdict.WA, stdout="25\n"))
    assert mini(DOUBLE, report) == (
        "Wrong answer.\nInput:\n5\nExpected output:\n10\nYour output:\n25\nTry again."
    )
    text = write_feedback(DOUBLE, report, DEFAULT, FeedbackOptions())
    assert "Test 2: wrong answer.\nInput:\n5\nExpected output:\n10\nYour output:\n25\n\n" in text
    assert "Test 1" not in text and "Read n" not in text
    assert text.endswith("Use such fences for code only.")


def test_an_error() -> None:
    report = make_report(failure(Verdict.RE, message=TRACEBACK), AC)
    assert mini(DOUBLE, report) == (
        "Error.\nInput:\n2\nZeroDivisionError: division by zero\nTry again."
    )
    text = write_feedback(DOUBLE, report, DEFAULT, FeedbackOptions())
    assert TRACEBACK.strip() in text


def test_arguments_of_many_digits() -> None:
    digits = "9" * 5000
    problem = PublicProblem(
        name="p",
        statement="s",
        public_tests=(Test(f"[{digits}]", digits),),
        mode="function",
        entry_point="f",
    )
    text = mini(problem, make_report(failure(Verdict.WA, stdout="1")), max_chars=9)
    assert "Input:\nf(9999999… (4994 more characters)" in text
    assert "Expected output:\n999999999… (4991 more characters)" in text


@pytest.mark.parametrize(
    ("verdict", "first_line", "words"),
    [
        (Verdict.TLE, "Too slow.", "took too long"),
        (Verdict.MLE, "Out of memory.", "ran out of memory"),
        (Verdict.OLE, "Too much output.", "printed too much"),
    ],
)
def test_a_passed_limit(verdict: Verdict, first_line: str, words: str) -> None:
    report = make_report(failure(verdict, stdout="x" * 99), AC)
    assert mini(DOUBLE, report) == f"{first_line}\nInput:\n2\nTry again."
    text = write_feedback(DOUBLE, report, DEFAULT, FeedbackOptions())
    assert words in text and "xxx" not in text


def test_a_program_that_does_not_compile_is_told_once() -> None:
    error = failure(Verdict.CE, message="  File x\n    print(\nSyntaxError: '(' was never closed")
    text = mini(DOUBLE, make_report(error, error))
    assert text == "Error.\nSyntaxError: '(' was never closed\nTry again."


def test_each_failed_test_is_listed_up_to_a_number() -> None:
    report = make_report(failure(Verdict.WA, stdout="1"), failure(Verdict.TLE))
    both = mini(DOUBLE, report)
    assert both.index("Wrong answer.") < both.index("Too slow.") and both.count("Try again.") == 1
    assert mini(DOUBLE, report, max_tests=1) == (
        "Wrong answer.\nInput:\n2\nExpected output:\n4\nYour output:\n1\n1 more failed.\nTry again."
    )


def test_long_fields_are_cut_visibly() -> None:
    report = make_report(failure(Verdict.WA, stdout="7" * 50), AC)
    assert f"Your output:\n{'7' * 10}… (40 more characters)\n" in mini(DOUBLE, report, max_chars=10)
    report = make_report(failure(Verdict.RE, message="a" * 90 + "NameError"), AC)
    text = write_feedback(DOUBLE, report, DEFAULT, FeedbackOptions(max_chars=9))
    assert "(90 more characters) …NameError\n" in text


def test_nothing_is_shown_as_nothing() -> None:
    report = make_report(failure(Verdict.WA, stdout="\n"), AC)
    assert "Your output:\n(nothing)\n" in mini(DOUBLE, report)


def test_braces_and_names_in_values_stay() -> None:
    report = make_report(failure(Verdict.WA, stdout="{input} {0} {"), AC)
    assert "Your output:\n{input} {0} {\n" in mini(DOUBLE, report)


def test_functions_are_shown_as_calls_in_python() -> None:
    text = mini(ADD, make_report(failure(Verdict.WA, stdout="[false]")))
    assert "Input:\nadd('x', True)\nExpected output:\n{'a': [None, 1.5]}\n" in text
    assert "Your output:\n[False]\n" in text
    error = failure(Verdict.WA, stdout="not json")
    assert "Your output:\nnot json\n" in mini(ADD, make_report(error))


def test_calls_and_python_values_are_shown_as_source() -> None:
    tests = (
        Test('{"call": "f(Pair(5, 24), {1})"}', '{"__python__": "(1, 2)"}'),
        Test('{"call": "f(root)", "setup": "root = Node(1)\\n"}', '{"__check__": "result > 1"}'),
        Test('[[1, "a"]]', '{"__check__": 3}'),
    )
    problem = PublicProblem(
        name="f", statement="s", public_tests=tests, mode="function", entry_point="f"
    )
    report = make_report(
        failure(Verdict.WA, stdout='{"__python__": "{1, 2}"}'),
        failure(Verdict.WA, stdout="1"),
        failure(Verdict.WA, stdout="null"),
    )
    text = mini(problem, report)
    assert "Input:\nf(Pair(5, 24), {1})\nExpected output:\n(1, 2)\nYour output:\n{1, 2}\n" in text
    assert "Input:\nroot = Node(1)\nf(root)\nExpected output:\n" in text
    assert "a result for which this is true: result > 1\nYour output:\n1\n" in text
    assert "Input:\nf([1, 'a'])\nExpected output:\n{'__check__': 3}\nYour output:\nNone\n" in text


def test_what_a_program_returns_is_no_check_of_ours() -> None:
    value = {"__check__": "result == \ud83d", "a": 1}
    text = mini(ADD, make_report(failure(Verdict.WA, stdout=json.dumps(value))))
    assert "Your output:\n{'__check__': 'result == \\ud83d', 'a': 1}\n" in text


def test_feedback_on_real_programs_holds_no_private_test() -> None:
    problem = Problem(
        name="double",
        statement="Read n, print 2n.",
        public_tests=(Test("2", "4"),),
        private_tests=(Test("123456", "246912"),),
    )
    programs = ("print(7)", "1 / 0", "print(", "while True: pass")
    with Sandbox(workers=1) as sandbox:
        for program in programs:
            report = sandbox.judge(program, problem.public_tests, limits=QUICK)
            text = write_feedback(problem.public, report, DEFAULT, FeedbackOptions())
            assert "123456" not in text and "246912" not in text
            everything = sandbox.judge(program, problem.all_tests, limits=QUICK)
            with pytest.raises(ValueError, match="report on 2 tests is not one on its 1 public"):
                write_feedback(problem.public, everything, DEFAULT, FeedbackOptions())


@pytest.mark.parametrize("verdict", [Verdict.AC, Verdict.IE])
def test_some_reports_give_no_feedback(verdict: Verdict) -> None:
    report = make_report(failure(verdict), AC)
    with pytest.raises(ValueError, match=f"on a report of {verdict}"):
        mini(DOUBLE, report)


def test_first_messages() -> None:
    assert first_message(DOUBLE, MINI) == "Read n, print 2n."
    assert first_message(ADD, MINI) == "Add a and b.\nFunction: add"
    text = first_message(DOUBLE, DEFAULT)
    assert "\n\nRead n, print 2n.\n\n" in text and "```python" in text
    assert "`add`" in first_message(ADD, DEFAULT)


@pytest.mark.parametrize("name", ["max_chars", "max_tests"])
def test_options_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}\n.*greater than or equal to 1 .*input_value=0"):
        FeedbackOptions(**{name: 0})


@pytest.mark.parametrize(
    "test", [failure(Verdict.WA, stdout="25"), failure(Verdict.RE, message=TRACEBACK)]
)
def test_pass_fail_says_only_that_a_test_failed(test: TestReport) -> None:
    assert mini(DOUBLE, make_report(AC, test), kind="pass_fail") == "A test failed.\nTry again."
    options = FeedbackOptions(kind="pass_fail")
    text = write_feedback(DOUBLE, make_report(test, test), DEFAULT, options)
    assert "At least one test failed." in text and text.endswith("Use such fences for code only.")
    assert not any(word in text for word in ("25", "Error", "Test 2", "10"))


def test_no_traceback_keeps_all_but_the_error() -> None:
    report = make_report(failure(Verdict.RE, message=TRACEBACK), AC)
    text = write_feedback(DOUBLE, report, DEFAULT, FeedbackOptions(kind="no_traceback"))
    assert "failed with an error.\nInput:\n2\nError:\n(not shown)\n" in text
    assert "ZeroDivision" not in text
    assert mini(DOUBLE, report, kind="no_traceback") == "Error.\nInput:\n2\n(not shown)\nTry again."
    wrong = make_report(AC, failure(Verdict.WA, stdout="25"))
    assert mini(DOUBLE, wrong, kind="no_traceback") == mini(DOUBLE, wrong)


@pytest.mark.parametrize("kind", ["none", "random"])
def test_kinds_that_no_report_is_needed_for(kind: str) -> None:
    with pytest.raises(ValueError, match=f"feedback of the kind {kind} is not made of a report"):
        mini(DOUBLE, make_report(AC, failure(Verdict.WA)), kind=kind)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"kind": "loud"}, "'full', 'pass_fail', 'no_traceback', 'none' or 'random'"),
        ({"version": 1}, "version\n *Extra inputs are not permitted"),
    ],
)
def test_unknown_kinds_and_options(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeedbackOptions(**words)
