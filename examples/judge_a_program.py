"""Judge a program: public tests, a checker that allows rounding, limits. Needs no torch.

usage: python examples/judge_a_program.py
"""

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox

TESTS = (Test("1 3\n", "0.3333\n"), Test("2 4\n", "0.5\n"), Test("1 0\n", "none\n"))
PROGRAMS = {
    "right": """
a, b = map(int, input().split())
print(a / b if b else "none")
""",
    "forgets zero": "a, b = map(int, input().split())\nprint(a / b)",
    "never ends": "while True: pass",
    "no program": "print(",
}


def main() -> None:
    jobs = [
        JudgeJob(
            source=source,
            tests=TESTS,
            limits=Limits(cpu_s=0.5, memory_mb=256),
            checker="float(abs=1e-3,rel=1e-3)",
        )
        for source in PROGRAMS.values()
    ]
    with Sandbox(workers=2) as sandbox:
        reports = sandbox.judge_many(jobs)
    for name, report in zip(PROGRAMS, reports, strict=True):
        verdicts = " ".join(test.verdict for test in report.tests)
        why = next((test.message for test in report.tests if test.message), "")
        print(f"{name}: {report.verdict} ({verdicts}) {why.strip().splitlines()[-1:]}")


if __name__ == "__main__":
    main()
