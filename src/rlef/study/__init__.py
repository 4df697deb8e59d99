"""The paper's comparisons in miniature: every arm trained alike, examined alike, on one page."""

from rlef.study.analysis import ClaimResult, Results, claim_results, load_results
from rlef.study.arms import Arm, Claim, Exam, Part, Side, chosen_arms, parts
from rlef.study.jobs import Failure
from rlef.study.page import write_study
from rlef.study.run import arm_config, check_words, finished, run_study

__all__ = [
    "Arm",
    "Claim",
    "ClaimResult",
    "Exam",
    "Failure",
    "Part",
    "Results",
    "Side",
    "arm_config",
    "check_words",
    "chosen_arms",
    "claim_results",
    "finished",
    "load_results",
    "parts",
    "run_study",
    "write_study",
]
