"""The judge: programs and tests in, typed verdicts out. Needs no torch."""

from rlef.sandbox.types import JudgeJob, JudgeReport, Limits, TestReport, Verdict

__all__ = ["JudgeJob", "JudgeReport", "Limits", "TestReport", "Verdict"]
