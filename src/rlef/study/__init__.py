"""The paper's comparisons in miniature: every arm trained alike, examined alike, on one page."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlef.study.analysis import ClaimResult, Results, claim_results, load_results
    from rlef.study.arms import Arm, Claim, Exam, Part, Side, chosen_arms, parts
    from rlef.study.config import arm_config
    from rlef.study.jobs import Failure
    from rlef.study.page import write_study
    from rlef.study.run import check_words, finished, run_study

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
_MODULES = {
    "Arm": "arms",
    "Claim": "arms",
    "ClaimResult": "analysis",
    "Exam": "arms",
    "Failure": "jobs",
    "Part": "arms",
    "Results": "analysis",
    "Side": "arms",
    "arm_config": "config",
    "check_words": "run",
    "chosen_arms": "arms",
    "claim_results": "analysis",
    "finished": "run",
    "load_results": "analysis",
    "parts": "arms",
    "run_study": "run",
    "write_study": "page",
}
"""Where the names stand: those of arms and settings need no torch."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
