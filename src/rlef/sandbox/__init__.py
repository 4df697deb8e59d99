"""The judge: programs and tests in, typed verdicts out. Needs no torch.

Example:
    >>> from rlef.problems import Test
    >>> from rlef.sandbox import Limits, Sandbox
    >>> with Sandbox(workers=1) as sandbox:
    ...     report = sandbox.judge(
    ...         "print(2 * int(input()))",
    ...         [Test("2", "4"), Test("5", "10")],
    ...         limits=Limits(cpu_s=2.0, memory_mb=512),
    ...     )
    >>> report.verdict.value, len(report.tests)
    ('AC', 2)

What is and what is not covered: ``docs/sandbox.md``.
"""

from rlef.sandbox.sandbox import Sandbox
from rlef.sandbox.types import (
    Isolation,
    JudgeJob,
    JudgePool,
    JudgeReport,
    Limits,
    SandboxError,
    TestReport,
    Verdict,
    usable_cores,
)

__all__ = [
    "Isolation",
    "JudgeJob",
    "JudgePool",
    "JudgeReport",
    "Limits",
    "Sandbox",
    "SandboxError",
    "TestReport",
    "Verdict",
    "usable_cores",
]
