"""Tests beside each other: duplicates, leaks, conflicts, gaps."""

import json
from typing import Any

from hand_made import kinds, make, some_tests
from hypothesis import given
from hypothesis import strategies as st

from rlef.curation import Kind
from rlef.curation.judge import Judge
from rlef.curation.repair import apply
from rlef.curation.tests import check_tests, labels, without_tests
from rlef.curation.types import merged
from rlef.problems import Problem, Test
from rlef.sandbox import Sandbox


def test_clean_problem_has_no_findings(check: Any) -> None:
    found = check(make())
    assert found.findings == ()
    (run,) = found.runs
    assert (run.program, run.verdict, run.test) == ("solutions[0]", "AC", None)
    assert 0 < run.cpu_s < 1
    assert 0 < run.memory_mb < 100


def test_leaked_and_duplicate_tests_are_told_apart(check: Any, repair: Any) -> None:
    problem = make(
        public_tests=some_tests(("2\n", "4\n"), ("2", "4\n")),
        private_tests=some_tests(("7\n", "14\n"), ("2\r\n", "4"), ("7", "14"), ("8", "16")),
    )
    leaked, again = check(problem).findings
    assert (leaked.kind, leaked.tests) == (Kind.LEAKED_TESTS, ("private test 2",))
    assert leaked.message == "private test 2 is public test 1"
    assert again.kind is Kind.DUPLICATE_TESTS
    assert again.tests == ("public test 2", "private test 3")
    result = repair(problem)
    assert result.problem.public_tests == problem.public_tests[:1]
    assert result.problem.private_tests == (problem.private_tests[0], problem.private_tests[3])
    assert [(change.kind, change.what) for change in result.changes] == [
        (Kind.LEAKED_TESTS, "without private test 2"),
        (Kind.DUPLICATE_TESTS, "without public test 2, private test 3"),
    ]


def test_problem_whose_private_tests_are_all_public_is_dropped(check: Any, repair: Any) -> None:
    problem = make(private_tests=some_tests(("2", "4")))
    assert kinds(check(problem)) == [Kind.LEAKED_TESTS, Kind.NO_PRIVATE_TESTS]
    result = repair(problem)
    assert result.problem is None
    (change,) = result.changes
    assert change.what == "dropped: has no private test of its own: training leaves it out"


def test_missing_tests_are_errors(check: Any) -> None:
    assert kinds(check(make(public_tests=()))) == [Kind.NO_PUBLIC_TESTS]
    assert kinds(check(make(private_tests=()))) == [Kind.NO_PRIVATE_TESTS]
    assert Kind.NO_PUBLIC_TESTS.severity == "error"


def test_references_decide_between_conflicting_tests(check: Any, repair: Any) -> None:
    problem = make(private_tests=some_tests(("7", "15"), ("7\n", "14"), ("9", "18")))
    (finding,) = check(problem).findings
    assert finding.kind is Kind.CONFLICTING_TESTS
    assert finding.message == (
        "private test 1 and private test 2 have the same input and different outputs, "
        "the references give that of private test 2"
    )
    result = repair(problem)
    assert result.problem.private_tests == problem.private_tests[1:]
    assert result.left == ()


def test_conflicting_tests_that_no_reference_decides_all_go(repair: Any) -> None:
    problem = make(private_tests=some_tests(("7", "15"), ("7", "16"), ("9", "18")))
    assert repair(problem).problem.private_tests == problem.private_tests[2:]
    result = repair(
        make(solutions=(), private_tests=some_tests(("7", "15"), ("7", "14"), ("9", "18")))
    )
    assert result.problem.private_tests == some_tests(("9", "18"))
    assert [finding.kind for finding in result.left] == [Kind.NO_REFERENCE]


def test_outputs_that_the_checker_takes_for_equal_are_no_conflict(check: Any) -> None:
    problem = make(private_tests=some_tests(("7", "14"), ("7", " 14 \n")))
    assert kinds(check(problem)) == [Kind.DUPLICATE_TESTS]


def test_expected_values_that_one_function_meets_are_no_conflict(check: Any) -> None:
    call, value = "[1]", json.dumps({"__python__": "2"})
    problem = make(
        mode="function",
        entry_point="f",
        solutions=("def f(x): return 2 * x",),
        public_tests=some_tests((call, "2")),
        private_tests=some_tests(("[ 1 ]", value), ("[3]", "6")),
    )
    assert kinds(check(problem)) == [Kind.LEAKED_TESTS]


def test_two_checks_of_one_call_are_two_tests(check: Any) -> None:
    checks = [json.dumps({"__check__": words}) for words in ("result > 1", "result < 3")]
    problem = make(
        mode="function",
        entry_point="f",
        solutions=("def f(x): return 2 * x",),
        public_tests=some_tests(("[1]", checks[0])),
        private_tests=some_tests(("[1]", checks[1])),
    )
    assert kinds(check(problem)) == []


def test_labels_and_places_agree() -> None:
    problem = make()
    assert labels(problem) == ["public test 1", "private test 1", "private test 2"]
    rest = without_tests(problem, [1])
    assert rest.public_tests == problem.public_tests
    assert rest.private_tests == problem.private_tests[1:]


few_tests = st.lists(
    st.builds(Test, st.sampled_from(["1", "1\n", "2", "2\r\n", "3"]), st.sampled_from("ab"))
)


@given(few_tests, few_tests)
def test_repair_leaves_one_test_per_input(public: list[Test], private: list[Test]) -> None:
    judge = Judge(Sandbox(), 1, frozenset({"python"}))  # no reference: never starts
    problem = Problem(
        name="p", statement="", public_tests=tuple(public), private_tests=tuple(private)
    )
    found = check_tests(problem, judge)
    whole = [f.repair for f in found if f.repair is not None and not f.repair.drop_problem]
    rest = apply(problem, merged(whole))

    def outputs(tests: tuple[Test, ...], text: str) -> list[str]:
        return [test.output for test in tests if test.input.strip() == text]

    for text in "123":
        before, after = outputs(problem.all_tests, text), outputs(rest.all_tests, text)
        assert after == (before[:1] if len(set(before)) == 1 else [])
        if outputs(problem.public_tests, text) and after:
            assert outputs(rest.public_tests, text) == after
    missing = {Kind.NO_PUBLIC_TESTS, Kind.NO_PRIVATE_TESTS}
    assert {finding.kind for finding in check_tests(rest, judge)} <= missing
