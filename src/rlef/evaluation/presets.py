"""The paper's settings of an evaluation, by the metric that they are for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings that hold where no other is given."""

    metrics: str
    samples: int
    """Episodes per problem. The paper draws 200 on CodeContests and 20 elsewhere."""
    temperature: float
    turns: int = 3
    top_p: float = 0.95


PRESETS = {
    "1@3": Preset(metrics="1@3", samples=20, temperature=0.2),
    "10@100": Preset(metrics="10@100", samples=200, temperature=1.0),
}
"""RLEF, section 3.1: temperature 0.2 for 1@3, 1.0 for 10@100, top-p 0.95, three turns."""
