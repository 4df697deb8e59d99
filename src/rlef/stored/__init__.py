"""Files of a run folder as checked values, and what they say of the run in a few words.

Files are edited by hand, copied in part, cut by full disks. What does not fit its model raises one
line that names file, line and field; nothing later has to look again.
"""

from rlef.stored.facts import Facts, facts_of, section, turn_limit
from rlef.stored.files import (
    EPISODES,
    is_evaluation,
    read_metrics,
    read_options,
    read_summary,
)

__all__ = [
    "EPISODES",
    "Facts",
    "facts_of",
    "is_evaluation",
    "read_metrics",
    "read_options",
    "read_summary",
    "section",
    "turn_limit",
]
