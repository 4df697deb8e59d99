"""Reference and wrong programs: failures, checkers, limits."""

import shutil
from typing import Any

import pytest
from hand_made import kinds, make, some_tests

from rlef.curation import Kind, check_problems

DOUBLE, WRONG, CRASH = "print(2 * int(input()))", "print(int(input()) + 2)", "1 / 0"
needs_cpp = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not there")


def words(*lines: str) -> str:
    """A program that prints these lines whatever it reads."""
    return f"print({chr(10).join(lines)!r})"


def test_reference_that_fails_breaks_the_problem(check: Any, repair: Any) -> None:
    problem = make(solutions=(WRONG,))
    (finding,) = check(problem).findings
    assert finding.kind is Kind.REFERENCE_FAILS
    assert finding.message == (
        "solutions[0]: WA on private test 1: token 1: expected '14', got '9'"
    )
    assert (finding.tests, finding.programs) == (("private test 1",), ("solutions[0]",))
    assert repair(problem).problem is None


def test_minority_of_failing_references_goes_and_the_next_are_tried(
    check: Any, repair: Any
) -> None:
    problem = make(solutions=(DOUBLE, CRASH, DOUBLE, WRONG, DOUBLE))
    (finding,) = check(problem).findings
    assert finding.message == (
        "1 of 3 references fail; solutions[1]: RE on public test 1: "
        "ZeroDivisionError: division by zero"
    )
    result = repair(problem)
    assert result.problem.solutions == (DOUBLE, DOUBLE, DOUBLE)
    assert [change.what for change in result.changes] == [
        "without solutions[1]",
        "without solutions[2]",
    ]


def test_failing_half_of_the_references_breaks_the_problem(repair: Any) -> None:
    assert repair(make(solutions=(DOUBLE, WRONG))).problem is None


def test_wrong_program_that_passes(check: Any, repair: Any) -> None:
    problem = make(incorrect_solutions=(WRONG, DOUBLE))
    (finding,) = check(problem).findings
    assert finding.kind is Kind.WRONG_PASSES
    assert finding.message == ("1 of 2 wrong programs pass every test: incorrect_solutions[1]")
    assert repair(problem).problem.incorrect_solutions == (WRONG,)


@pytest.mark.parametrize(
    ("checker", "expected", "printed", "wanted"),
    [
        ("exact", ("YES", "NO"), ("YES ", "NO "), "lines"),
        ("lines", ("1 2", "3"), ("1\n2", "\n3"), "tokens"),
        ("tokens", ("YES", "NO"), ("yes", "no"), "case-blind"),
        ("tokens", ("0.3333333333", "2.0"), ("0.3333333334", "2"), "float(abs=1e-9,rel=1e-9)"),
        ("tokens", ("0.3333333333", "2.0"), ("0.333333", "2"), "float"),
        ("tokens", ("0.3333333333", "2.0"), ("0.33333", "2"), "float(abs=1e-4,rel=1e-4)"),
        ("tokens", ("1 2\n3 4", "5"), ("3 4\n1 2", "5"), "unordered-lines"),
        ("tokens", ("1 2 2", "3"), ("2 1 2", "3"), "sorted-tokens"),
        ("tokens", ("1 2 2", "3"), ("2 1", "3"), "set"),
    ],
)
def test_narrowest_checker_is_found(
    check: Any,
    repair: Any,
    checker: str,
    expected: tuple[str, str],
    printed: tuple[str, str],
    wanted: str,
) -> None:
    problem = make(
        checker=checker,
        public_tests=some_tests(("1", expected[0])),
        private_tests=some_tests(("2", expected[1])),
        solutions=(f"print(({printed!r})[int(input()) - 1])",),
        incorrect_solutions=(words(printed[0]),),
    )
    (finding,) = check(problem).findings
    assert finding.kind is Kind.NEEDS_CHECKER
    assert finding.repair.checker == wanted
    assert finding.message.startswith(
        f"all references pass with {wanted}, not with {checker} (WA on public test 1: "
    )
    result = repair(problem)
    assert (result.problem.checker, result.left) == (wanted, ())
    assert result.changes[0].what == f"checker {checker} -> {wanted}"


def test_checker_that_would_accept_a_wrong_program_is_no_answer(check: Any) -> None:
    problem = make(
        public_tests=some_tests(("1", "YES")),
        private_tests=some_tests(("2", "NO")),
        solutions=("print('yno'[int(input())::2])", "print(('YES', 'no')[int(input()) - 1])"),
        incorrect_solutions=("print(('yes', 'no')[int(input()) - 1])",),
    )
    assert kinds(check(problem)) == [Kind.REFERENCE_FAILS]


def test_checker_of_a_function(check: Any) -> None:
    problem = make(
        mode="function",
        entry_point="f",
        public_tests=some_tests(("[1]", "[1, 2]")),
        private_tests=some_tests(("[2]", "[2, 3]")),
        solutions=("def f(x): return [x + 1, x]",),
    )
    (finding,) = check(problem).findings
    assert finding.repair.checker == "unordered-lines"


def busy(seconds: float) -> str:
    """A right program that needs so much CPU time."""
    return f"import time\nwhile time.process_time() < {seconds}: pass\n{DOUBLE}"


def test_limits_that_references_exceed_are_raised(check: Any, repair: Any) -> None:
    problem = make(solutions=(busy(0.3),), cpu_s=0.1)
    (finding,) = check(problem).findings
    assert finding.kind is Kind.LIMIT_EXCEEDED
    assert finding.message.startswith("references need 0.3")
    assert finding.message.endswith(" s of CPU, limit 0.1 s")
    result = repair(problem)
    assert result.problem.cpu_s in (1.0, 2.0)  # the next whole second above three times that
    assert result.left == ()
    assert result.changes[0].what == f"cpu_s 0.1 -> {result.problem.cpu_s:g}"


def test_time_out_without_use_of_cpu_is_a_warning(check: Any) -> None:
    waits = "import time\ntime.sleep(3.4)\n" + DOUBLE  # first it may sleep 2.3 s, then 5
    problem = make(solutions=(waits,), private_tests=some_tests(("3", "6")), cpu_s=0.3)
    (finding,) = check(problem).findings
    assert finding.kind is Kind.TIGHT_LIMIT
    assert finding.message.endswith("limit 0.3 s (exceeded in one of two runs)")
    assert finding.repair.cpu_s == 1.0


def test_memory_that_references_exceed_is_raised(check: Any, repair: Any) -> None:
    large = "data = bytearray(100 << 20)\n" + DOUBLE
    problem = make(solutions=(large,), memory_mb=80)
    (finding,) = check(problem).findings
    assert finding.kind is Kind.LIMIT_EXCEEDED
    assert finding.message.endswith(" MB, limit 80 MB")
    result = repair(problem)
    assert 300 <= result.problem.memory_mb <= 448
    assert result.problem.memory_mb % 64 == 0


def test_limits_without_slack_are_a_warning(check: Any, repair: Any) -> None:
    problem = make(solutions=(busy(0.3),), cpu_s=0.5)
    (finding,) = check(problem).findings
    assert (finding.kind, finding.kind.severity) == (Kind.TIGHT_LIMIT, "warning")
    assert repair(problem).problem.cpu_s in (1.0, 2.0)
    assert kinds(check(make(solutions=(busy(0.3),), cpu_s=5.0))) == []


def test_reference_that_never_ends_is_broken_not_slow(check: Any) -> None:
    problem = make(solutions=("while True: pass",), cpu_s=0.1)
    (finding,) = check(problem).findings
    assert finding.kind is Kind.REFERENCE_FAILS
    assert finding.message == (
        "solutions[0]: TLE on public test 1: took longer than the limit of 1 s of CPU time"
    )


@needs_cpp
def test_cpp_programs_count_as_well(check: Any) -> None:
    program = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << %s; }"
    right, wrong = program % "2 * n", program % "n + 2"
    problem = make(cpp_solutions=(right, wrong), incorrect_cpp_solutions=(wrong, right))
    fails, passes = check(problem).findings
    assert fails.message.startswith("1 of 3 references fail; cpp_solutions[1]: WA on private")
    assert passes.programs == ("incorrect_cpp_solutions[1]",)


@needs_cpp
def test_broken_checker_program_is_the_problems_fault(check: Any, repair: Any) -> None:
    problem = make(checker="testlib", checker_source="int main() { return 3; }")
    (finding,) = check(problem).findings
    assert finding.kind is Kind.UNUSABLE
    assert finding.message.startswith("the checker failed (exit status 3)")
    assert repair(problem).problem is None


def test_unknown_checker_is_found_without_any_program(check: Any) -> None:
    (finding,) = check(make(checker="fuzzy", solutions=())).findings
    assert finding.kind is Kind.UNUSABLE
    assert finding.message.startswith("unknown checker 'fuzzy'; allowed: tokens, ")


def test_limits_that_the_judge_refuses(check: Any) -> None:
    (finding,) = check(make(memory_mb=1 << 30)).findings
    assert finding.kind is Kind.UNUSABLE
    assert finding.message.startswith("limit memory_mb is 1073741824; allowed: ")


def test_programs_without_a_compiler_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlef.curation.check.languages_here", lambda: frozenset({"python"}))
    problem = make(solutions=(), cpp_solutions=("int main() {}",))
    ((_, found),) = check_problems([problem])
    assert found.not_run == ("cpp",)
    assert [(f.kind, f.message) for f in found.findings] == [
        (Kind.NO_REFERENCE, "its reference programs cannot be run here")
    ]


def test_only_so_many_programs_are_run() -> None:
    ((_, found),) = check_problems([make(solutions=(DOUBLE,) * 5)], programs=2)
    assert [run.program for run in found.runs] == ["solutions[0]", "solutions[1]"]


def test_closing_stops_what_runs() -> None:
    slow = make("slow", solutions=("while True: pass",), cpu_s=50.0)
    checks = check_problems([slow, make("quick")])
    place, found = next(checks)
    assert (place, found.findings) == (1, ())
    checks.close()
    assert list(checks) == []
