"""Problems and reports made by hand."""

from rlef.problems import PublicProblem, Test
from rlef.sandbox import JudgeReport, TestReport, Verdict

DOUBLE = PublicProblem(
    name="double",
    statement="Read n, print 2n.",
    public_tests=(Test("2\n", "4\n"), Test("5\n", "10\n")),
)
ADD = PublicProblem(
    name="add",
    statement="Add a and b.",
    public_tests=(Test('["x", true]', '{"a": [null, 1.5]}'),),
    mode="function",
    entry_point="add",
)
AC = TestReport(verdict=Verdict.AC)


def code(program: str) -> str:
    return f"```python\n{program}\n```"


def make_report(*tests: TestReport) -> JudgeReport:
    verdicts = [test.verdict for test in tests]
    failed = next((v for v in verdicts if v is not Verdict.AC), Verdict.AC)
    verdict = Verdict.IE if Verdict.IE in verdicts else failed
    return JudgeReport(verdict=verdict, tests=tests)


def failure(verdict: Verdict, stdout: str = "", message: str = "") -> TestReport:
    return TestReport(verdict=verdict, stdout=stdout, message=message)
